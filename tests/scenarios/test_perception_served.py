"""Boxes, texts and sounds, from files to answers over HTTP, by the lines that docs/perception.md and the README print:
what is answered about items that no run has seen is what the networks say of them before their export."""

from __future__ import annotations

import base64
import csv
import io
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("torch")

from tests.connectors.test_sounds import COMPRESSED, compressed
from tests.scenarios.outside import ROOT, Outside
from tests.serving.helpers import until
from tests.tidemill_app.served import World, served
from tidemill_app import datasets, models
from tidemill_app.trained import load
from tidemill_app.wiring import Platform

pytestmark = [pytest.mark.stack, pytest.mark.slow]
DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
LINE = r"^ *tidemill ((?:dataset import|dataset create|train|gate) .*?)(?: +#.*)?$"
ASKED = 8


def lines(page: str, project: str) -> list[list[str]]:
    """The words of the page's commands about a project, in their order: import, create, train, gate."""
    said = re.findall(LINE, (ROOT / page).read_text(), re.MULTILINE)
    words = [line.split() for line in said if re.search(rf"\b{project}\b", line)]
    assert [w[1] if w[0] == "dataset" else w[0] for w in words] == ["import", "create", "train", "gate"], page
    return words


def cells(folder: Path) -> Path:
    """Of the blood cells 24 images to learn, 6 to measure on and 12 to be asked about."""
    given = DATA / "bccd" / "bccd_voc.tar.gz"
    if not given.exists():
        pytest.skip("no blood cells here: set TIDEMILL_DATA")
    made = folder / "bccd.tar.gz"
    with tarfile.open(given) as tar, tarfile.open(made, "w:gz") as out:
        read = {m.name.removeprefix("./"): m for m in tar.getmembers() if m.isfile()}

        def put(name: str, data: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))

        def bytes_of(name: str) -> bytes:
            file = tar.extractfile(read[name])
            assert file is not None
            return file.read()

        for split, most in (("train", 24), ("val", 6), ("test", 12)):
            names = bytes_of(f"BCCD/ImageSets/Main/{split}.txt").decode().split()[:most]
            put(f"BCCD/ImageSets/Main/{split}.txt", "\n".join(names).encode())
            for name in names:
                for file in (f"BCCD/Annotations/{name}.xml", f"BCCD/JPEGImages/{name}.jpg"):
                    put(file, bytes_of(file))
    return made


def sms(folder: Path) -> Path:
    """600 messages, half of them spam."""
    given = DATA / "sms_spam" / "SMSSpamCollection"
    if not given.exists():
        pytest.skip("no messages here: set TIDEMILL_DATA")
    with given.open() as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    rows = [row for kind in ("ham", "spam") for row in [r for r in rows if r[0] == kind][:300]]
    made = folder / "messages"
    made.mkdir()
    table = pa.table({"text": [text for _, text in rows], "label": [label for label, _ in rows]})
    pq.write_table(table, made / "messages.parquet")
    return made


def spoken(folder: Path) -> Path:
    """40 sounds of each of ten tones, in noise, as WAV, FLAC, Ogg (Vorbis and Opus) and MP3: no speech, but what a
    network for sounds must tell apart."""
    rng = np.random.default_rng(7)
    for number in range(400):
        kind, rate, n = number % 10, 16_000, int(rng.integers(6_000, 14_000))
        tone = np.sin(2 * np.pi * 250 * 1.25**kind * np.arange(n) / rate + rng.uniform(0, 6))
        sound = (rng.uniform(3_000, 12_000) * tone + rng.normal(0, 800, n)).clip(-32_000, 32_000).astype(np.int16)
        format, subtype = (("WAV", "PCM_16"), *COMPRESSED)[number // 10 % 5]
        file = folder / "spoken" / str(kind) / f"{number:03}.{format.lower()}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(compressed(sound, format, subtype, rate))
    return folder / "spoken"


def same_boxes(answer: Any, offline: Any, classes: tuple[str, ...]) -> bool:
    """Whether boxes are of the same classes, at the same places, and as sure. Returns whether there are any."""
    assert [row[0] for row in answer["boxes"]] == [classes[int(row[0])] for row in offline]
    found = np.array([row[1:] for row in answer["boxes"]]).reshape(-1, 5)
    assert found[:, :4] == pytest.approx(offline[:, 1:5], abs=0.01)  # pixels
    assert found[:, 4] == pytest.approx(offline[:, 5], abs=1e-5)
    return len(offline) > 0


def same_class(answer: Any, offline: Any, classes: tuple[str, ...]) -> bool:
    """Whether the class and all probabilities are the same."""
    assert answer["label"] == classes[int(offline.argmax())]
    assert answer["probabilities"] == pytest.approx(offline, abs=1e-5)
    return True


CASES: list[tuple[str, str, Callable[[Path], Path], str, Callable[..., bool]]] = [
    ("README.md", "cells", cells, "image", same_boxes),
    ("docs/perception.md", "sms", sms, "text", same_class),
    ("docs/perception.md", "spoken", spoken, "audio", same_class),
]


@pytest.mark.parametrize(("page", "project", "source", "medium", "same"), CASES, ids=[case[1] for case in CASES])
def test_what_is_served_answers_as_the_network_did(stack, tmp_path, page, project, source, medium, same):
    outside = Outside(stack)
    imported, created, trained, gated = lines(page, project)
    imported[3] = str(source(tmp_path))  # where the page has the name of a file of one's own
    outside.tidemill(*imported)
    outside.tidemill(*created)
    assert outside.tidemill(*trained, timeout=600)["state"] == "finished"
    decided = outside.tidemill(*gated)
    assert decided["accepted"] and decided["checks"][0]["check"] == "parity", decided

    platform = Platform.open(stack.home.path)
    try:
        training, network, _ = load(platform, models.find(platform, f"{project}.weights"))
        version = datasets.load(platform, project)
        held_out = version.examples("test")[:ASKED]
        items = [training.task.item(e, version.bytes_of(e) if e.media else b"") for e in held_out]
        world = World(project, Path(), platform.log, stack.home.path, stack)
        with served(world, files=False) as (client, _):
            assert until(lambda: client.get(f"/v2/models/{project}/ready").status_code == 200, 60)
            told = []
            for example, item in zip(held_out, items, strict=True):
                body = item if isinstance(item, str) else base64.b64encode(item).decode()
                answer = client.post(f"/score/{project}", json={medium: body, "id": example.id}).json()
                assert f"{answer['model']}@{answer['version']}" == decided["candidate"]
                told.append(same(answer, training.task.offline(network, item), training.task.classes))
            assert len(told) == ASKED and any(told)
            # An answer with an item's id is a prediction about it, which jobs read and its label joins.
            about = {e.id for e in held_out}
            assert until(lambda: {p.about for p in world.predictions()} == about, 60)
    finally:
        platform.close()
