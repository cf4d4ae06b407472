"""A job's run without input or output: items in, effects out, plain data between.

Every engine and every rebuild turns records into effects by this one path::

    items ─ clocks: late? early? ─ reorder buffer ─ released < watermark, sorted ─ groups ─ duplicates out ─ step

What was stepped after feeding the records before given positions is a function of those records alone (under `arrival`
also of the order in which they were fed), however they were cut into feeds and steps. That is what lets a crashed job
re-run silently up to its last commit, and a model be rebuilt from its manifest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.buffer import ReorderBuffer
from streams.dedupe import Dedupe, Seen
from streams.failing import failed
from streams.groups import Groups, split
from streams.labels import Labelled
from streams.rejecting import Rejected, clock_ahead, early_or_late
from tidemill import state as states
from tidemill.block import Block
from tidemill.decode import Advance, Bad, Item
from tidemill.job import DeadRow, Effects, Job, Rows, VersionCut
from tidemill.log import Partition
from tidemill.order import Batch, EventTime, PartitionClock, watermark
from tidemill.stream import StreamSpec
from tidemill.time import MAX_TIME, MIN_TIME

S = TypeVar("S")


@dataclass(frozen=True)
class Source:
    """A partition that a job reads: which stream's, and whether it holds the history before the stream's own."""

    partition: Partition
    stream: str
    history: bool = False


class Counts(msgspec.Struct):
    """What became of everything fed, since the job's beginning."""

    events: int = 0
    late: int = 0
    early: int = 0
    bad: int = 0
    in_history: int = 0
    duplicates: int = 0
    stepped: int = 0
    labels: int = 0
    dead: int = 0
    steps: int = 0
    emitted: dict[str, int] = {}


@dataclass
class Stepped:
    """What one call of `step` brought about: rows and cuts with the group they come from."""

    rows: list[tuple[int, Rows]] = field(default_factory=list)
    dead: list[DeadRow] = field(default_factory=list)
    versions: list[tuple[int, VersionCut]] = field(default_factory=list)
    events: int = 0


class Saved(msgspec.Struct):
    """A pipeline as plain data; `states` are each group's canonical bytes."""

    clocks: list[tuple[str, int, PartitionClock]]
    held: list[tuple[str, int, list[Block]]]
    seen: list[Seen]
    states: list[tuple[int, bytes]]
    wake_at: list[tuple[int, int]]
    counts: Counts
    watermark: int
    last: tuple[int, str, str] | None
    history_end: dict[str, int]
    position: dict[str, int]
    labelled: int
    labels_pending: list[tuple[int, int]]


class Pipeline(Generic[S]):
    """Feed it the items of each partition in log order; `step` runs what has become complete. `after` is the highest
    version number there was when the job began."""

    def __init__(
        self, job: Job[S], streams: Mapping[str, StreamSpec], sources: Sequence[Source], after: int = 0
    ) -> None:
        self.job = job
        self.after = after
        self.sources = {source.partition: source for source in sources}
        self.clocks = {source.partition: PartitionClock() for source in sources}
        self.states: dict[int, S] = {}
        self.wake_at: dict[int, int] = {}
        self.counts = Counts()
        self.watermark = MIN_TIME
        self.last: tuple[int, str, str] | None = None
        self.labelled = 0
        self.careful_until = 0
        """While fewer events are stepped than this, each is stepped alone: one of them fails, and is to be named."""
        self._streams = streams
        self.labels = Labelled(job.reads)
        self._keys = {i.stream: i.key or streams[i.stream].key for i in job.reads}
        self._histories = {s.stream for s in sources if s.history}
        self._history_end: dict[str, int] = {}
        self._buffer = ReorderBuffer()
        self._queue: list[Block | Advance] = []
        self._queued = 0
        self._groups = Groups(job.groups)
        self._position: dict[str, int] = {}
        self._labels_pending: deque[tuple[int, int]] = deque()
        order = job.order
        if isinstance(order, EventTime):
            self._lateness: int | None = order.lateness
            self._dedupe = Dedupe(order.lateness, ties_only=order.lateness == 0)
        else:
            self._lateness = None
            self._dedupe = Dedupe(order.dedupe)

    @property
    def buffered(self) -> int:
        """Events read and not stepped."""
        return len(self._buffer) + self._queued

    def active(self, partition: Partition) -> bool:
        """Whether the partition is part of the watermark now: a history until its end, what follows it from there."""
        source = self.sources[partition]
        if source.stream not in self._histories:
            return True
        return source.history == (source.stream not in self._history_end)

    def finish_history(self, stream: str) -> None:
        """Every history partition of `stream` has been read to its end: its own partitions take over.

        Their events before the largest time of the history are taken to be in the history already.
        """
        if stream not in self._histories or stream in self._history_end:
            return
        mine = [s for s in self.sources.values() if s.stream == stream]
        end = max((self.clocks[s.partition].largest for s in mine if s.history), default=MIN_TIME)
        self._history_end[stream] = end
        if self._lateness is not None and end != MIN_TIME:
            for s in mine:
                if not s.history:
                    self.clocks[s.partition].advance(end - self._lateness, True)

    def held_by(self) -> Partition | None:
        """The active partition whose clock holds the watermark back most."""
        if self._lateness is None:
            return None
        live = [p for p in self.clocks if self.active(p)]
        return min(live, key=self.floor, default=None)

    def floor(self, partition: Partition) -> int:
        """The time before which an event of this partition is late; of arrival order there is none."""
        return MIN_TIME if self._lateness is None else self.clocks[partition].floor(self._lateness)

    def feed(self, partition: Partition, items: Sequence[Item], appended: int = 0) -> list[Rejected]:
        """Take the next items of one partition; what cannot be stepped comes back.

        `appended` is the newest append time among their records: of labels for label-to-live, and while the partition
        has no clock (`begun`) that of the one record they come from.
        """
        rejected: list[Rejected] = []
        clock = self.clocks[partition]
        for item in items:
            if isinstance(item, Bad):
                self.counts.bad += 1
                self.counts.dead += 1
                rejected.append(Rejected(item.place, item.error, item.record))
            elif isinstance(item, Advance):
                if not clock.may_advance(item.time, item.record.timestamp, self.job.order.max_ahead):
                    self.counts.early += 1
                    self.counts.dead += 1
                    rejected.append(clock_ahead(item, self.job.order.max_ahead))
                    continue
                clock.advance(item.time, item.promise)
                if self._lateness is None:
                    self._queue.append(item)
            else:
                self._admit(partition, clock, item, rejected, appended)
        return rejected

    def _admit(
        self, partition: Partition, clock: PartitionClock, block: Block, rejected: list[Rejected], appended: int
    ) -> None:
        source = self.sources[partition]
        self.counts.events += len(block)
        if not source.history and source.stream in self._history_end:
            known = block.time < self._history_end[source.stream]
            if known.any():
                self.counts.in_history += int(known.sum())
                block = block.take(~known)
        late, early = clock.admit(block.time, self._lateness, self.job.order.max_ahead, appended)
        if late.any() or early.any():
            self._reject(block, late, early, rejected)
            block = block.take(~(late | early))
        if not len(block):
            return
        if appended and self.labels.any_in(source.stream) and (mask := self.labels.mask(block)).any():
            self._labels_pending.append((int(block.time[mask].max()), appended))
        if self._lateness is None:
            self._queue.append(block)
            self._queued += len(block)
        else:
            self._buffer.add(partition, block)

    def drain(self) -> tuple[list[Block], list[tuple[int, int]]]:
        """Take out what was admitted and not stepped, and its labels' append times: another pipeline steps it, which
        is handed it by `receive`."""
        blocks, labels = self._buffer.release(MAX_TIME), list(self._labels_pending)
        self._labels_pending.clear()
        return blocks, labels

    def receive(
        self,
        partition: Partition,
        clock: PartitionClock,
        blocks: Sequence[Block],
        labels: Sequence[tuple[int, int]],
    ) -> None:
        """Take what another pipeline has admitted of `partition`, whose clock stands at `clock` after it."""
        self.clocks[partition] = clock
        for block in blocks:
            self._buffer.add(partition, self._declared(block))
        self._labels_pending.extend(labels)

    def begun(self, partition: Partition) -> bool:
        """Whether the partition has a clock."""
        return self.clocks[partition].largest != MIN_TIME

    def _reject(
        self, block: Block, late: NDArray[np.bool_], early: NDArray[np.bool_], rejected: list[Rejected]
    ) -> None:
        self.counts.late += int(late.sum())
        self.counts.early += int(early.sum())
        self.counts.dead += int(late.sum()) + int(early.sum())
        rejected += early_or_late(block, late, early, self._lateness or 0, self.job.order.max_ahead)

    def step(self) -> Stepped:
        """Run the step on everything that has become complete."""
        out = Stepped()
        if self._lateness is None:
            self._step_queue(out)
        else:
            live = [clock for p, clock in self.clocks.items() if self.active(p)]
            mark = max(self.watermark, watermark(live, self._lateness)) if live else self.watermark
            if mark > self.watermark:
                self.watermark = mark
                batch = Batch.sort(self._buffer.release(mark), mark - 1)
                self._run(batch, out)
        while self._labels_pending and (self._lateness is None or self._labels_pending[0][0] < self.watermark):
            self.labelled = max(self.labelled, self._labels_pending.popleft()[1])
        return out

    def _step_queue(self, out: Stepped) -> None:
        run: list[Block] = []
        for item in self._queue:
            if isinstance(item, Advance):
                self._run(Batch.of(run, item.time), out)
                self.watermark = max(self.watermark, item.time)
                run = []
            else:
                run.append(item)
        if run:
            self._run(Batch.of(run), out)
        self._queue, self._queued = [], 0

    def _drop(self, batch: Batch, group: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        """Where in the batch the events stand that are no duplicates; None for all. `group` is that of each event."""
        keep: NDArray[np.bool_] | None = None
        for number, stream in enumerate(batch.streams):
            block = batch.blocks.get(stream)
            if block is None:
                continue
            # The rows of a block stand in the batch's order.
            mine = None if group is None else group[batch.kind == number]
            mask = self._dedupe.admit(block, self._positions(block), mine)
            if mask is not None:
                keep = np.ones(len(batch), dtype=np.bool_) if keep is None else keep
                keep[batch.kind == number] = mask
        if keep is None:
            return None
        self.counts.duplicates += int((~keep).sum())
        return np.flatnonzero(keep)

    def _positions(self, block: Block) -> NDArray[np.int64]:
        if self._lateness is not None:
            return block.time
        at = self._position.get(block.stream, 0)
        self._position[block.stream] = at + len(block)
        return np.arange(at, at + len(block), dtype=np.int64)

    def _run(self, batch: Batch, out: Stepped) -> None:
        alone = self.counts.stepped < self.careful_until
        group_of = self._groups.of(batch, self._keys)
        kept = self._drop(batch, group_of)
        if kept is not None:
            batch = batch.take(kept, batch.wake)
            group_of = None if group_of is None else group_of[kept]
        if len(batch):
            stream = batch.streams[int(batch.kind[-1])]
            block, row = batch.blocks[stream], int(batch.row[-1])
            self.last = (int(batch.time[-1]), str(block.sources[row]), str(block.ids[row]))
            out.events += len(batch)
            self.counts.stepped += len(batch)
            self.counts.labels += sum(self.labels.count(b) for b in batch.blocks.values())
        touched: set[int] = set()
        if len(batch):
            for group, part in split(batch, group_of):
                for piece in part.cut(range(1, len(part))) if alone else (part,):
                    self._step_group(group, piece, out)
                touched.add(group)
        if batch.wake is not None:
            due = [g for g, at in self.wake_at.items() if at <= batch.wake and g not in touched]
            for group in sorted(due):
                self._step_group(group, Batch.empty(batch.wake), out)

    def _step_group(self, group: int, batch: Batch, out: Stepped) -> None:
        state = self.states[group] if group in self.states else self._new_state()
        try:
            effects: Effects[S] = self.job.step(state, batch)
        except MemoryError:
            raise  # the machine's, not the event's
        except Exception as error:
            raise failed(self.job.name, batch, error, self.counts.stepped) from error
        self.states[group] = effects.state
        if effects.wake_at is None:
            self.wake_at.pop(group, None)
        else:
            self.wake_at[group] = effects.wake_at
        self.counts.steps += 1
        for rows in effects.emit:
            if len(rows):
                self.counts.emitted[rows.output] = self.counts.emitted.get(rows.output, 0) + len(rows)
                out.rows.append((group, rows))
        self.counts.dead += len(effects.dead)
        out.dead += effects.dead
        out.versions += [(group, cut) for cut in effects.versions]

    def _new_state(self) -> S:
        state = self.job.init()
        self.job.versions_after(state, self.after)
        return state

    def snapshot(self) -> Saved:
        """Everything, as plain data to be encoded at once; taken after `step`, when no arrivals are waiting."""
        assert not self._queue
        return Saved(
            [(p.topic, p.number, clock) for p, clock in sorted(self.clocks.items())],
            self._buffer.snapshot(),
            self._dedupe.snapshot(),
            [(group, states.encode(state)) for group, state in sorted(self.states.items())],
            sorted(self.wake_at.items()),
            self.counts,
            self.watermark,
            self.last,
            self._history_end,
            self._position,
            self.labelled,
            list(self._labels_pending),
        )

    def restore(self, saved: Saved) -> None:
        """Go on from what `snapshot` gave. Raises `IncompatibleError` where a state is not of the job's type."""
        self.clocks.update({Partition(topic, number): clock for topic, number, clock in saved.clocks})
        self._buffer.restore([(t, n, [self._declared(b) for b in blocks]) for t, n, blocks in saved.held])
        self._dedupe.restore(saved.seen)
        self.states = {group: states.decode(data, self.job.state) for group, data in saved.states}
        self.wake_at = dict(saved.wake_at)
        self.counts = saved.counts
        self.watermark, self.last = saved.watermark, saved.last
        self._history_end = dict(saved.history_end)
        self._position = dict(saved.position)
        self.labelled = saved.labelled
        self._labels_pending = deque(saved.labels_pending)

    def _declared(self, block: Block) -> Block:
        """The block with its columns in the declared order, which canonical bytes do not keep."""
        names = [f.name for f in self._streams[block.stream].fields]
        block.columns = {name: block.columns[name] for name in names if name in block.columns}
        return block
