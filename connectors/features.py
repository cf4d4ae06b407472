"""Feature tables outside the job: a store that follows `features.<job>`, and the follower that keeps it.

A store holds, beside its rows, the positions it has reached, and takes a batch only where it stands at the batch's
beginning. So any number of followers may feed one store: an older row never overwrites a newer one, none is left out,
and a store that was flushed, or lost its newest writes, says so by its positions and is brought up again from there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from tidemill.errors import BadEvent, GoneError, NotFoundError, TidemillError, UnavailableError
from tidemill.events import FeatureUpdated, decode
from tidemill.log import Log, Partition, Reader, Record

logger = logging.getLogger("tidemill.features")

Name = tuple[str, str]
"""Table and row key."""


class Row(NamedTuple):
    """The newest values of a row, and the number of the job's commit they are from. `values` None: it was erased."""

    values: Mapping[str, Any] | None
    sequence: int


class FeatureStore(Protocol):
    """Rows by table and key; also a `tidemill.endpoint.Known`. Every call may raise `UnavailableError`."""

    def get(self, table: str, key: str) -> Mapping[str, Any] | None:
        """The newest values of a row, or None."""
        ...

    def get_many(self, names: Sequence[Name]) -> list[Mapping[str, Any] | None]:
        """`get` of each, in one round trip."""
        ...

    def sequence(self) -> int:
        """The highest sequence of any row taken; 0 before the first."""
        ...

    def positions(self) -> dict[Partition, int] | None:
        """The next offsets to apply, or None where the store holds nothing to go on from."""
        ...

    def clear(self, positions: Mapping[Partition, int]) -> None:
        """Forget all rows; stand at `positions`."""
        ...

    def apply(self, rows: Mapping[Name, Row], before: Mapping[Partition, int], after: Mapping[Partition, int]) -> bool:
        """Take rows and positions `after`, all or nothing; False, taking nothing, where it does not stand at
        `before`."""
        ...


class FeatureFollower:
    """Brings `features.<job>` into a store. One thread at a time.

    `step` does one round and says what went wrong; `run` goes on until told to stop, whatever goes wrong.
    """

    def __init__(self, log: Log, store: FeatureStore, job: str) -> None:
        self._log = log
        self._store = store
        self._topic = f"features.{job}"
        self._reader: Reader | None = None
        self._at: dict[Partition, int] = {}
        self._first_failure = True
        self.rebuilds = 0
        self.bad = 0
        """Records that were no feature rows, and were passed over."""

    def step(self, timeout: float = 0.1, max_records: int = 2000) -> int:
        """Apply what the log has, waiting up to `timeout` seconds for it; returns the number of records read.

        Raises `UnavailableError` where the log or the store does not answer, `NotFoundError` while there is no such
        topic. Calling again goes on from what the store really holds.
        """
        try:
            if self._reader is None:
                self._open()
            assert self._reader is not None
            records = self._reader.poll(max_records, timeout)
            after = self._reader.positions()
            if after == self._at:
                if self._store.positions() != self._at:
                    self._drop()  # flushed, or moved on by another follower
                return 0
            if not self._store.apply(self._rows(records), self._at, after):
                self._drop()
                return 0
            self._at = after
            return len(records)
        except GoneError:
            logger.warning("%s is not the topic the store has followed: building it again", self._topic)
            self.rebuild()
            return 0
        except BaseException:
            self._drop()
            raise

    def _open(self) -> None:
        stands = self._store.positions()
        if stands is None or set(stands) != set(self._log.partitions(self._topic)):
            self.rebuild()
            stands = self._store.positions()
            if stands is None:
                raise UnavailableError("the feature store was emptied while it was built", where=self._topic)
        self._at = stands
        self._reader = self._log.reader(stands)

    def _drop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def rebuild(self) -> None:
        """Forget every row and begin at the first offset kept: the topic is compacted, so it has the newest of each."""
        self._drop()
        self._store.clear({p: self._log.begin(p) for p in self._log.partitions(self._topic)})
        self.rebuilds += 1

    def run(self, stop: threading.Event, backoff: float = 0.5) -> None:
        """Follow until `stop` is set; what does not answer is tried again after `backoff` seconds."""
        while not stop.is_set():
            try:
                self.step()
                self._first_failure = True
            except NotFoundError:
                stop.wait(backoff)  # a job without tables makes no such topic, and one that has just begun not yet
            except Exception as error:
                # A follower that ended would leave the store to grow stale without a word.
                level = logging.WARNING if self._first_failure else logging.DEBUG
                logger.log(level, "%s: %s", self._topic, error, exc_info=not isinstance(error, TidemillError))
                self._first_failure = False
                stop.wait(backoff)
        self._drop()

    def close(self) -> None:
        self._drop()

    def _rows(self, records: Iterable[Record]) -> dict[Name, Row]:
        """The newest row of each name; a later record of the log is the newer one."""
        out: dict[Name, Row] = {}
        for record in records:
            if record.value is None:
                table, _, key = (record.key or b"").decode(errors="replace").partition("/")
                out[table, key] = Row(None, 0)
                continue
            try:
                event = decode(record.value)
            except BadEvent as error:
                self.bad += 1
                logger.warning("%s/%d@%d: %s", record.topic, record.partition, record.offset, error)
                continue
            if isinstance(event, FeatureUpdated):
                out[event.table, event.key] = Row(event.values, event.sequence)
        return out
