"""Everything behind the labelling door, wired: the book, claims, accounts, and what looks after leases that run out and
projects that fall silent."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Collection
from typing import Protocol

import msgspec

from serving.labelling.accounts import Accounts
from serving.labelling.book import Book
from serving.labelling.claims import Claims
from serving.labelling.leasing import Leasing
from serving.labelling.prelabels import Prelabels
from serving.labelling.quiet import QUIET_SECONDS, Quiet
from serving.labelling.streamed import Streamed
from tidemill.errors import TidemillError
from tidemill.event import Event
from tidemill.log import Log
from tidemill.time import Clock

SWEEP_SECONDS = 1.0
_log = logging.getLogger("tidemill.labelling")


class Objects(Protocol):
    """Where items' bytes lie; `connectors.artefacts.ArtefactStore` is one."""

    def put(self, content: bytes) -> str: ...

    def get(self, digest: str) -> bytes: ...

    def has(self, digest: str) -> bool: ...


class Streams(Protocol):
    """The streams, whose declarations are the roof's."""

    def declare(self, project: str) -> None:
        """Declare the stream of a new project, and its labels, where they are not."""
        ...

    def takes_items(self, project: str) -> bool:
        """Whether the project's stream is of the shape of uploaded items (`serving.labelling.uploads.stream_of`)."""
        ...

    def find(self, project: str, ids: Collection[str]) -> dict[str, Streamed]:
        """The events of the project's stream that have these ids; those that there are."""
        ...


class Labelling:
    """One process of the labelling service. `start` begins to follow the log; `close` after the last answer. `quiet`:
    the seconds of silence after which the consensus is asked for an exact estimation (0: never). `prelabels`: what
    models say of the items that are leased."""

    def __init__(
        self,
        log: Log,
        objects: Objects,
        accounts: Accounts,
        claims: Claims,
        clock: Clock,
        streams: Streams,
        *,
        quiet: float = QUIET_SECONDS,
        prelabels: Prelabels | None = None,
    ) -> None:
        self.objects = objects
        self.accounts = accounts
        self.clock = clock
        self.streams = streams
        self.book = Book(log)
        self.leasing = Leasing(self.book, claims, clock, prelabels)
        self.quiet = Quiet(self.book, claims, quiet)
        self._stop = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="labelling-sweep", daemon=True)

    def start(self, *, sweeping: bool = True) -> None:
        self.book.start()
        if sweeping:
            self._sweeper.start()

    def close(self) -> None:
        self._stop.set()
        if self._sweeper.is_alive():
            self._sweeper.join(20.0)
        self.book.close()

    def joined(self, name: str) -> None:
        """Say in every project that invited the account that it is there."""
        with self.book.all() as projects:
            waiting = [(p.name, m) for p in projects if (m := p.members.get(name)) is not None and m.state == "invited"]
        for project, member in waiting:
            self.record(project, msgspec.structs.replace(member, state="joined", by=name))

    def record(self, project: str, event: Event) -> None:
        """Append one event, with an id and the time of now, or its own where that is later."""
        at = max(event.time, self.clock.now())
        self.book.append(project, [msgspec.structs.replace(event, id=uuid.uuid4().hex, time=at)])

    def roles(self, project: str, name: str) -> list[str]:
        """The roles of an account in a project; none where there is no such project, or it is no member."""
        with self.book.all() as projects:
            found = next((p for p in projects if p.name == project), None)
            member = None if found is None else found.members.get(name)
            return [] if member is None or member.state == "removed" else list(member.roles)

    def _sweep(self) -> None:
        while not self._stop.wait(SWEEP_SECONDS):
            try:
                with self.book.all() as projects:
                    names = [p.name for p in projects if p.is_one]
                for name in names:
                    self.leasing.sweep(name)
                    self.quiet.sweep(name)
            except TidemillError as error:
                _log.warning("leases that ran out, or silence, are not written down yet: %s", error)
