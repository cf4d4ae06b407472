"""Publishes model versions: content and manifest, signed, into the artefact store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from connectors import content as contents
from connectors.artefacts import ArtefactStore
from tidemill.engine import Publisher
from tidemill.errors import IncompatibleError
from tidemill.job import ModelContent, VersionCut
from tidemill.log import Log
from tidemill.state import digest
from tidemill.time import Clock
from tidemill.version import Lineage, Manifest, content_digest_of, cpu_class, encode_manifest
from tidemill_app.published import Published

CONTENT = "content.safetensors"
"""The file of a version that holds its `ModelContent`."""

Pin = Callable[[Lineage], Lineage]
"""Archives what a lineage names and Kafka would remove, and says so in the lineage (`tidemill_app.retention`)."""


class ArtefactPublisher(Publisher):
    """Keeps versions in an `ArtefactStore`; which of them count says topic `models` of `log`.

    The code digest is that of the submitted bundle, so content digests of two runs agree only for equal code. The
    digest of the dependency lock is recorded beside it.
    """

    def __init__(self, store: ArtefactStore, log: Log, clock: Clock, *, pin: Pin = lambda lineage: lineage) -> None:
        self._store = store
        self._published = Published(log, follows=True)
        self._clock = clock
        self._pin = pin

    def close(self) -> None:
        """Leave the topic."""
        self._published.close()

    def publish(self, cut: VersionCut, lineage: Lineage, delta: int) -> Mapping[str, Any]:
        version = str(cut.number)
        content = content_digest_of(cut.content, lineage.bundle)
        there = self._published.refresh().versions.get((cut.model, version))
        if there is not None:
            again = (there.job, there.content_digest, there.delta) == (lineage.job, content, delta)
            if again:
                return {name: getattr(there, name) for name in ("uri", "content_digest", "version_digest", "kind")}
            raise IncompatibleError(
                "a version never changes, and this one is published",
                where=f"job {lineage.job}, version {cut.model}@{version}",
                wanted="a number above the newest",
                got=f"one that job {there.job or 'none'} published with content {there.content_digest}",
                fix="Give the model another name; a step of your own numbers above `Job.versions_after`.",
            )
        return {
            "uri": self._store.uri(cut.model, version),
            "content_digest": content,
            "version_digest": self._store_version(cut, version, content, self._pin(lineage), delta),
            "kind": cut.content.kind,
        }

    def newest(self, job: str, models: Collection[str]) -> int:
        published = self._published.refresh().versions
        numbers = [v for (model, v), event in published.items() if event.job == job or model in models]
        numbers += [v for model in models for v in self._store.versions(model)]
        return max((int(v) for v in numbers if v.isdecimal()), default=0)

    def _store_version(self, cut: VersionCut, version: str, content: str, lineage: Lineage, delta: int) -> str:
        data = contents.encode(cut.content)
        manifest = encode_manifest(
            Manifest(
                model=cut.model,
                version=version,
                kind=cut.content.kind,
                content_digest=content,
                files={CONTENT: digest(data)},
                created=self._clock.now(),
                params=cut.content.params,
                parents=[str(cut.number - 1)] if cut.number > lineage.after + 1 else [],
                metrics=cut.metrics,
                lineage=lineage,
                lock_digest=lock_digest(),
                cpu_class=cpu_class(),
                delta=delta,
            )
        )
        return self._store.put_version(cut.model, version, {CONTENT: data}, manifest)


def load_content(files: Mapping[str, bytes]) -> ModelContent:
    """The content behind a version's files. Raises `IncompatibleError` where they hold none."""
    if CONTENT not in files:
        raise IncompatibleError("a version without a content", wanted=CONTENT, got=", ".join(files))
    return contents.decode(files[CONTENT])


def lock_digest(name: str = "core") -> str:
    """The digest of the installed versions that a result depends on, or of the lock file of that name in a checkout."""
    lock = Path(__file__).parents[1] / "requirements" / f"{name}.lock"
    if lock.is_file():
        return digest(lock.read_bytes())
    from importlib.metadata import distributions

    found = sorted({(d.metadata["Name"].lower(), d.version) for d in distributions()})
    return digest(msgspec.json.encode(found))
