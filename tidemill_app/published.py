"""What was published: the committed events of topic `models`, which say what NAME@VERSION is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tidemill import events
from tidemill.errors import BadEvent
from tidemill.events import ModelAliased, ModelPublished
from tidemill.log import Log, Partition, Reader, Record, TopicSpec
from tidemill.version import Manifest, encode_manifest
from tidemill_app.reading import read_on, read_spans
from tidemill_app.telling import tell

if TYPE_CHECKING:
    from tidemill_app.wiring import Platform

TOPIC = "models"


class Published:
    """Every version in topic `models`, oldest first, and where each (model, alias) points; `refresh` reads on.

    With `follows` a reader stands by from the first record on: reading on takes a request to the log, not a connection.
    """

    def __init__(self, log: Log, *, follows: bool = False) -> None:
        self._log, self._follows = log, follows
        self._reader: Reader | None = None
        self._at = 0
        self.versions: dict[tuple[str, str], ModelPublished] = {}
        self.aliases: dict[tuple[str, str], str] = {}

    def refresh(self) -> Published:
        """Read to the topic's end; itself."""
        if TOPIC not in self._log.topics():
            return self
        partition = Partition(TOPIC, 0)
        first, end = max(self._at, self._log.begin(partition)), self._log.end(partition)
        for record in self._records(partition, first, end):
            try:
                event = events.decode(record.value or b"")
            except BadEvent:
                continue
            if isinstance(event, ModelPublished):
                self.versions[event.model, event.version] = event
            elif isinstance(event, ModelAliased):
                self.aliases[event.model, event.alias] = event.version
        self._at = max(end, self._at)
        return self

    def following(self, model: str) -> str:
        """The number that the model's next version has."""
        return str(max((int(v) for (name, v) in self.versions if name == model and v.isdecimal()), default=0) + 1)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _records(self, partition: Partition, first: int, end: int) -> Iterator[Record]:
        if not self._follows:
            yield from read_spans(self._log, {partition: (first, end)})
        elif first < end:
            if self._reader is None:
                self._reader = self._log.reader({partition: first})
            try:
                yield from read_on(self._reader, partition, end)
                self._at = self._reader.positions()[partition]
            except BaseException:
                self.close()  # what it has handed out since is read once more
                raise


def publish_version(platform: Platform, manifest: Manifest, files: Mapping[str, bytes], source: str) -> ModelPublished:
    """Store a version that is made outside of jobs, sign it, and tell all who follow topic `models`."""
    name, version = manifest.model, manifest.version
    event = ModelPublished(
        id=f"{name}/{version}",
        time=platform.clock.now(),
        source=source,
        model=name,
        version=version,
        uri=platform.artefacts.uri(name, version),
        content_digest=manifest.content_digest,
        version_digest=platform.artefacts.put_version(name, version, files, encode_manifest(manifest)),
        kind=manifest.kind,
    )
    platform.log.create(TOPIC, TopicSpec())
    tell(platform.log, TOPIC, event, name)
    return event
