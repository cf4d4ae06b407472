"""The step of an online learning job: predict, wait for the label, learn.

A batch is walked once in the job's order: features are made, labels find the predictions that wait for them, tables
are kept. What to predict and to learn is only noted (`streams.ledger`); one native call does it at the end, or earlier
where a version or a measurement falls due. So the result is that of one event at a time, whatever the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.guard import Guard
from streams.join import Entry
from streams.learning import Early, Plan, State
from streams.ledger import Ledger
from streams.stats import key_maker
from tidemill.block import Block, Place
from tidemill.errors import BadEvent, OrphanError
from tidemill.job import DeadRow, Effects
from tidemill.order import Batch
from tidemill.time import MAX_TIME, SECOND

Float = NDArray[np.float64]

MAX_STRANGERS = 50_000
"""Labels that wait for their event at most, where most are about none that is predicted here."""


class Walk:
    """One step over one batch."""

    def __init__(self, plan: Plan, state: State) -> None:
        self.plan = plan
        self.state = state
        self.guard = Guard(plan)
        self.ledger = Ledger(plan, state)
        # Statistics by the same fields share a key.
        fields = list(dict.fromkeys(s.key for s in plan.stats if s.of == "label"))
        self.keys = [key_maker(f) for f in fields]
        self.label_stats = [
            (s.adder(state.tables.by_name[s.name]), fields.index(s.key)) for s in plan.stats if s.of == "label"
        ]
        self.event_stats = [
            (s.adder(state.tables.by_name[s.name]), key_maker(s.key), s.field) for s in plan.stats if s.of == "event"
        ]
        self.due = self._next_deadline()

    def over(self, batch: Batch) -> Effects[State]:
        """Step the batch's events, then its wake."""
        self.batch = batch
        self.at = -1
        if len(batch):
            if self.plan.in_bulk:
                self._in_bulk(batch.blocks[self.plan.stream])
            else:
                self._events(batch)
        if batch.wake is not None and batch.wake >= self.due:
            self.at = len(batch)
            self._serve(batch.wake)
        self.ledger.run()
        if len(batch):
            self.state.last = self._event(len(batch) - 1)
        self.ledger.emit_predictions()
        due = self._next_deadline()
        self.ledger.effects.wake_at = None if due == MAX_TIME else due
        return self.ledger.effects

    def _events(self, batch: Batch) -> None:
        handlers = [self._handler(stream) for stream in batch.streams]
        for i, (kind, time) in enumerate(zip(batch.kind.tolist(), batch.time.tolist(), strict=True)):
            self.at = i
            if time >= self.due:
                self._serve(time)
            if time > self.state.clock:
                self.state.clock = time
            handlers[kind](time)

    def _in_bulk(self, block: Block) -> None:
        """Events whose features are columns and whose label is a field: from one boundary to the next at once."""
        state, plan = self.state, self.plan
        X, errors = self.guard.rows(block)
        y, good = self._checked(block, errors)
        learns = np.flatnonzero(good & ~np.isnan(y))
        pos = done = 0
        while pos < len(block):
            self.at = pos
            if block.time[pos] >= self.due:
                self._serve(int(block.time[pos]))
            state.clock = max(state.clock, int(block.time[pos]))
            self._begin_version()
            stop = len(block)
            if self.due != MAX_TIME and (passed := block.time[pos:] >= self.due).any():
                stop = pos + int(np.argmax(passed))
            unmeasured = plan.measure_after(state.counts.learned) - state.unmeasured
            left = min(unmeasured, (plan.version_labels or 1 << 60) - state.uncut)
            if plan.version_time is not None and state.cut_due is None:
                left = 1  # the next label sets when the version is due
            if done + left <= len(learns):
                stop = min(stop, int(learns[done + left - 1]) + 1)
            part = np.arange(pos, stop)[good[pos:stop]]
            self.ledger.run_now(block.ids[part], block.time[part], X[part], y[part])
            state.clock = max(state.clock, int(block.time[pos:stop].max()))
            pos, self.at = stop, stop - 1
            count = int(np.searchsorted(learns, stop)) - done
            if count:
                done += count
                self._count_label(int(block.time[learns[done - 1]]), count)

    def _checked(self, block: Block, errors: dict[int, BadEvent]) -> tuple[Float, NDArray[np.bool_]]:
        """The labels (NaN for none), and which events can be used; the others are refused."""
        y: Float = np.full(len(block), np.nan)
        cache: dict[Any, float] = {None: np.nan}
        # A json field may hold 1 beside true, and lists.
        column = block.columns[self.plan.label_field or ""]
        plain = column.dtype != np.object_
        for i, value in enumerate(column.tolist()):
            cached = plain or value is None or isinstance(value, str)
            known = cache.get(value) if cached else None
            if known is None:
                if value != value:  # a null float
                    continue
                try:
                    known = self.guard.label(value)
                except BadEvent as error:
                    errors.setdefault(i, error)
                    continue
                if cached:
                    cache[value] = known
            y[i] = known
        good = np.ones(len(block), dtype=np.bool_)
        for i, refused in sorted(errors.items()):
            good[i] = False
            self._refuse(block.place(i), refused)
        return y, good

    def _handler(self, stream: str) -> Callable[[int], None]:
        block = self.batch.blocks.get(stream)
        if block is None:
            return lambda time: None
        if stream == self.plan.stream:
            return self._on_event(block)
        if stream == self.plan.label_stream:
            return self._on_label(block.columns["about"].tolist(), block.columns["value"].tolist())
        if self.plan.labelled is not None and stream == self.plan.labelled[0]:
            return self._on_label(block.ids.tolist(), block.columns[self.plan.labelled[1]].tolist(), absent=True)
        return self._on_observation(stream, block)

    # What each kind of event does.

    def _on_event(self, block: Block) -> Callable[[int], None]:
        plan, state = self.plan, self.state
        ids = iter(block.ids.tolist())
        read = plan.features_block is None or plan.stats or self.keys
        rows = block.rows() if read else iter(lambda: {}, None)
        vectors = None if plan.features_block is None else self._vectors(block)
        version_of = plan.model_version
        answers = iter(block.columns[plan.label_field].tolist()) if plan.label_field else None
        makers, event_stats, tables, guard = self.keys, self.event_stats, state.tables, self.guard

        def event(time: int) -> None:
            id, data = next(ids), next(rows)
            answer = None if answers is None else next(answers)
            try:
                row = guard.row(data, tables) if vectors is None else next(vectors)
                if isinstance(row, BadEvent):
                    raise row
                values = [1.0 if f is None else guard.number(f, data[f]) for _, _, f in event_stats]
            except BadEvent as error:
                self._refuse(self._place(), error)
                return
            keys = tuple([key_of(data) for key_of in makers])
            if answers is None:
                version = str(state.version) if version_of is None else version_of(data)
                self._predict(id, time, row, keys, version)
            elif not self._answer(id, time, row, keys, answer):
                return
            for (add, key_of, _), value in zip(event_stats, values, strict=True):
                key = key_of(data)
                if key is not None and value is not None:
                    add(key, time, value)
            if state.early and (early := state.early.pop(id, None)) is not None:
                self._label(id, early.time, early.value, early.place)

        return event

    def _vectors(self, block: Block) -> Iterator[Any]:
        """The rows of the block form; what is wrong with it in the place of one that cannot be used."""
        X, errors = self.guard.rows(block)
        return iter(X) if not errors else iter([errors.get(i, row) for i, row in enumerate(X)])

    def _predict(self, id: str, time: int, row: Any, keys: tuple[str | None, ...], version: str) -> None:
        state, waiting = self.state, self.state.waiting
        old = waiting.slots.get(id)
        if old is not None:
            entry = waiting.entries[old]
            if self.plan.strangers and entry is not None and entry.label is not None:
                state.counts.evicted += 1  # its label has counted, on the answer before
                return
            waiting.remove(old)
            state.counts.evicted += 1
        elif waiting.waiting >= self.plan.max_waiting and (first := waiting.oldest()) is not None:
            waiting.remove(first)
            state.counts.evicted += 1
        self._begin_version()
        slot = waiting.add(Entry(id, time, state.clock, version, keys))
        self.due = min(self.due, state.clock + self.plan.timeout)
        self.ledger.predict(id, time, row, slot)

    def _answer(self, id: str, time: int, row: Any, keys: tuple[str | None, ...], value: Any) -> bool:
        """An event whose payload holds its label: predict, then learn at once. False where the label is bad."""
        try:
            y = None if value is None or value != value else self.guard.label(value)
            self._begin_version()
        except BadEvent as error:
            self._refuse(self._place(), error)
            return False
        self.ledger.predict_and_learn(id, time, row, y)
        if y is not None:
            self._count_in(keys, time, y)
        return True

    def _count_in(self, keys: tuple[str | None, ...], time: int, y: float) -> None:
        """A label was learned: it counts in the statistics of its event's keys."""
        for add, which in self.label_stats:
            key = keys[which]
            if key is not None:
                add(key, time, y)
        self._count_label(time)

    def _on_label(self, about: list[str], values: list[Any], absent: bool = False) -> Callable[[int], None]:
        """Labels about the ids `about`; with `absent`, a null is none."""
        labels = iter(zip(about, values, strict=True))
        label_of, slots, strangers = self.guard.label, self.state.waiting.slots, self.plan.strangers

        def label(time: int) -> None:
            id, value = next(labels)
            if absent and (value is None or value != value):
                return
            try:
                y = label_of(value)
            except BadEvent as error:
                if strangers and id not in slots:
                    self.state.counts.orphans += 1
                else:
                    self._refuse(self._place(), error)
                return
            self._label(id, time, y, None)

        return label

    def _label(self, about: str, time: int, y: float, place: Place | None) -> None:
        """A label in its turn; `place` is given for one that waited for its event."""
        state, waiting, plan = self.state, self.state.waiting, self.plan
        slot = waiting.slots.get(about)
        entry = None if slot is None else waiting.entries[slot]
        if slot is None or entry is None:
            self._orphan(about, time, y)
            return
        if entry.label is not None:
            if entry.label == y:
                state.counts.repeated += 1
                return
            state.counts.corrected += 1
            entry.label = y
            if plan.relearn:
                self.ledger.learn(slot, y)
            return
        self.ledger.score(entry.version, (time - entry.time) / SECOND, time)
        self.ledger.learn(slot, y)
        if plan.corrections:
            if waiting.settled >= plan.max_waiting and (first := waiting.oldest(settled=True)) is not None:
                waiting.remove(first)
            self.due = min(self.due, state.clock + plan.corrections)
        waiting.settle(slot, y, state.clock, keep=plan.corrections > 0)
        self._count_in(entry.keys, time, y)

    def _orphan(self, about: str, time: int, y: float) -> None:
        state, plan, place = self.state, self.plan, self._place()
        if plan.wait_for_event and about not in state.early:
            if plan.strangers and len(state.early) >= MAX_STRANGERS:
                # The newest are the likeliest to be about an event that is on its way. Half at once: finding a dict's
                # first key takes longer the more were deleted before it.
                state.counts.orphans += len(state.early) - MAX_STRANGERS // 2
                state.early = dict(list(state.early.items())[-(MAX_STRANGERS // 2) :])
            if len(state.early) < plan.max_waiting:
                state.early_number += 1
                state.early[about] = Early(state.early_number, state.clock, time, y, place)
                self.due = min(self.due, state.clock + plan.timeout)
                return
        self._disown(about, place)

    def _disown(self, about: str, place: Place) -> None:
        self.state.counts.orphans += 1
        if not self.plan.strangers:
            self._refuse(place, OrphanError("a label that names no prediction within its time", got=repr(about)))

    def _on_observation(self, stream: str, block: Block) -> Callable[[int], None]:
        specs = [(s, self.state.tables.by_name[s.name]) for s in self.plan.latest if s.stream == stream]
        rows = block.rows()

        def observe(time: int) -> None:
            data = next(rows)
            for spec, table in specs:
                spec.observe(table, time, data)

        return observe

    # Deadlines, versions, measurements.

    def _next_deadline(self) -> int:
        state, plan = self.state, self.plan
        due = [] if state.cut_due is None else [state.cut_due]
        for settled, span in ((False, plan.timeout), (True, plan.corrections)):
            if (since := state.waiting.since(settled)) is not None:
                due.append(since + span)
        if state.early:
            due.append(next(iter(state.early.values())).since + plan.timeout)
        return min([*due, MAX_TIME])

    def _serve(self, time: int) -> None:
        """Serve every deadline ≤ `time`."""
        state, plan = self.state, self.plan
        for entry in state.waiting.expire(time, plan.timeout, plan.corrections):
            state.counts.unlabelled += entry.label is None
        while state.early:
            about, early = next(iter(state.early.items()))
            if early.since + plan.timeout > time:
                break
            del state.early[about]
            self._disown(about, early.place)
        if state.cut_due is not None and state.cut_due <= time:
            self.ledger.cut(state.last if self.at < 1 else self._event(self.at - 1))
        self.due = self._next_deadline()

    def _count_label(self, time: int, count: int = 1) -> None:
        """More labels are learned; at the counts that were asked for, measure, and cut a version."""
        state, plan = self.state, self.plan
        state.counts.learned += count
        state.uncut += count
        state.unmeasured += count
        if plan.supervised:
            self._set_cut()
        if state.unmeasured >= plan.measure_after(state.counts.learned):
            self.ledger.measure(time)
        if plan.version_labels is not None and state.uncut >= plan.version_labels:
            self.ledger.cut(self._event(self.at))

    def _begin_version(self) -> None:
        """An event is about to be learned without its label."""
        if not self.plan.supervised:
            self._set_cut()

    def _set_cut(self) -> None:
        plan, state = self.plan, self.state
        if plan.version_time is not None and state.cut_due is None:
            state.cut_due = (state.clock // plan.version_time + 1) * plan.version_time
            self.due = min(self.due, state.cut_due)

    # Where things stand.

    def _event(self, i: int) -> tuple[int, str, str]:
        block, row = self._at(i)
        return int(block.time[row]), block.sources[row], block.ids[row]

    def _place(self) -> Place:
        block, row = self._at(self.at)
        return block.place(row)

    def _at(self, i: int) -> tuple[Block, int]:
        return self.batch.blocks[self.batch.streams[self.batch.kind[i]]], int(self.batch.row[i])

    def _refuse(self, place: Place, error: BadEvent) -> None:
        self.ledger.effects.dead.append(DeadRow(place, error))
