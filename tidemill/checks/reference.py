"""The reference interpreter of jobs: slow, and obviously right. Engines are compared with it.

It reads everything, judges each event by itself, sorts, drops each group's duplicates, and steps one event at a time,
each group by itself. It knows no batches, buffers, commits or crashes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidemill import state as states
from tidemill.block import Block, rows_of
from tidemill.decode import Advance, ArrowDecoder, Bad, Decoder
from tidemill.hashing import group_of
from tidemill.job import Effects, Job
from tidemill.log import Log, Partition, Record
from tidemill.order import Arrival, Batch, Order
from tidemill.stream import StreamSpec
from tidemill.time import MAX_TIME, MIN_TIME

Key = tuple[int, str, str, str, int, int, int]


@dataclass
class Outcome:
    """What a job must give on what the log holds.

    `rows` by (group, output) in order, each with `id`, `time` and the columns; `dead` counts by (topic, partition,
    offset, row, error class); `states` each group's canonical bytes; `versions` the (model, number, content bytes) cut.
    """

    rows: dict[tuple[int, str], list[dict[str, Any]]] = field(default_factory=dict)
    dead: list[tuple[str, int, int, int, str]] = field(default_factory=list)
    states: dict[int, bytes] = field(default_factory=dict)
    versions: list[tuple[str, int, bytes]] = field(default_factory=list)
    duplicates: int = 0
    stepped: int = 0
    watermark: int = MIN_TIME
    largest: int = MIN_TIME

    def of(self, output: str) -> list[dict[str, Any]]:
        """All rows of one output, group by group."""
        return [row for (_, name), rows in sorted(self.rows.items()) if name == output for row in rows]


def read_all(log: Log, partition: Partition, timeout: float = 30.0, first: int | None = None) -> list[Record]:
    """Everything committed in a partition, from its beginning or offset `first`."""
    end = log.end(partition)
    reader = log.reader({partition: log.begin(partition) if first is None else first})
    out: list[Record] = []
    until = time.monotonic() + timeout
    try:
        while reader.positions()[partition] < end:
            out += reader.poll(10_000, 0.05)
            assert time.monotonic() < until, f"{partition} gives nothing more"
    finally:
        reader.close()
    return out


def interpret(job: Job[Any], streams: Mapping[str, StreamSpec], log: Log, arrow: ArrowDecoder | None = None) -> Outcome:
    """What `job` must have given once it has read all that `log` holds now, under order `event_time`."""
    return interpret_records(job, streams, _contents(job, streams, log), arrow)


def _contents(job: Job[Any], streams: Mapping[str, StreamSpec], log: Log) -> list[tuple[str, Partition, list[Record]]]:
    partitions = [(i.stream, p) for i in job.reads for p in log.partitions(streams[i.stream].topic)]
    return [(stream, p, read_all(log, p)) for stream, p in partitions]


def interpret_arrival(
    job: Job[Any],
    streams: Mapping[str, StreamSpec],
    log: Log,
    segments: Sequence[tuple[str, int, int, int]],
    arrow: ArrowDecoder | None = None,
) -> Outcome:
    """What `job` must have given under order `arrival`, having read these segments (topic, partition, first, next) in
    this order."""
    order, out = job.order, Outcome()
    assert isinstance(order, Arrival)
    contents = {p: (stream, records) for stream, p, records in _contents(job, streams, log)}
    decoders = {i.stream: Decoder(streams[i.stream], arrow, job.max_event_bytes) for i in job.reads}
    largest: dict[Partition, int] = {}
    kept: dict[tuple[int, str, str, str], int] = {}
    count: dict[str, int] = {}
    run = _Run(job, streams, out)
    for topic, number, first, stop in segments:
        p = Partition(topic, number)
        stream, records = contents[p]
        for record in [r for r in records if first <= r.offset < stop]:
            for item in decoders[stream].decode([record]):
                if isinstance(item, Advance):
                    if item.time > _limit(max(largest.get(p, MIN_TIME), record.timestamp), order):
                        out.dead.append((topic, number, record.offset, 0, "EarlyError"))
                        continue
                    if not item.promise:
                        largest[p] = max(largest.get(p, MIN_TIME), item.time)
                    run.wake(item.time)
                    continue
                if isinstance(item, Bad):
                    _bury(out, item.place, type(item.error).__name__)
                    continue
                for i in range(len(item)):
                    one, time = item.take(slice(i, i + 1)), int(item.time[i])
                    if time > _limit(largest.get(p, record.timestamp), order):
                        _bury(out, one.place(0), "EarlyError")
                        continue
                    largest[p] = max(largest.get(p, MIN_TIME), time)
                    at = count[stream] = count.get(stream, -1) + 1
                    name = (run.group(one), stream, one.sources[0], one.ids[0])
                    if name in kept and kept[name] >= at - order.dedupe:
                        out.duplicates += 1
                    else:
                        kept[name] = at
                        run.event(one)
    run.end()
    return out


def interpret_records(
    job: Job[Any],
    streams: Mapping[str, StreamSpec],
    partitions: Sequence[tuple[str, Partition, Sequence[Record]]],
    arrow: ArrowDecoder | None = None,
) -> Outcome:
    """The same on given records: the stream, partition and records of each partition the job reads."""
    order, out = job.order, Outcome()
    assert not isinstance(order, Arrival)
    events: list[tuple[Key, Block]] = []
    floors = []
    for stream, _, records in partitions:
        decoder = Decoder(streams[stream], arrow, job.max_event_bytes)
        largest, promised = MIN_TIME, MIN_TIME
        for record in records:
            for item in decoder.decode([record]):
                if isinstance(item, Advance):
                    if item.time > _limit(max(largest, record.timestamp), order):
                        out.dead.append((record.topic, record.partition, record.offset, 0, "EarlyError"))
                    elif item.promise:
                        promised = max(promised, item.time)
                    else:
                        largest = max(largest, item.time)
                elif isinstance(item, Bad):
                    _bury(out, item.place, type(item.error).__name__)
                else:
                    for i in range(len(item)):
                        one, time = item.take(slice(i, i + 1)), int(item.time[i])
                        floor = max(promised, MIN_TIME if largest == MIN_TIME else largest - order.lateness)
                        if time > _limit(record.timestamp if largest == MIN_TIME else largest, order):
                            _bury(out, one.place(0), "EarlyError")
                            continue
                        largest = max(largest, time)
                        if time < floor:
                            _bury(out, one.place(0), "LateError")
                        else:
                            events.append((_key(one), one))
        out.largest = max(out.largest, largest)
        floors.append(max(promised, MIN_TIME if largest == MIN_TIME else largest - order.lateness))
    out.watermark = min(floors, default=MAX_TIME)
    complete = sorted((e for e in events if e[0][0] < out.watermark), key=lambda e: e[0])
    run = _Run(job, streams, out)
    for one in _unique(run, complete, order.lateness):
        run.event(one)
    if out.watermark > MIN_TIME:
        run.wake(out.watermark - 1)
    run.end()
    return out


def _limit(newest: int, order: Order) -> int:
    """Up to where time may go from `newest`; a record without an append time allows anything."""
    return newest + order.max_ahead if newest > 0 else MAX_TIME


def _key(one: Block) -> Key:
    place = one.place(0)
    return (int(one.time[0]), one.sources[0], one.ids[0], place.topic, place.partition, place.offset, place.row)


def _bury(out: Outcome, place: Any, error: str) -> None:
    out.dead.append((place.topic, place.partition, place.offset, place.row, error))


def _unique(run: _Run, events: Sequence[tuple[Key, Block]], window: int) -> list[Block]:
    kept: dict[tuple[int, str, str, str], int] = {}
    unique = []
    for key, one in events:
        name = (run.group(one), one.stream, key[1], key[2])
        if name in kept and kept[name] >= key[0] - window:
            run.out.duplicates += 1
        else:
            kept[name] = key[0]
            unique.append(one)
    return unique


class _Run:
    """Steps one event or one wake at a time, each group by itself."""

    def __init__(self, job: Job[Any], streams: Mapping[str, StreamSpec], out: Outcome) -> None:
        self.job, self.out = job, out
        self.keys = {i.stream: i.key or streams[i.stream].key for i in job.reads}
        self.current: dict[int, Any] = {}

    def group(self, one: Block) -> int:
        name = self.keys[one.stream]
        return 0 if self.job.groups == 1 else group_of(str(one.columns[str(name)].item(0)), self.job.groups)

    def event(self, one: Block) -> None:
        group = self.group(one)
        state = self.current[group] if group in self.current else self.job.init()
        self._take(group, self.job.step(state, Batch.of([one])))
        self.out.stepped += 1

    def wake(self, time: int) -> None:
        for group in sorted(self.current):
            self._take(group, self.job.step(self.current[group], Batch.empty(time)))

    def end(self) -> None:
        saved = {} if self.job.cannot_save else self.current
        self.out.states = {group: states.encode(state) for group, state in saved.items()}

    def _take(self, group: int, effects: Effects[Any]) -> None:
        self.current[group] = effects.state
        _take(self.out, group, effects)


def _take(out: Outcome, group: int, effects: Effects[Any]) -> None:
    for rows in effects.emit:
        columns = {"id": list(rows.ids), "time": np.asarray(rows.time).tolist(), **rows.columns}
        out.rows.setdefault((group, rows.output), []).extend(rows_of(columns, len(rows)))
    for dead in effects.dead:
        _bury(out, dead.place, type(dead.error).__name__)
    out.versions += [(cut.model, cut.number, states.encode(cut.content)) for cut in effects.versions]
