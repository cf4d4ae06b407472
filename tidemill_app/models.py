"""Model versions: listing, manifests, aliases, and rebuilding one from the log."""

from __future__ import annotations

from typing import Any

from serving.plane import LATEST
from tidemill.errors import IntegrityError, NotFoundError, UserError
from tidemill.events import JobChanged, ModelAliased, ModelPublished
from tidemill.log import Log
from tidemill.stream import check_name
from tidemill.version import WEIGHTS, Manifest, content_digest_of, decode_manifest
from tidemill_app.published import TOPIC, Published
from tidemill_app.telling import tell
from tidemill_app.wiring import Platform


def versions(platform: Platform, name: str | None) -> list[dict[str, Any]]:
    """A row for each version of model `name`, or of all; `refused` says why one cannot be taken."""
    there = Published(platform.log).refresh()
    found, rows = list(there.versions.values()), []
    for event in found:
        if name is not None and event.model != name:
            continue
        created, metrics, params, refused = event.time, {}, {}, ""
        try:
            manifest = _manifest(platform, event)
            created, metrics, params = manifest.created, manifest.metrics, manifest.params
        except (IntegrityError, NotFoundError) as error:
            refused = str(error)
        rows.append(
            {
                "model": event.model,
                "version": event.version,
                "aliases": [a for (m, a), v in there.aliases.items() if m == event.model and v == event.version],
                "created": created,
                "metrics": metrics,
                "params": params,
                "refused": refused,
                "content_digest": event.content_digest,
                "version_digest": event.version_digest,
                "kind": event.kind,
                "job": event.job,
            }
        )
    if name is not None and not rows:
        known = ", ".join(sorted({e.model for e in found})) or "none yet"
        raise NotFoundError(f"no model {name!r}", wanted=f"one of: {known}")
    return rows


def find(platform: Platform, text: str) -> ModelPublished:
    """The version that `NAME@VERSION` names; the newest for `NAME` and `NAME@latest`; an alias stands for its version.

    Raises `NotFoundError`.
    """
    name, _, version = text.partition("@")
    there = Published(platform.log).refresh()
    mine = [e for e in there.versions.values() if e.model == name]
    version = there.aliases.get((name, version), version)
    for event in reversed(mine):
        if version in ("", LATEST, event.version):
            return event
    known = ", ".join(e.version for e in mine[-10:]) or "none yet"
    raise NotFoundError(f"no version {text!r}", wanted=f"one of: {known}", fix="See `tidemill model list`.")


def manifest_of(platform: Platform, text: str) -> Manifest:
    """The verified manifest of a version."""
    return _manifest(platform, find(platform, text))


def _manifest(platform: Platform, event: ModelPublished) -> Manifest:
    return decode_manifest(platform.artefacts.manifest(event.model, event.version, event.version_digest))


def set_alias(platform: Platform, text: str, alias: str) -> ModelAliased:
    """Point `alias` at a version, for everyone who follows the topic `models`; at `NAME@latest`, it follows the newest
    and its deltas again. Raises `UserError` for the alias `latest`, which cannot stand for anything else."""
    if alias == LATEST:
        raise UserError("`latest` always is the newest version", got=f"alias {alias}", fix="Choose another alias.")
    check_name(alias, "alias")
    if not text.partition("@")[2]:
        raise UserError("no version is named", wanted="NAME@VERSION, or NAME@latest", got=text)
    version = find(platform, text)
    number = LATEST if text.partition("@")[2] == LATEST else version.version
    now = platform.clock.now()
    event = ModelAliased(
        id=f"{version.model}/{alias}/{now}",
        time=now,
        source="/tidemill/models",
        model=version.model,
        alias=alias,
        version=number,
    )
    tell(platform.log, TOPIC, event, version.model)
    return event


def reproduce(platform: Platform, text: str, copy: str = "") -> dict[str, Any]:
    """Rebuild a version from the offsets its manifest names, and compare: what a job cut, or what a run trained.

    `copy` is the bootstrap address of a copied log to read instead. Raises `UserError` where the version came from
    neither, `GoneError` naming the range where offsets are gone and no archive has them.
    """
    from connectors import arrow
    from connectors.kafka import KafkaLog
    from streams.reproduce import reproduce as rebuild
    from tidemill_app.run_job import file_log, submitted_job

    manifest = manifest_of(platform, text)
    lineage = manifest.lineage
    other: Log | None = KafkaLog(platform.connection.confluent() | {"bootstrap.servers": copy}) if copy else None
    if other is not None:
        platform.closes(other.close)
    if manifest.kind == WEIGHTS:
        from tidemill_app import trained

        return trained.reproduce(platform, manifest, other)
    if lineage is None or lineage.order not in ("event_time", "arrival"):
        weights = next((name for name in manifest.parents if lineage is not None), "")
        raise UserError(
            "the version was not learned from the log itself",
            where=text,
            wanted="a version that a job published, or a run",
            fix=f"Its weights were: tidemill model reproduce {weights}" if weights else "",
        )
    wish = JobChanged(id="", time=0, job=lineage.job, wanted="stopped", bundle=lineage.bundle, file=lineage.file)
    job = submitted_job(platform, wish)
    catalogue = platform.catalogue()
    specs = platform.specs_of(job)
    streams = {n: catalogue.get(n, lineage.streams[n]) if not n.startswith("labels.") else s for n, s in specs.items()}
    rebuilt = rebuild(
        job,
        lineage,
        manifest.model,
        log=platform.log if other is None else other,
        streams=streams,
        arrow_decode=arrow.decode,
        history=file_log,
        archive=None if other is not None else platform.archive,
        objects=platform.artefacts.get,
    )
    digest = content_digest_of(rebuilt.cut.content, lineage.bundle)
    return {
        "model": manifest.model,
        "version": manifest.version,
        "equal": digest == manifest.content_digest,
        "content_digest": manifest.content_digest,
        "rebuilt_digest": digest,
        "records": rebuilt.records,
        "records_equal": rebuilt.records_hash == lineage.records_hash,
        "erased": rebuilt.erased,
        "unrepeatable": lineage.unrepeatable,
    }
