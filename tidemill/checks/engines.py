"""What every engine must do, as code: run adversarial jobs and give exactly what the reference interpreter gives.

    for scenario in scenarios():
        check_scenario(rig, scenario)       # rows, their order by key, dead letters; nothing twice on a restart
        check_crashes(rig, scenario)        # the same, dying or losing the connection at every commit boundary

A `Rig` says how to make the engine and what it runs on. Engines that do not write through `Parts.log` take only the
first.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tidemill import events
from tidemill.checks.faults import Crash, FaultyLog, Hook, break_at, crash_at
from tidemill.checks.inputs import advanced
from tidemill.checks.reference import Outcome, interpret, interpret_arrival, interpret_records, read_all
from tidemill.checks.scenarios import Scenario, publish
from tidemill.engine import Engine, Parts
from tidemill.events import ProgressMade
from tidemill.log import Log, Partition, Record
from tidemill.order import Arrival
from tidemill.state import StateStore
from tidemill.time import SystemClock, to_rfc3339


@dataclass(frozen=True)
class Rig:
    """How to make an engine, an empty log and an empty store; `patience` seconds is how long a run may take."""

    make_engine: Callable[[], Engine]
    make_log: Callable[[], Log]
    make_store: Callable[[], StateStore]
    patience: float = 60.0


class _Committed:
    """Reads what is committed in some topics as it grows."""

    def __init__(self, log: Log, topics: list[str]) -> None:
        self._log, self._topics = log, topics
        self.records: dict[str, list[Record]] = {topic: [] for topic in topics}
        self._at: dict[Partition, int] = {}

    def look(self) -> None:
        there = self._log.topics()
        for topic in self._topics:
            for p in self._log.partitions(topic) if topic in there else []:
                start, end = self._at.get(p, 0), self._log.end(p)
                if end > start:
                    self.records[topic] += read_all(self._log, p, first=start)
                    self._at[p] = end


def dead_topic(scenario: Scenario) -> str:
    return f"dead.{scenario.job.name}"


def run(
    rig: Rig, scenario: Scenario, log: Log, store: StateStore, wanted: Mapping[str, int], *, least: float = 0.0
) -> None:
    """Run the engine until topics hold the wanted numbers of records, and `least` seconds; or patience ends."""
    committed = _Committed(log, list(wanted))
    start = time.monotonic()

    def stop() -> bool:
        passed = time.monotonic() - start
        if passed > rig.patience:
            return True
        committed.look()
        return passed >= least and all(len(committed.records[topic]) >= n for topic, n in wanted.items())

    parts = Parts(log=log, store=store, clock=SystemClock(), streams=scenario.streams)
    rig.make_engine().run(scenario.job, parts, stop)


def expected(scenario: Scenario, log: Log) -> Outcome:
    """What must come of what the log holds now. A partition that will be idle is taken as moved by the engine."""
    job, order, streams = scenario.job, scenario.job.order, scenario.streams
    inputs = [(s, p) for s, spec in streams.items() for p in log.partitions(spec.topic)]
    if isinstance(order, Arrival):
        return interpret_arrival(job, streams, log, [(p.topic, p.number, 0, log.end(p)) for _, p in inputs])
    outcome = interpret(job, streams, log)
    if not scenario.idle:
        return outcome
    end = outcome.largest + order.lateness + 1
    return interpret_records(job, streams, [(s, p, [*read_all(log, p), _moved(p, end)]) for s, p in inputs])


def _moved(p: Partition, time: int) -> Record:
    topic, number, value, headers = advanced(p.topic, p.number, time, promise=False)
    return Record(topic, number, 1 << 40, None, value, headers, 0)


def numbers(scenario: Scenario, outcome: Outcome) -> dict[str, int]:
    """How many records each topic must hold."""
    rows = {o.topic: len(outcome.of(o.name)) for o in scenario.job.writes}
    return rows | {dead_topic(scenario): len(outcome.dead)}


def check_outcome(scenario: Scenario, log: Log, outcome: Outcome | None = None, *, once: bool = True) -> None:
    """What is committed is what the reference interpreter gives on the log as it stands, with the clocks that the
    engine recorded as moved: each row once, the rows of each key in order, each dead event once with its bytes
    untouched. `outcome` may be given where it is known. Of an engine that does not provide `exactly_once`, `once`
    False: then rows and dead letters may come again, the rows as they were, byte for byte."""
    job = scenario.job
    if isinstance(job.order, Arrival):
        outcome = interpret_arrival(job, scenario.streams, log, recorded(log, job.name))
    elif outcome is None:
        outcome = interpret_records(job, scenario.streams, _with_moves(scenario, log))
    for output in job.writes:
        got = [r for p in log.partitions(output.topic) for r in read_all(log, p)]
        if not once:
            got = list({(r.key, r.value): r for r in reversed(got)}.values())[::-1]
        if output.tag:  # outputs of several tags may share a topic
            got = [r for r in got if msgspec.json.decode(r.value or b"{}").get("type") == output.tag]
        want = [_written(row, output.tag) for row in outcome.of(output.name)]
        names = list(want[0]) if want else ["id"]
        _same_rows([_read(r.value or b"null", output.tag, names) for r in got], want, output.name)
    _same_dead(scenario, log, outcome, once)


def _written(row: Mapping[str, Any], tag: str) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(row))
    return plain if tag else plain | {"time": to_rfc3339(plain["time"])}


def _read(value: bytes, tag: str, names: Sequence[str]) -> dict[str, Any]:
    """A row of data, or of a platform event what the job said of it."""
    if not tag:
        row: dict[str, Any] = msgspec.json.decode(value)
        return row
    event = events.decode(value)
    return {name: getattr(event, name) for name in names}


def _same_rows(got: list[dict[str, Any]], want: list[dict[str, Any]], output: str) -> None:
    ids = Counter(row["id"] for row in got)
    wanted = Counter(row["id"] for row in want)
    twice = {id: n for id, n in ids.items() if n > wanted[id] > 0}
    assert not twice, f"output {output}: came more than once: {dict(list(twice.items())[:3])}"
    lost = wanted - ids
    assert not lost, f"output {output}: {sum(lost.values())} of {len(want)} rows never came: {list(lost)[:3]}"
    assert len(got) == len(want), f"output {output}: {len(got)} rows, wanted {len(want)}: {list(ids - wanted)[:3]}"
    mine, theirs = _by_key(got), _by_key(want)
    for key, rows in theirs.items():
        for i, (a, b) in enumerate(zip(mine.get(key, []), rows, strict=True)):
            assert a == b, f"output {output}, key {key!r}, row {i}: {a} is not {b}"


def _by_key(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    out: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        out.setdefault(row.get("key", ""), []).append(row)
    return out


def _same_dead(scenario: Scenario, log: Log, outcome: Outcome, once: bool) -> None:
    got: Counter[tuple[str, int, int, int, str]] = Counter()
    topic = dead_topic(scenario)
    origin = {
        (p.topic, p.number, r.offset): r
        for spec in scenario.streams.values()
        for p in log.partitions(spec.topic)
        for r in read_all(log, p)
    }
    for p in log.partitions(topic) if topic in log.topics() else []:
        for record in read_all(log, p):
            h = {name: value.decode() for name, value in record.headers if name.startswith("dead_")}
            place = (h["dead_topic"], int(h["dead_partition"]), int(h["dead_offset"]))
            got[(*place, int(h["dead_row"]), h["dead_error"])] += 1
            untouched = (record.key, record.value) == (origin[place].key, origin[place].value)
            assert untouched, f"the dead letter of {place} has other bytes than the event"
    want = Counter(outcome.dead)
    if not once:
        got, want = Counter(set(got)), Counter(set(want))
    assert got == want, (
        f"dead letters: too many {list((got - want).items())[:3]}, missing {list((want - got).items())[:3]}"
    )


def _with_moves(scenario: Scenario, log: Log) -> list[tuple[str, Partition, list[Record]]]:
    """What each partition holds, with the moves of its clock, as if they stood in it as records."""
    moves: dict[Partition, list[tuple[int, int]]] = {}
    for made in _progress(log, scenario.job.name):
        for topic, number, offset, moment in made.moved:
            moves.setdefault(Partition(topic, number), []).append((offset, moment))
    out = []
    for stream, spec in scenario.streams.items():
        for p in log.partitions(spec.topic):
            records = [(r.offset, 1, r) for r in read_all(log, p)]
            moved = [(offset, 0, _moved(p, moment)) for offset, moment in moves.get(p, [])]
            out.append((stream, p, [r for _, _, r in sorted([*records, *moved], key=lambda item: item[:2])]))
    return out


def recorded(log: Log, job: str) -> list[tuple[str, int, int, int]]:
    """The segments that a job recorded, in reading order."""
    return [segment for made in _progress(log, job) for segment in made.segments]


def _progress(log: Log, job: str) -> list[ProgressMade]:
    made = [events.decode(r.value or b"") for r in read_all(log, Partition(f"progress.{job}", 0))]
    return [event for event in made if isinstance(event, ProgressMade)]


def check_scenario(rig: Rig, scenario: Scenario) -> None:
    """One undisturbed run, then a restart that must add nothing."""
    log, store = rig.make_log(), rig.make_store()
    publish(log, scenario)
    wanted = numbers(scenario, expected(scenario, log))
    run(rig, scenario, log, store, wanted)
    check_outcome(scenario, log)
    run(rig, scenario, log, store, {}, least=0.1)
    check_outcome(scenario, log)


def check_order_does_not_matter(rig: Rig, scenario: Scenario) -> None:
    """Under `event_time`, what comes out is the same when half of the events only come while the engine runs."""
    log, store = rig.make_log(), rig.make_store()
    half = len(scenario.sendings) // 2
    publish(log, scenario, 0, half)
    run(rig, scenario, log, store, {}, least=0.1)
    publish(log, scenario, half)
    run(rig, scenario, log, store, numbers(scenario, expected(scenario, log)))
    check_outcome(scenario, log)


def check_crashes(rig: Rig, scenario: Scenario, *, most: int = 12) -> int:
    """Die, or lose the connection, before and after each commit in turn (at most `most` of each, spread evenly), and
    go on; the outcome must be that of an undisturbed run. Says how many disturbances there were."""
    log = rig.make_log()
    publish(log, scenario)
    outcome = expected(scenario, log)
    commits = _commits(rig, scenario, log, numbers(scenario, outcome))
    assert commits > 1, "the engine committed only once: nothing to disturb; let it commit more often"
    number = min(most, commits)
    spread = [1 + i * (commits - 1) // max(1, number - 1) for i in range(number)]
    done = 0
    for nth in spread:
        for point in ("before commit", "after commit"):
            for hook in (crash_at(point, nth), break_at(point, nth)):
                _disturbed(rig, scenario, outcome, hook, f"{point} {nth} of {commits}")
                done += 1
    return done


def _commits(rig: Rig, scenario: Scenario, log: Log, wanted: Mapping[str, int]) -> int:
    count = 0

    def hook(point: str) -> None:
        nonlocal count
        count += point == "after commit"

    run(rig, scenario, FaultyLog(log, hook), rig.make_store(), wanted)
    return count


def _disturbed(rig: Rig, scenario: Scenario, outcome: Outcome, hook: Hook, where: str) -> None:
    log, store = rig.make_log(), rig.make_store()
    publish(log, scenario)
    wanted = numbers(scenario, outcome)
    try:
        run(rig, scenario, FaultyLog(log, hook), store, wanted)
    except Crash:
        run(rig, scenario, log, store, wanted)
    try:
        run(rig, scenario, log, store, {}, least=0.02)
        check_outcome(scenario, log, None if scenario.idle else outcome)
    except AssertionError as error:
        raise AssertionError(f"disturbed {where}: {error}") from error
