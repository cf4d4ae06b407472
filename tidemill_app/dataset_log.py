"""The topic `datasets`: which versions there are, and what was retracted."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable

from connectors.datasets.version import Retracted
from tidemill import events
from tidemill.cloudevents import headers_of
from tidemill.errors import BadEvent, FencedError, NotFoundError, UnavailableError
from tidemill.log import Log, TopicSpec
from tidemill.run_events import DatasetPublished, ItemRetracted
from tidemill_app.reading import read_all

TOPIC = "datasets"
_WRITER = "tidemill.datasets"


class DatasetLog:
    """What topic `datasets` says, as read when made."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.versions: list[DatasetPublished] = []
        self.retractions: list[ItemRetracted] = []
        for record in read_all(log, TOPIC) if TOPIC in log.topics() else ():
            try:
                event = events.decode(record.value or b"")
            except BadEvent:
                continue
            if isinstance(event, DatasetPublished):
                self.versions.append(event)
            elif isinstance(event, ItemRetracted):
                self.retractions.append(event)

    def of(self, name: str) -> list[DatasetPublished]:
        """The versions of a data set, oldest first."""
        return [event for event in self.versions if event.dataset == name]

    def find(self, text: str) -> DatasetPublished:
        """The version that `NAME@VERSION` names; the newest for `NAME` and `NAME@latest`. Raises `NotFoundError`."""
        name, _, version = text.partition("@")
        mine = self.of(name)
        for event in reversed(mine):
            if version in ("", "latest", event.version):
                return event
        known = ", ".join(e.version for e in mine) or "none yet"
        raise NotFoundError(f"no data set {text!r}", wanted=f"one of: {known}", fix="See `tidemill dataset list`.")

    def retracted(self, project: str) -> list[Retracted]:
        """What was retracted of a project's items, each once: of an item the whole, else its newest label's."""
        out: dict[str, Retracted] = {}
        for event in self.retractions:
            before = out.get(event.about)
            if event.stream == project and (before is None or before.label_only):
                at = max(event.time, before.time if before else 0) if event.label_only else 0
                out[event.about] = Retracted(event.about, event.label_only, at)
        return [out[about] for about in sorted(out)]


def announce(log: Log, make: Callable[[DatasetLog], DatasetPublished | None]) -> DatasetPublished | None:
    """Publish what `make` makes of the topic as it stands; nothing where it makes None.

    Writers of this topic's versions are one at a time (a transaction of one fixed id): who was overtaken makes it anew
    of what the other published, so no number is given twice.
    """
    log.create(TOPIC, TopicSpec())
    deadline = time.monotonic() + 60.0
    while True:
        writer = log.writer(_WRITER)
        try:
            event = make(DatasetLog(log))
            if event is None:
                return None
            writer.begin()
            headers = headers_of(event)
            writer.send(TOPIC, events.encode(event), key=event.dataset.encode(), headers=headers, partition=0)
            writer.commit()
            break
        except FencedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.01, 0.5))
        finally:
            writer.close()
    while all(e.id != event.id for e in DatasetLog(log).versions):  # a commit is answered before readers see it
        if time.monotonic() > deadline:
            raise UnavailableError("the version does not show in the log", where=f"{event.dataset}@{event.version}")
        time.sleep(0.02)
    return event


def retract(log: Log, event: ItemRetracted) -> None:
    """Record a retraction."""
    log.create(TOPIC, TopicSpec())
    writer = log.writer()
    try:
        key = f"{event.stream}/{event.about}".encode()
        writer.send(TOPIC, events.encode(event), key=key, headers=headers_of(event), partition=0)
        writer.flush()
    finally:
        writer.close()


def new_id() -> str:
    """An id for an event of this topic."""
    return uuid.uuid4().hex
