"""Follows the log: model versions, aliases, deltas, feature tables and declarations, applied as they come."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice

from serving.currency import Currency
from serving.deltas import delta_of, read_since
from serving.freshness import Freshness
from serving.known import FeatureTables
from serving.plane import CHAMPION, LATEST, DataPlane, Loaded
from tidemill import events
from tidemill.errors import BadEvent, GoneError, IntegrityError, TidemillError, UnavailableError, UserError
from tidemill.events import FeatureUpdated, JobChanged, ModelAliased, ModelPublished, StreamDeclared
from tidemill.log import Log, Partition, Reader, Record
from tidemill.servable import Servable
from tidemill.stream import StreamSpec
from tidemill.version import WEIGHTS

_log = logging.getLogger("tidemill.serving")

Load = Callable[[ModelPublished], Servable]
"""Fetches, verifies and loads a version. Raises `IntegrityError`, `UserError` where it must not or cannot be served,
`UnavailableError` where trying again may help."""

_POLL_SECONDS = 0.1
_MAX_BACKOFF = 2.0
_FALLBACKS = 10


class Follower:
    """One thread that reads `streams`, `models`, `deltas.<model>` and `features.<job>` and applies what it reads; also
    `jobs`, where `submitted` is to be told of every job submitted, changed or stopped from offset `jobs_from` on.

    Where the log does not answer it tries again, from where it stood, and everything applied stays in use. A version
    that fails verification is refused, said in `rejected`, and what was served before is served on, also by a server
    that begins only then, which looks through the last ten; where `renewed`, asked about once a second, says that
    another answer may be had now, it is tried again.
    """

    def __init__(
        self,
        log: Log,
        plane: DataPlane,
        load: Load,
        freshness: Freshness,
        *,
        tables: Mapping[str, FeatureTables] | None = None,
        declared: Callable[[StreamSpec], None] = lambda spec: None,
        submitted: Callable[[JobChanged], None] | None = None,
        jobs_from: int | None = None,
        renewed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._log = log
        self._plane = plane
        self._load = load
        self._freshness = freshness
        self._tables = {f"features.{job}": table for job, table in (tables or {}).items()}
        self._declared = declared
        self._submitted = submitted
        self._jobs_from = jobs_from
        self._renewed = renewed
        self._positions: dict[Partition, int] = {}
        # The versions of each model with the time (µs) each was appended at, the newest last.
        self._versions: dict[str, dict[str, tuple[ModelPublished, int]]] = {}
        self._served: dict[str, tuple[ModelPublished, int]] = {}
        self._sequences: dict[str, int] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidemill-follow", daemon=True)
        self._currency = Currency(log)
        self._more = False
        self.rejected: dict[str, str] = {}
        self.gaps = 0
        self.failures = 0

    def start(self) -> None:
        self._currency.start()
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(35)
        self._currency.close()

    def fill(self, job: str, tables: FeatureTables) -> None:
        """Follow the feature tables of `job` too. Called before `start`, or by what this follower calls."""
        self._tables[f"features.{job}"] = tables
        self._more = True

    def _run(self) -> None:
        backoff = 0.1
        while not self._stop.is_set():
            try:
                self._follow()
                backoff = 0.1
            except GoneError as error:
                # What is gone was applied long ago or cannot be had: go on at what is kept.
                _log.warning("%s", error)
                self._positions.clear()
            except Exception as error:
                # A thread that ended would leave the server serving yesterday for ever, silently.
                self.failures += 1
                expected = isinstance(error, UnavailableError)
                _log.log(logging.INFO if expected else logging.ERROR, "following: %s", error, exc_info=not expected)
                self._stop.wait(backoff)
                backoff = min(_MAX_BACKOFF, backoff * 2)

    def _follow(self) -> None:
        """Read until a topic appears that is wanted and not yet read."""
        self._find_topics()
        if not self._positions:
            self._stop.wait(0.3)
            return
        reader = self._log.reader(self._positions)
        self._more = False
        self._currency.watch(self._positions)
        looked = time.monotonic()
        try:
            while not self._stop.is_set() and not self._more:
                records = reader.poll(2_000, _POLL_SECONDS)
                self._apply(records)
                self._note_currency(reader)
                if time.monotonic() - looked > 1.0:
                    looked = time.monotonic()
                    self._reconsider()
                    missing = self._wanted() - self._topics()
                    self._more |= bool(missing and missing & self._log.topics().keys())
        finally:
            reader.close()

    def _topics(self) -> set[str]:
        return {p.topic for p in self._positions}

    def _wanted(self) -> set[str]:
        jobs = {"jobs"} if self._submitted is not None else set()
        return {"streams", "models", *jobs, *self._tables, *(f"deltas.{model}" for model in self._versions)}

    def _find_topics(self) -> None:
        """Positions for topics that are there and not yet read; the models' own topic is read to its end at once, so
        that only the versions that will be served are loaded."""
        there = self._log.topics()
        # A topic that was deleted is waited for; a position in it would keep everything else from being read.
        self._positions = {p: at for p, at in self._positions.items() if p.topic in there}
        if "models" in there and "models" not in self._topics():
            self._begin_models()
        for topic in sorted(self._wanted() - self._topics() - {"models"}):
            if topic not in there:
                continue
            if topic.startswith("deltas."):
                self._catch_up(topic.removeprefix("deltas."))
            elif topic == "jobs" and self._jobs_from is not None:
                # Only once: where that is gone, the topic is another one, and is read from its beginning.
                self._positions[Partition(topic, 0)], self._jobs_from = self._jobs_from, None
            else:
                for number in range(there[topic]):
                    at = Partition(topic, number)
                    self._positions[at] = self._log.begin(at)

    def _begin_models(self) -> None:
        at = Partition("models", 0)
        end = self._log.end(at)
        reader = self._log.reader({at: self._log.begin(at)})
        aliases: dict[tuple[str, str], str] = {}
        try:
            while reader.positions()[at] < end:
                for record in reader.poll(5_000, 0.1):
                    event = _event(record)
                    if isinstance(event, ModelPublished) and event.kind != WEIGHTS:
                        self._note_version(event, record.timestamp)
                    elif isinstance(event, ModelAliased):
                        aliases[event.model, event.alias] = event.version
            next_offset = reader.positions()[at]
        finally:
            reader.close()
        for model in self._versions:
            # What is pinned comes first: until then the newest answers, which may be one that its gate has held back.
            pinned = aliases.get((model, CHAMPION), LATEST)
            if pinned in self._versions[model] and CHAMPION not in self._plane.aliases(model):
                self._plane.alias(model, CHAMPION, pinned)  # nobody answers in its place where it cannot be loaded
            if pinned not in (LATEST, self._newest(model)[0].version):
                self._alias(model, CHAMPION, pinned)
            self._install_newest(model)
        for (model, alias), version in aliases.items():
            self._alias(model, alias, version)
        self._positions[at] = next_offset

    def _apply(self, records: list[Record]) -> None:
        for record in records:
            at = Partition(record.topic, record.partition)
            if record.offset < self._positions.get(at, 0):
                continue  # a gap was healed meanwhile by reading on further
            self._apply_one(record)
            if self._positions.get(at, 0) <= record.offset:
                self._positions[at] = record.offset + 1

    def _apply_one(self, record: Record) -> None:
        topic = record.topic
        if topic.startswith("features."):
            tables = self._tables[topic]
            event = _event(record)
            if isinstance(event, FeatureUpdated):
                tables.apply(event)
            elif record.value is None and record.key:
                tables.remove(*record.key.decode(errors="replace").partition("/")[::2])
            return
        if topic.startswith("deltas."):
            self._delta(record)
            return
        event = _event(record)
        if isinstance(event, ModelPublished) and event.kind != WEIGHTS:
            first = event.model not in self._versions
            self._note_version(event, record.timestamp)
            self._install(event)
            self._more |= first
        elif isinstance(event, ModelAliased):
            self._alias(event.model, event.alias, event.version)
        elif isinstance(event, StreamDeclared):
            self._declared(event.spec)
        elif isinstance(event, JobChanged) and self._submitted is not None:
            self._submitted(event)

    def _delta(self, record: Record) -> None:
        delta = delta_of(record.value)
        if delta is None:
            return
        if delta.sequence <= self._sequences.get(delta.model, 0):
            self._plane.restart(delta.model)
        self._sequences[delta.model] = delta.sequence
        if self._plane.apply(delta) == "gap":
            self.gaps += 1
            _log.warning("model %s: deltas before %d are missing: reading again", delta.model, delta.sequence)
            self._catch_up(delta.model)

    def _catch_up(self, model: str) -> None:
        """Apply the deltas since the version that is served, from the log; afterwards the reader goes on behind
        them."""
        at = Partition(f"deltas.{model}", 0)
        _, since = self._served.get(model) or self._newest(model)
        deltas, next_offset, later_run = read_since(self._log, at, since)
        if later_run:
            self._plane.restart(model)
        for delta in deltas:
            self._sequences[model] = delta.sequence
            if self._plane.apply(delta) == "gap":
                _log.error("model %s: deltas before %d are gone: waiting for a version", model, delta.sequence)
                self._plane.abandon(model)
        self._positions[at] = next_offset

    def _loaded(self, event: ModelPublished) -> Loaded | None:
        where = f"{event.model}@{event.version}"
        try:
            servable = self._load(event)
        except (IntegrityError, UserError, BadEvent) as error:
            self.rejected[where] = str(error)
            _log.error("version %s is not served: %s", where, error)
            return None
        self.rejected.pop(where, None)
        return Loaded(event.model, event.version, servable, event.delta, 0, 0, event, event.bundle)

    def _note_version(self, event: ModelPublished, appended: int) -> None:
        versions = self._versions.setdefault(event.model, {})
        versions.pop(event.version, None)  # a job that learns anew publishes it again
        versions[event.version] = (event, appended)

    def _newest(self, model: str) -> tuple[ModelPublished, int]:
        return next(reversed(self._versions[model].values()))

    def _install(self, event: ModelPublished) -> bool:
        """Whether the version is served from now on."""
        loaded = self._loaded(event)
        if loaded is None:
            return False
        self._served[event.model] = self._versions[event.model][event.version]
        if self._plane.install(loaded) == "gap" and event.model in self._sequences:
            self.gaps += 1
            self._catch_up(event.model)
        return True

    def _install_newest(self, model: str, served: tuple[ModelPublished, int] | None = None) -> None:
        """Serve the newest of the last versions that may be served: a server that was started after a version was
        refused answers as one that was running then. Nothing older than what is `served` is looked at."""
        for found in islice(reversed(self._versions[model].values()), _FALLBACKS):
            if found is served or self._install(found[0]):
                return

    def _reconsider(self) -> None:
        """Try again what was refused, where there is reason to."""
        if not self._renewed():
            return
        for model in self._versions:
            if f"{model}@{self._newest(model)[0].version}" in self.rejected:
                self._install_newest(model, self._served.get(model))
        for (model, alias), version in list(self._aliases.items()):
            if f"{model}@{version}" in self.rejected:
                self._alias(model, alias, version)
        # Of the others that were refused none is wanted any more.
        wanted = {f"{model}@{self._newest(model)[0].version}" for model in self._versions}
        wanted |= {f"{model}@{version}" for (model, _), version in self._aliases.items()}
        self.rejected = {where: why for where, why in self.rejected.items() if where in wanted}

    def _alias(self, model: str, alias: str, version: str) -> None:
        self._aliases[model, alias] = version
        found = self._versions.get(model, {}).get(version)
        if version != LATEST and found is not None and not self._plane.has(model, version):
            loaded = self._loaded(found[0])
            if loaded is not None:
                self._plane.load(loaded)
        if version == LATEST or self._plane.has(model, version):
            self._plane.alias(model, alias, version)
        else:
            _log.warning("alias %s of %s stays where it is: there is no version %s", alias, model, version)

    def _note_currency(self, reader: Reader) -> None:
        """Once the ends of all partitions are passed, everything up to when they were asked for is in."""
        asked = self._currency.reached(reader.positions)
        if asked is not None:
            self._freshness.current(asked)
            for topic, tables in self._tables.items():
                tables.fresh = topic in self._topics() or tables.fresh


def _event(record: Record) -> object:
    with suppress(BadEvent, TidemillError):
        return events.decode(record.value or b"")
    return None
