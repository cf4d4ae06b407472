"""Publishes model versions: content and manifest, signed, into the artefact store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from connectors.artefacts import ArtefactStore
from tidemill.engine import Publisher
from tidemill.errors import NotFoundError
from tidemill.job import ModelContent, VersionCut
from tidemill.state import decode, digest, encode
from tidemill.time import Clock
from tidemill.version import Lineage, Manifest, content_digest_of, cpu_class, decode_manifest, encode_manifest

CONTENT = "content.msgpack"
"""The file of a version that holds its `ModelContent`: canonical msgpack with plain arrays."""

Pin = Callable[[Lineage], Lineage]
"""Archives what a lineage names and Kafka would remove, and says so in the lineage (`tidemill_app.retention`)."""


class ArtefactPublisher(Publisher):
    """Keeps versions in an `ArtefactStore`.

    The code digest is that of the submitted bundle, so content digests of two runs agree only for equal code. The
    digest of the dependency lock is recorded beside it.
    """

    def __init__(self, store: ArtefactStore, clock: Clock, *, pin: Pin = lambda lineage: lineage) -> None:
        self._store = store
        self._clock = clock
        self._pin = pin

    def publish(self, cut: VersionCut, lineage: Lineage, delta: int) -> Mapping[str, Any]:
        version = str(cut.number)
        content = content_digest_of(cut.content, lineage.bundle)
        try:
            held = self._store.manifest(cut.model, version)
        except NotFoundError:
            held = None
        if held is not None and decode_manifest(held).content_digest == content:
            manifest = held
        else:
            manifest = self._store_version(cut, version, content, self._pin(lineage), delta)
        return {
            "uri": self._store.uri(cut.model, version),
            "content_digest": content,
            "version_digest": digest(manifest),
            "kind": cut.content.kind,
        }

    def _store_version(self, cut: VersionCut, version: str, content: str, lineage: Lineage, delta: int) -> bytes:
        data = encode(cut.content)
        manifest = encode_manifest(
            Manifest(
                model=cut.model,
                version=version,
                kind=cut.content.kind,
                content_digest=content,
                files={CONTENT: digest(data)},
                created=self._clock.now(),
                params=cut.content.params,
                parents=[str(cut.number - 1)] if cut.number > 1 else [],
                metrics=cut.metrics,
                lineage=lineage,
                lock_digest=lock_digest(),
                cpu_class=cpu_class(),
                delta=delta,
            )
        )
        self._store.put_version(cut.model, version, {CONTENT: data}, manifest)
        return manifest


def load_content(files: Mapping[str, bytes]) -> ModelContent:
    """The content behind a version's files. Raises `IncompatibleError` where they hold none."""
    return decode(files[CONTENT], ModelContent)


def lock_digest() -> str:
    """The digest of the installed versions that a result depends on, or of the lock file in a checkout."""
    lock = Path(__file__).parents[1] / "requirements" / "core.lock"
    if lock.is_file():
        return digest(lock.read_bytes())
    from importlib.metadata import distributions

    found = sorted({(d.metadata["Name"].lower(), d.version) for d in distributions()})
    return digest(msgspec.json.encode(found))
