"""Wiring: the log, the artefact store and the catalogue of one home, opened together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from connectors.artefacts import ArtefactStore
from connectors.kafka import KafkaLog
from connectors.segments import Segments
from tidemill.errors import NotFoundError, UnavailableError
from tidemill.job import Job
from tidemill.log import Log, Record
from tidemill.stream import StreamSpec, answer_stream, drift_stream, label_stream, prediction_stream
from tidemill.time import Clock, SystemClock
from tidemill.version import Lineage, Span
from tidemill_app import config
from tidemill_app.catalogue import Catalogue
from tidemill_app.cli import Output
from tidemill_app.config import Connection
from tidemill_app.home import Home
from tidemill_app.job_table import JobTable
from tidemill_app.retention import Retention, forgets
from tidemill_app.trust import Trust

if TYPE_CHECKING:
    from connectors.kafka_admin import KafkaAdmin


def _declaring(name: str) -> str:
    """What makes a stream: that of answers comes with its labelling project, that of labels with the one labelled."""
    kind, _, of = name.partition(".")
    if kind == "answers" and of:
        create = f"tidemill labelling project create {of} --medium MEDIUM --class NAME ..."
        return f"Its labelling project makes it: {create}, or tidemill dataset import {of} PATH"
    named = of if kind == "labels" and of else name
    return f"Declare it: tidemill stream create {named} --infer FILE --key FIELD --time FIELD"


class Platform:
    """Everything a command needs of a running stack."""

    def __init__(self, home: Home, connection: Connection, log: Log, artefacts: ArtefactStore, clock: Clock) -> None:
        self.home = home
        self.connection = connection
        self.log = log
        self.artefacts = artefacts
        self.clock = clock
        self._closing: list[Callable[[], None]] = [log.close]
        self._forgetting: dict[str, tuple[float, bool]] = {}

    @staticmethod
    def open(home: str | os.PathLike[str] | None, needs: Sequence[str] = ("kafka", "redis")) -> Platform:
        """Raises `UnavailableError` where what is needed of the home's stack does not run or does not answer."""
        connection = config.connect(home, needs=needs)
        # There may be none yet where others run the brokers; keys, spools and snapshots go there.
        connection.home.create()
        log = KafkaLog(connection.confluent(), replication=connection.replication)
        return Platform(connection.home, connection, log, open_store(connection), SystemClock())

    def closes(self, close: Callable[[], None]) -> None:
        """Have `close` called when the platform is closed, before what it rests on is."""
        self._closing.insert(0, close)

    def jobs(self) -> JobTable:
        """The table of jobs as it stands now."""
        table = JobTable(self.log, self.clock)
        self.closes(table.close)
        table.refresh()
        return table

    def catalogue(self) -> Catalogue:
        return Catalogue(self.log, self.clock)

    def specs_of(self, job: Job[Any]) -> dict[str, StreamSpec]:
        """The declarations of the streams `job` reads. Raises `NotFoundError` for one that is not declared."""
        declared = self.catalogue().newest()
        specs: dict[str, StreamSpec] = {}
        for read in job.reads:
            name = read.stream
            if name in declared:
                specs[name] = declared[name]
            elif name.startswith("labels.") and name.removeprefix("labels.") in declared:
                specs[name] = label_stream(name.removeprefix("labels."))
            elif name.startswith("answers.") and name.removeprefix("answers.") in declared:
                specs[name] = answer_stream(name.removeprefix("answers."))
            elif name.startswith("predictions."):
                specs[name] = prediction_stream(name.removeprefix("predictions."))
            elif name.startswith("metrics."):
                specs[name] = drift_stream(name.removeprefix("metrics."))
            else:
                raise NotFoundError(
                    f"no stream {name!r}",
                    where=f"job {job.name}",
                    wanted=f"one of {', '.join(declared) or 'none declared yet'}",
                    fix=_declaring(name),
                )
        return specs

    def segments(self) -> Segments:
        """The archived stretches of the log."""
        return Segments(self.connection.artefacts, self.artefacts)

    def pin(self, lineage: Lineage) -> Lineage:
        """Archive what the lineage names where Kafka would remove it one day."""
        return Retention(self.log, self.segments(), self.forgets, self.clock).pin(lineage)

    def keep(self, spans: Iterable[Span]) -> list[str]:
        """Archive these spans where Kafka would remove them one day; what of them was gone already, in words."""
        return Retention(self.log, self.segments(), self.forgets, self.clock).keep(spans)

    def forgets(self, topic: str) -> bool:
        """Whether Kafka removes a topic's records one day. Asked at every version: answers are kept a minute."""
        now = time.monotonic()
        asked, answer = self._forgetting.get(topic, (float("-inf"), True))
        if now - asked > 60:
            with self.admin() as admin:
                answer = forgets(admin.configs(topic))
            self._forgetting[topic] = (now, answer)
        return answer

    def archive(self, span: Span) -> list[Record]:
        """The archived records of a span. Raises `GoneError` naming the range that no archive holds."""
        return self.segments().read(span)

    @contextmanager
    def admin(self) -> Iterator[KafkaAdmin]:
        """An admin of the brokers, closed at the end."""
        from connectors.kafka_admin import KafkaAdmin

        admin = KafkaAdmin(self.connection.confluent(), replication=self.connection.replication)
        try:
            yield admin
        finally:
            admin.close()

    def delete_topic(self, topic: str) -> None:
        """Delete a topic, if it is there."""
        with self.admin() as admin:
            admin.delete(topic)

    def close(self) -> None:
        for close in self._closing:
            close()


def open_store(connection: Connection) -> ArtefactStore:
    """The artefact store of a home: its own folder, or the URL in `TIDEMILL_ARTEFACTS`."""
    trust = Trust(connection.home)
    trust.make()
    return ArtefactStore(connection.artefacts, trust.key, trust.keys)


@contextmanager
def connected(out: Output) -> Iterator[Platform]:
    """The platform of the home that a command was given, closed at the end."""
    platform = Platform.open(out.home)
    try:
        yield platform
    finally:
        platform.close()


@contextmanager
def when_connected(out: Output, seconds: float = 60.0) -> Iterator[Platform]:
    """As `connected`, for a service that is started together with what it needs: tries again for `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            platform = Platform.open(out.home)
            platform.log.topics()
            break
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    try:
        yield platform
    finally:
        platform.close()
