"""What `tidemill dataset show` tells of a version: statistics, duplicates, leakage, and what breaks the schema.

How images look is worked out once a version and kept in the home, for a version never changes.
"""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from connectors import sounds
from connectors.datasets.examples import Example
from connectors.datasets.images import SIDE, grey, likeness
from connectors.datasets.near import near_groups
from connectors.datasets.near_texts import near_texts
from connectors.datasets.statistics import group_leaks, leaks, same, statistics, violations
from connectors.datasets.version import DatasetVersion
from tidemill.errors import IntegrityError, NotFoundError, TooLargeError, UserError
from tidemill_app.tables import table
from tidemill_app.wiring import Platform

SHOWN = 100
"""Of each list, so many entries; what there is of it in all is counted."""


def report(platform: Platform, version: DatasetVersion, distance: int = 4) -> dict[str, Any]:
    """Everything about a version. `near` are groups of images that look alike and of texts that read alike, of which
    some also are the `same`."""
    examples, manifest = version.examples(), version.manifest
    smalls, broken = _looks(platform.home.path / "datasets", version, examples)
    seen = np.flatnonzero([e.media_type.startswith("image/") and e.id not in broken for e in examples])
    near = _near(platform.home.path / "datasets", version, smalls, seen, distance)
    alike_texts, unread = _near_texts(version, examples)
    near, broken = sorted(near + alike_texts), broken | unread
    alike = same(examples)
    wrong = violations(examples, manifest.schema) + [{"id": i, "what": what} for i, what in broken.items()]
    found_same, found_near = leaks(examples, alike), leaks(examples, near)
    groups = group_leaks(examples)
    return {
        "dataset": manifest.name,
        "version": version.version,
        "project": manifest.project,
        "digest": version.digest,
        "examples_digest": manifest.examples_digest,
        "parent": manifest.parent,
        "data": manifest.data,
        "labels": manifest.labels,
        "augmentation_digest": manifest.augmentation_digest,
        "bad_records": manifest.counts.get("@bad", 0),
        "retracted": len(manifest.retracted),
        "erased_since": version.erased,
        "statistics": statistics(examples, manifest.schema) | {"answered": manifest.counts.get("@answered", 0)},
        "duplicates": _listed([[examples[i].id for i in rows] for rows in alike]),
        "near": _listed([[examples[i].id for i in rows] for rows in near]),
        "leakage": {"same": _listed(found_same), "near": _listed(found_near), "groups": _listed(groups)},
        "violations": _listed(wrong),
    }


def _near(
    folder: Path, version: DatasetVersion, smalls: NDArray[np.uint8], seen: NDArray[np.intp], distance: int
) -> list[list[int]]:
    """Groups of rows of `seen` that look alike."""
    place = folder / f"{version.digest}.near{distance}"
    if not version.erased and place.exists():
        try:
            kept = msgspec.json.decode(place.read_bytes(), type=list[list[int]])
            if all(0 <= i < len(smalls) for rows in kept for i in rows):
                return kept
        except msgspec.DecodeError:
            pass  # it is made anew
    found = near_groups(likeness(smalls[seen]), smalls[seen], distance)
    near: list[list[int]] = [seen[rows].tolist() for rows in found]
    if not version.erased:
        _replace(place, msgspec.json.encode(near))
    return near


def _near_texts(version: DatasetVersion, examples: Sequence[Example]) -> tuple[list[list[int]], dict[str, str]]:
    """Groups of texts that are alike (files of text, and items without a file by their field `text`), and why some
    cannot be read."""
    rows: list[int] = []
    texts: list[str] = []
    unread: dict[str, str] = {}
    for i, e in enumerate(examples):
        text = e.payload.get("text") if not e.media else None
        if e.media_type.startswith("text/"):
            try:
                text = version.bytes_of(e).decode()
            except UnicodeDecodeError:
                unread[e.id] = "not UTF-8"
            except (IntegrityError, NotFoundError) as error:
                unread[e.id] = error.message
        if isinstance(text, str):
            rows.append(i)
            texts.append(text)
    return [[rows[k] for k in group] for group in near_texts(texts)], unread


def _listed(found: Sequence[Any]) -> dict[str, Any]:
    return {"count": len(found), "first": list(found[:SHOWN])}


def _looks(
    folder: Path, version: DatasetVersion, examples: Sequence[Example]
) -> tuple[NDArray[np.uint8], dict[str, str]]:
    """A grey copy of each example (n, 16, 16), of nought where it is no image, and why some images and
    sounds cannot be decoded."""
    place = folder / f"{version.digest}.looks"
    if not version.erased and (kept := _kept(place, len(examples))) is not None:
        return kept
    smalls = np.zeros((len(examples), SIDE, SIDE), np.uint8)
    broken: dict[str, str] = {}

    def look(i: int) -> None:
        e = examples[i]
        if e.media_type.startswith("image/"):
            try:
                smalls[i] = grey(version.bytes_of(e), e.id)
            except (UserError, IntegrityError, NotFoundError) as error:
                broken[e.id] = error.message
        elif e.media_type in sounds.TYPES:
            try:
                sounds.samples(version.bytes_of(e))
            except (UserError, TooLargeError, IntegrityError) as error:
                broken[e.id] = str(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(look, range(len(examples)), chunksize=256):
            pass
    broken = {e.id: broken[e.id] for e in examples if e.id in broken}
    if not version.erased:
        _keep(place, smalls, broken)
    return smalls, broken


def _kept(place: Path, n: int) -> tuple[NDArray[np.uint8], dict[str, str]] | None:
    try:
        head, _, data = place.read_bytes().partition(b"\n")
        broken = msgspec.json.decode(head, type=dict[str, str])
        smalls = np.load(io.BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, msgspec.DecodeError):
        return None  # it is made anew
    return (smalls, broken) if smalls.shape == (n, SIDE, SIDE) and smalls.dtype == np.uint8 else None


def _keep(place: Path, smalls: NDArray[np.uint8], broken: dict[str, str]) -> None:
    out = io.BytesIO()
    np.save(out, smalls, allow_pickle=False)
    _replace(place, msgspec.json.encode(broken) + b"\n" + out.getvalue())


def _replace(place: Path, data: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{uuid.uuid4().hex}.part")
    beside.write_bytes(data)
    os.replace(beside, place)


def answered(count: int) -> str:
    """What to know of items that people answered and nothing settled."""
    return (
        f"{count:,} examples have answers and no label of these yet: a consensus job makes one "
        "(docs/labelling-consensus.md), or a reviewer does"
    )


def unheard_line(ids: Sequence[str]) -> str:
    """What to know of sounds that no model of ours decodes."""
    named = ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")
    return f"{len(ids):,} sounds are no WAV, FLAC, Ogg or MP3, as training and serving take: {named}. Convert them"


def text(report: dict[str, Any]) -> str:
    """The report for a person."""
    facts = report["statistics"]
    splits = list(facts["splits"])
    rows = [[name, *(n.get(s, 0) for s in splits), sum(n.values())] for name, n in facts["classes"].items()]
    rows.append(["examples", *(facts["splits"][s] for s in splits), facts["examples"]])
    lines = [
        f"{report['dataset']}@{report['version']} of project {report['project']}: {facts['examples']:,} examples, "
        f"{facts['unlabelled']:,} without a label",
        *([answered(facts["answered"])] if facts["answered"] else []),
        f"manifest {report['digest']}",
        f"examples {report['examples_digest']}",
        "",
        table(["class", *splits, "all"], rows),
        "",
        "media: " + ", ".join(f"{kind} {n:,}" for kind, n in facts["media_types"].items()),
    ]
    for name in ("width", "height", "boxes", "text_length", "confidence"):
        if of := facts[name]:
            lines.append(f"{name.replace('_', ' ')}: {of['least']:g} to {of['most']:g}, median {of['median']:g}")
    leakage = report["leakage"]
    lines += [
        f"duplicates: {report['duplicates']['count']:,} groups of the same bytes, "
        f"{report['near']['count']:,} that are alike",
        f"leakage between splits: {leakage['same']['count']:,} of the same bytes, "
        f"{leakage['near']['count']:,} that are alike, {leakage['groups']['count']:,} groups",
        f"violations: {report['violations']['count']:,}",
    ]
    lines += [f"  {one['id']}: {one['what']}" for one in report["violations"]["first"][:10]]
    if report["erased_since"]:
        lines.append(f"{report['erased_since']:,} records were erased since: make a new version")
    return "\n".join(lines)
