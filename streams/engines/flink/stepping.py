"""The second operator, keyed by shard: buffers, steps and states of a part of the job's groups.

A shard's keyed state is a snapshot, written now and then, and the messages since: restoring steps them again, silently,
and must arrive where the last one stood. So what a checkpoint costs does not grow with the state of the job.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor, ValueStateDescriptor

from streams import progress
from streams.emit import Sent
from streams.engines import collecting
from streams.engines.flink.admission import key_of
from streams.engines.flink.kept import kept
from streams.engines.flink.runs import packed
from streams.engines.flink.setting import Admitted, load
from streams.engines.snapshot import Snapshot, check_fits, fingerprint
from streams.engines.turn import Turn, sent
from streams.journal import Journal
from streams.live import LiveState
from streams.pipeline import Counts, Pipeline
from streams.provenance import RunningHash
from tidemill import state as states
from tidemill.errors import IntegrityError
from tidemill.events import ProgressMade
from tidemill.log import Partition

LEAST_KEPT, MOST_KEPT = 1024 * 1024, 8 * 1024 * 1024
"""Bytes of messages after which a snapshot is taken, however recent the last is: twice what the last one had, within
these bounds. Each checkpoint writes the snapshot and all messages since, so a small state makes it small."""


class ShardState(msgspec.Struct):
    """Where a shard stood after its newest message."""

    sequence: int
    deltas: dict[str, int]
    versions: dict[str, int]
    emitted: dict[str, int]
    dead: int
    watermark: int
    last: tuple[int, str, str] | None


class Shard:
    """A part of the groups of a job, outside Flink: messages in, records to send out."""

    def __init__(self, encoded: bytes, number: int) -> None:
        setting, self.job, self._parts = load(encoded)
        self.number = number
        self._sources = [source.partition for source in setting.sources]
        self._starts = setting.positions
        self._positions = dict(self._starts)
        self._hashes = {p: RunningHash() for p in self._sources}
        self._admitted: dict[int, Counts] = {}
        self._journal = Journal()
        self._journaled = -1
        self.sequence = -1
        self._pipeline: Pipeline[Any] = Pipeline(self.job, self._parts.streams, setting.sources, setting.after)
        self._live = LiveState(self.job, self._parts.bundle)
        self._turn = Turn(self.job, self._parts, {}, self._starts, self._live)

    def take(self, message: bytes) -> list[Sent]:
        """Step what the message makes complete; the records to send, the shard's progress the last of them."""
        admitted = self._receive(message)
        stepped = self._pipeline.step()
        self.sequence += 1
        now = self._parts.clock.now()
        if admitted.moved:
            self._journal.add(admitted.moved, now, segments=False)
            self._journaled = self.sequence
        if self._parts.objects is not None:
            self._journal.seal(self.sequence, now, self._parts.objects.put)
        records = self._turn.records(
            stepped, self._pipeline, self._hashes, self._positions, self._journal, self.sequence
        )
        return [*_records(admitted), *records, self._progress(admitted)]

    def repeat(self, message: bytes) -> None:
        """Step as `take` did, and send nothing."""
        admitted = self._receive(message)
        self._pipeline.step()
        self.sequence += 1
        if admitted.moved:
            self._journal.add(admitted.moved, self._parts.clock.now(), segments=False)
            self._journaled = self.sequence

    def _receive(self, message: bytes) -> Admitted:
        admitted = states.decode(message, Admitted)
        partition = self._sources[admitted.source]
        self._positions[partition] = admitted.position
        self._hashes[partition] = admitted.running
        self._admitted[admitted.source] = admitted.counts
        self._pipeline.receive(partition, admitted.clock, admitted.blocks, admitted.labels)
        return admitted

    def _progress(self, admitted: Admitted) -> Sent:
        pipeline, counts = self._pipeline, self._pipeline.counts
        at = _flat(self._positions)
        made = ProgressMade(
            id=f"{self.job.name}/{self.number}/{self.sequence}",
            time=self._parts.clock.now(),
            source=f"/jobs/{self.job.name}",
            job=self.job.name,
            sequence=self.sequence,
            shard=self.number,
            clocks=[] if self.number else [(p.topic, p.number, c.largest) for p, c in sorted(pipeline.clocks.items())],
            buffered=pipeline.buffered,
            offsets=at,
            starts=_flat(self._starts),
            watermark=pipeline.watermark,
            last=pipeline.last,
            segments=[],
            emitted=dict(counts.emitted),
            dead=counts.dead + (sum(c.dead for c in self._admitted.values()) if self.number == 0 else 0),
            steps=counts.steps,
            stepped=counts.stepped,
            labels=counts.labels,
            deltas=dict(self._live.sequences),
            versions=dict(self._live.versions),
            after=pipeline.after,
            moved=admitted.moved if self.number == 0 else [],
            journal=self._journal.kept,
            journaled=self._journaled,
        )
        return sent(progress.topic_of(self.job.name).topic, made, f"{self.job.name}/{self.number}".encode())

    def standing(self) -> bytes:
        counts, pipeline = self._pipeline.counts, self._pipeline
        return states.encode(
            ShardState(
                self.sequence,
                dict(self._live.sequences),
                dict(self._live.versions),
                dict(counts.emitted),
                counts.dead,
                pipeline.watermark,
                pipeline.last,
            )
        )

    def snapshot(self) -> bytes:
        return states.encode(
            Snapshot(
                fingerprint(self.job),
                self.sequence,
                _flat(self._positions),
                _flat(self._starts),
                [(p.topic, p.number, running) for p, running in sorted(self._hashes.items())],
                self._journal,
                0,
                self._pipeline.snapshot(),
            )
        )

    def restore(self, snapshot: bytes | None, messages: list[bytes], standing: bytes) -> None:
        """Stand where `standing` says. Raises `IncompatibleError` where the job's state changed, `IntegrityError` where
        stepping the messages again does not arrive there."""
        if snapshot is not None:
            saved = states.decode(snapshot, Snapshot)
            check_fits(self.job, saved.fingerprint)
            assert saved.pipeline is not None  # a job whose state cannot be saved is refused: it needs `replay`
            self._pipeline.restore(saved.pipeline)
            self._positions = {Partition(t, n): at for t, n, at in saved.positions}
            self._hashes = {Partition(t, n): running for t, n, running in saved.hashes}
            self._journal, self.sequence = saved.journal, saved.sequence
        for message in messages:
            self.repeat(message)
        wanted = states.decode(standing, ShardState)
        self._live.sequences, self._live.versions = dict(wanted.deltas), dict(wanted.versions)
        self._live.follow(self._pipeline.states)
        if self.standing() != standing:
            raise IntegrityError(
                "the silent replay did not arrive where the checkpoint stood",
                where=f"job {self.job.name}, shard {self.number}",
                wanted=str(wanted),
                got=str(states.decode(self.standing(), ShardState)),
                fix="The step is not deterministic; check it with tidemill.checks.jobs.",
            )


class Stepping(KeyedProcessFunction):  # type: ignore[misc]
    """Messages in, records to send out, many in one. `keys` are the Flink keys of the shards."""

    def __init__(self, encoded: bytes, keys: list[int]) -> None:
        self._encoded, self._keys = encoded, list(keys)

    def open(self, runtime_context: RuntimeContext) -> None:
        setting, _, _ = load(self._encoded)
        kind = kept(setting.mode)
        self._snapshot = runtime_context.get_state(ValueStateDescriptor("snapshot", kind))
        self._standing = runtime_context.get_state(ValueStateDescriptor("standing", kind))
        self._messages = runtime_context.get_list_state(ListStateDescriptor("messages", kind))
        self._numbers = {key: number for number, key in enumerate(self._keys)}
        self._shards: dict[int, Shard] = {}
        self._kept: dict[int, int] = {}
        self._most: dict[int, int] = {}
        self._saved: dict[int, float] = {}
        self._every = setting.snapshot_every
        collecting.seldom()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[bytes]:
        number = self._numbers[key_of(ctx)]
        shard = self._shards.get(number) or self._taken_up(number)
        message = bytes(value)
        records = shard.take(message)
        self._keep(number, shard, message)
        yield from packed(records)

    def _taken_up(self, number: int) -> Shard:
        shard = self._shards[number] = Shard(self._encoded, number)
        standing = self._standing.value()
        if standing is not None:
            shard.restore(self._snapshot.value(), list(self._messages.get() or []), standing)
        self._kept[number], self._most[number], self._saved[number] = 0, LEAST_KEPT, time.monotonic()
        return shard

    def _keep(self, number: int, shard: Shard, message: bytes) -> None:
        self._standing.update(shard.standing())
        self._kept[number] += len(message)
        now = time.monotonic()
        if now - self._saved[number] < self._every and self._kept[number] < self._most[number]:
            self._messages.add(message)
            return
        snapshot = shard.snapshot()
        self._snapshot.update(snapshot)
        self._messages.clear()
        most = min(MOST_KEPT, max(LEAST_KEPT, 2 * len(snapshot)))
        self._kept[number], self._most[number], self._saved[number] = 0, most, now


def _records(admitted: Admitted) -> list[Sent]:
    return [(topic, value, key, headers) for topic, value, key, headers in admitted.letters]


def _flat(positions: dict[Partition, int]) -> list[tuple[str, int, int]]:
    return [(p.topic, p.number, at) for p, at in sorted(positions.items())]
