"""The service's copy of the log: follows every project's topic, and appends to it.

What is appended is acknowledged by every in-sync replica, and read back, before `append` returns: who was answered
finds it in the state, and a crash at any moment after loses nothing of it. Topic `projects` only names the projects.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from serving.labelling.state import Project
from tidemill import events
from tidemill.cloudevents import headers_of
from tidemill.errors import BadEvent, IncompatibleError, NotFoundError, TidemillError, UnavailableError
from tidemill.event import Event
from tidemill.label_events import ProjectChanged
from tidemill.log import Log, Partition, Reader, Record, TopicSpec

INDEX = "projects"
READ_BACK = 15.0
"""Seconds in which what was written is to be read back."""

WRITE_WAIT = 5.0
"""Seconds that a write waits for another to be done."""
FLUSH = 10.0
"""Seconds in which what was sent is to be acknowledged. Both together are less than a client waits."""

_POLL = 0.1
_PAUSE = 0.5
_AT_ONCE = 2000
_log = logging.getLogger("tidemill.labelling")


def topic_of(project: str) -> str:
    return f"labels.{project}"


class Book:
    """All projects of one log. Threads share it; `reading` holds the lock under which state may be looked at."""

    def __init__(self, log: Log) -> None:
        self._log = log
        log.create(INDEX, TopicSpec(compacted=True))
        self._writer = log.writer()
        self._writing = threading.Lock()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._seen: dict[str, list[threading.Event]] = {}
        self._projects: dict[str, Project] = {}
        self._positions: dict[Partition, int] = {Partition(INDEX, 0): log.begin(Partition(INDEX, 0))}
        self._ends: dict[Partition, int] = {}
        self._more = True
        self._stop = threading.Event()
        self._current = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="labelling-book", daemon=True)
        self.failure = ""

    def start(self, seconds: float = 60.0) -> None:
        """Begin to follow; returns once the log was read to its end. Raises `UnavailableError` where it is not in
        time."""
        self._thread.start()
        if not self._current.wait(seconds):
            self.close()
            raise UnavailableError("the log was not read to its end in time", got=self.failure)

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10.0)
        self._writer.close()

    @contextmanager
    def reading(self, project: str) -> Iterator[Project]:
        """The state of a project, standing still. Raises `NotFoundError`."""
        with self._lock:
            found = self._projects.get(project)
            if found is None or not found.is_one:
                raise NotFoundError(
                    "no such project",
                    got=repr(project)[:80],
                    fix="tidemill labelling project list shows them; tidemill labelling project create makes one.",
                )
            yield found

    def wait_until(self, project: str, holds: Callable[[Project], bool], seconds: float) -> bool:
        """Wait until the project's state is so; False where it is not in time."""
        with self.reading(project) as state:
            return self._changed.wait_for(lambda: holds(state), seconds)

    @contextmanager
    def all(self) -> Iterator[list[Project]]:
        """Every project, standing still."""
        with self._lock:
            yield [p for _, p in sorted(self._projects.items()) if p.is_one]

    def append(self, project: str, made: Sequence[Event], *, topic: str = "") -> None:
        """Write events to the project's topic and wait until the state has taken them. Raises `UnavailableError`
        where that is not known to have happened: to ask the same again does no harm."""
        if not made:
            return
        taken = threading.Event()
        last = made[-1].id
        with self._lock:
            self._seen.setdefault(last, []).append(taken)
        try:
            with self._turn():
                for event in made:
                    self._writer.send(
                        topic or topic_of(project),
                        events.encode(event),
                        key=_key(project, event).encode(),
                        headers=headers_of(event),
                        partition=0,
                    )
                self._writer.flush(FLUSH)
            if not taken.wait(READ_BACK):
                raise UnavailableError("what was written has not been read back", where=topic_of(project))
        finally:
            with self._lock:
                waiting = self._seen.get(last, [])
                if taken in waiting:
                    waiting.remove(taken)
                if not waiting:
                    self._seen.pop(last, None)

    def publish(self, topic: str, records: Sequence[tuple[str, bytes]]) -> None:
        """Write `(key, value)` to another topic, acknowledged."""
        with self._turn():
            for key, value in records:
                self._writer.send(topic, value, key=key.encode())
            self._writer.flush(FLUSH)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One writes at a time. Raises `UnavailableError` where who writes does not get done: with the log away, all
        would wait one behind the other."""
        if not self._writing.acquire(timeout=WRITE_WAIT):
            raise UnavailableError("the log has not acknowledged an earlier write yet")
        try:
            yield
        finally:
            self._writing.release()

    def ask(self) -> None:
        """Ask the log for something small. Raises `UnavailableError` where it does not answer."""
        self._log.end(Partition(INDEX, 0))

    def open(self, made: ProjectChanged) -> None:
        """Make a project: its first event, and its name in the index. Raises `IncompatibleError` where its topic has
        several partitions, which have no order between them."""
        topic = topic_of(made.project)
        if len(self._log.partitions(topic)) != 1:
            raise IncompatibleError(
                "a project needs one order of all that happens",
                where=topic,
                wanted="a topic of one partition",
                got=f"{len(self._log.partitions(topic))}",
                fix="Label a stream of one partition.",
            )
        with self._lock:
            known = made.project in self._projects
        if not known:
            # Named first: what is named and has no event yet is no project, and can be made again.
            self.publish(INDEX, [(made.project, events.encode(made))])
        self.append(made.project, [made])

    # --- following

    def _follow(self) -> None:
        reader: Reader | None = None
        while not self._stop.is_set():
            try:
                if reader is None or self._more:
                    if reader is not None:
                        reader.close()
                    self._more = False
                    reader = self._log.reader(self._positions)
                    self._ends = {p: self._log.end(p) for p in self._positions}
                records = reader.poll(_AT_ONCE, _POLL)
                self._take(records)
                if not self._more:
                    # After a reader was made anew it goes on where the last one stood.
                    self._positions.update(reader.positions())
                    if not self._current.is_set() and all(self._positions[p] >= e for p, e in self._ends.items()):
                        self._current.set()
                self.failure = ""
            except TidemillError as error:
                if str(error) != self.failure:
                    _log.warning("the log cannot be followed: %s", error)
                self.failure = str(error)
                self._more = True
                self._stop.wait(_PAUSE)
        if reader is not None:
            reader.close()

    def _take(self, records: Sequence[Record]) -> None:
        with self._lock:
            for record in records:
                self._positions[Partition(record.topic, record.partition)] = record.offset + 1
                try:
                    event = events.decode(record.value or b"")
                except BadEvent:
                    continue  # a stray record of anybody's must not end the service
                if record.topic == INDEX:
                    if isinstance(event, ProjectChanged):
                        self._named(event.project)
                    continue
                name = record.topic.removeprefix("labels.")
                try:
                    self._projects[name].fold(event)
                except Exception as error:
                    # No event may stop the service; what is passed over here is passed over in every process alike.
                    _log.exception("event %s of %s is passed over", event.id, record.topic, exc_info=error)
                for taken in self._seen.pop(event.id, []):
                    taken.set()
            self._changed.notify_all()

    def _named(self, project: str) -> None:
        if project in self._projects:
            return
        self._projects[project] = Project(project)
        at = Partition(topic_of(project), 0)
        self._positions[at] = self._log.begin(at)
        self._more = True


def _key(project: str, event: Event) -> str:
    return str(getattr(event, "about", "") or getattr(event, "member", "") or project)
