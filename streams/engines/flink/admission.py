"""The first operator, keyed by partition: which events come in, and where the partition's clock stands.

Late is a function of the partition alone (`tidemill.order`), so this scales with partitions. What comes in leaves at
once, by shard, together with the clock; Flink's own watermarks play no part (decision 0011).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from pyflink.common import Row
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from streams.engines import collecting
from streams.engines.flink import idling
from streams.engines.flink.kept import kept
from streams.engines.flink.runs import records_of
from streams.engines.flink.setting import Admitted, load, shard_of
from streams.engines.turn import Letters
from streams.erasures import Erasures
from streams.groups import Groups
from streams.intake import Intake
from streams.journal import Entry
from streams.pipeline import Pipeline, Saved, Stepped
from streams.provenance import RunningHash
from tidemill import state as states
from tidemill.block import Block
from tidemill.errors import IntegrityError
from tidemill.log import Record

HEED_SECONDS = 10.0
"""How often a gate looks for what was erased."""


class GateState(msgspec.Struct):
    """Where the reading of one partition stands; the operator's keyed state."""

    position: int
    running: RunningHash
    pipeline: Saved


class Gate:
    """The admission of one partition, outside Flink: records in, messages by shard out."""

    def __init__(self, encoded: bytes, number: int, saved: bytes | None = None) -> None:
        setting, job, parts = load(encoded)
        self.number = number
        source = setting.sources[number]
        self.partition = source.partition
        self.position = setting.positions[source.partition]
        self._shards, self._shard_of = setting.shards, np.array(shard_of(job.groups, setting.shards), dtype=np.int64)
        self._groups = Groups(job.groups)
        self._keys = {i.stream: i.key or parts.streams[i.stream].key for i in job.reads}
        self._log, self._erasures, self._heeded = parts.log, Erasures(), -HEED_SECONDS
        self._pipeline: Pipeline[Any] = Pipeline(job, parts.streams, [source])
        self._intake = Intake(job, parts.streams, [source], self._pipeline, self._erasures, parts.arrow_decode)
        self._letters = Letters(job, parts, {})
        if saved is not None:
            standing = states.decode(saved, GateState)
            self._pipeline.restore(standing.pipeline)
            self._intake.hashes[self.partition] = standing.running
            self.position = standing.position

    def save(self) -> bytes:
        running = self._intake.hashes[self.partition]
        return states.encode(GateState(self.position, running, self._pipeline.snapshot()))

    def take(self, records: Sequence[Record]) -> list[bytes]:
        """The next records of the partition as one message for each shard, in the order of shards. One with a negative
        offset is a move of the partition's clock (`idling`), which counts if nothing came since it was asked for.

        Raises `IntegrityError` where records come twice or out of order.
        """
        self._heed()
        moved: list[Entry] = []
        for move, run in itertools.groupby(records, lambda record: record.offset < 0):
            if move:
                moved += self._move([idling.decode(record.value) for record in run])
            else:
                self._read(list(run))
        letters = [(t, v, k, [*h]) for t, v, k, h in self._letters.of(Stepped())]
        self._letters.forget()
        blocks, labels = self._pipeline.drain()
        running = self._intake.hashes[self.partition]
        # Of the hash only its end is told: what is pending in it would be most of a message.
        ended = RunningHash(running.digest(), running.count)
        return [
            Admitted(
                source=self.number,
                position=self.position,
                clock=self._pipeline.clocks[self.partition],
                running=ended,
                counts=self._pipeline.counts,
                blocks=part,
                labels=labels,
                letters=letters if shard == 0 else [],
                moved=moved,
            ).encode()
            for shard, part in enumerate(self._deal(blocks))
        ]

    def _heed(self) -> None:
        """Learn now and then what was erased. What is admitted again after a restart was not committed before, so it
        need not be as it was then."""
        now = time.monotonic()
        if now - self._heeded >= HEED_SECONDS:
            self._erasures.read(self._log)
            self._heeded = now

    def _read(self, records: Sequence[Record]) -> None:
        self._check(records)
        _, rejected = self._intake.take(self.partition, records)
        self._letters.read(records, rejected)
        self.position = records[-1].offset + 1

    def _move(self, moves: Sequence[tuple[int, int]]) -> Iterator[Entry]:
        clock = self._pipeline.clocks[self.partition]
        for at, moment in moves:
            if at == self.position and moment > clock.largest:
                self._intake.move(self.partition, moment)
                yield (*self.partition, at, moment)

    def _check(self, records: Sequence[Record]) -> None:
        where = f"{self.partition.topic}/{self.partition.number}"
        offsets = np.array([r.offset for r in records], dtype=np.int64)
        if offsets[0] < self.position or (np.diff(offsets) <= 0).any():
            raise IntegrityError(
                "records come twice or out of order",
                where=where,
                wanted=f"offsets from {self.position} on, rising",
                got=str(offsets[:10].tolist()),
            )

    def _deal(self, blocks: Sequence[Block]) -> list[list[Block]]:
        if self._shards == 1:
            return [list(blocks)]
        dealt: list[list[Block]] = [[] for _ in range(self._shards)]
        for block in blocks:
            shard = self._shard_of[self._groups.of_block(block, self._keys[block.stream])]
            for number in np.unique(shard).tolist():
                dealt[number].append(block.take(np.flatnonzero(shard == number)))
        return dealt


class Admission(KeyedProcessFunction):  # type: ignore[misc]
    """Runs of records in, `Row(key of the shard, message)` out. `keys` are the Flink keys of the partitions, `shards`
    those of the shards."""

    def __init__(self, encoded: bytes, keys: Sequence[int], shards: Sequence[int]) -> None:
        self._encoded, self._keys, self._shards = encoded, list(keys), list(shards)

    def open(self, runtime_context: RuntimeContext) -> None:
        setting, _, _ = load(self._encoded)
        self._state = runtime_context.get_state(ValueStateDescriptor("standing", kept(setting.mode)))
        self._numbers = {key: number for number, key in enumerate(self._keys)}
        self._gates: dict[int, Gate] = {}
        collecting.seldom()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        number = self._numbers[key_of(ctx)]
        gate = self._gates.get(number)
        if gate is None:
            gate = self._gates[number] = Gate(self._encoded, number, self._state.value())
        messages = gate.take(records_of(value, gate.partition))
        self._state.update(gate.save())
        for key, message in zip(self._shards, messages, strict=True):
            yield Row(key, message)


def key_of(ctx: KeyedProcessFunction.Context) -> int:
    """The Flink key that an element came under."""
    key = ctx.get_current_key()
    return int(key if isinstance(key, int) else key[0])
