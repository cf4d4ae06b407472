"""What every job must satisfy, as code; it finds its subjects by itself.

A module takes part by having two functions: `job()`, which returns the `Job`, and `streams()`, which returns the
declarations of the streams it reads, by name. It may add `sample(seed)`, which returns blocks of its own events;
without it, events are generated from the declarations: field by field, with ties in time, keys that return and keys
that vanish, and labels about the events generated. A user's own job is checked the same way::

    for subject in find_jobs([Path("my_jobs/churn.py")]):
        check_job(subject.job, subject.batch())
"""

from __future__ import annotations

import copy
import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill import state as states
from tidemill.block import Block, column, dtype_of, rows_of
from tidemill.errors import SubmissionError
from tidemill.hashing import group_of
from tidemill.job import Effects, Job
from tidemill.order import Arrival, Batch
from tidemill.stream import RECORD_TIME, Field, StreamSpec
from tidemill.time import MAX_TIME, SECOND

Check = Callable[[Job[Any], Batch], None]
_START = 1_600_000_000 * SECOND


@dataclass(frozen=True)
class Subject:
    """One case: a job and the events to prove it on."""

    name: str
    job: Job[Any]
    streams: Mapping[str, StreamSpec]
    sample: Callable[[int], Sequence[Block]] | None = None

    def batch(self, rows: int = 300, seed: int = 7) -> Batch:
        """Events of all the job's streams, in the job's order."""
        blocks = list(self.sample(seed)) if self.sample else generate(self.job, self.streams, rows, seed)
        return Batch.of(blocks) if isinstance(self.job.order, Arrival) else Batch.sort(blocks)


def find_jobs(files: Sequence[Path]) -> list[Subject]:
    """A subject for each of these Python files that has a `job()`.

    Raises `SubmissionError` where one with a `job()` does not say what it reads.
    """
    found = []
    for path in files:
        module = _load(path)
        if not callable(getattr(module, "job", None)):
            continue
        if not callable(getattr(module, "streams", None)):
            raise SubmissionError(
                "has a job() but no streams()", where=str(path), wanted="the declarations of what it reads, by name"
            )
        streams = module.streams()
        job = keyed(module.job(), streams)
        found.append(Subject(f"{path.parent.name}/{path.stem}", job, streams, getattr(module, "sample", None)))
    return found


def keyed(job: Job[Any], streams: Mapping[str, StreamSpec]) -> Job[Any]:
    """`job` with every input's key named."""
    return replace(job, reads=tuple(replace(i, key=i.key or streams[i.stream].key) for i in job.reads))


def _load(path: Path) -> ModuleType:
    name = f"_checked_{abs(hash(path.resolve()))}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, f"{path} cannot be loaded"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def generate(job: Job[Any], streams: Mapping[str, StreamSpec], rows: int, seed: int) -> list[Block]:
    """A block of `rows` events for each stream that `job` reads; label streams are about the events of theirs."""
    rng = np.random.default_rng(seed)
    names = sorted((i.stream for i in job.reads), key=lambda name: name.startswith("labels."))
    blocks: dict[str, Block] = {}
    for name in names:
        blocks[name] = _block(streams[name], rows, rng, blocks.get(name.removeprefix("labels.")))
    return list(blocks.values())


def _block(spec: StreamSpec, rows: int, rng: np.random.Generator, about: Block | None) -> Block:
    time = _START + np.sort(rng.integers(0, rows // 2 + 1, size=rows)) * SECOND
    columns = {f.name: _values(f, rows, rng) for f in spec.fields}
    ids = column([f"{spec.name}-{i}" for i in rng.permutation(rows).tolist()], np.object_)
    if about is not None and len(about):
        which = rng.integers(0, len(about), size=rows)
        columns["about"] = about.ids[which]
        columns["value"] = column(rng.integers(0, 2, size=rows).tolist(), np.object_)
        time = about.time[which] + rng.integers(1, rows // 4 + 2, size=rows) * SECOND
        order = np.argsort(time, kind="stable")
        time, columns = time[order], {name: values[order] for name, values in columns.items()}
    if spec.id is not None:
        columns[spec.id] = ids if spec.field(spec.id).type == "string" else columns[spec.id]
        ids = ids if spec.field(spec.id).type == "string" else column([str(i) for i in range(rows)], np.object_)
    if spec.time != RECORD_TIME:
        columns[spec.time] = time
    sources = column([spec.source] * rows, np.object_)
    zeros = np.zeros(rows, dtype=np.int32)
    return Block(spec.name, spec.topic, time, ids, sources, zeros, np.arange(rows, dtype=np.int64), zeros, columns)


def _values(field: Field, rows: int, rng: np.random.Generator) -> NDArray[Any]:
    plain: list[Any]
    if field.type == "int":
        plain = rng.integers(0, 12, size=rows).tolist()
    elif field.type == "float":
        plain = np.round(rng.normal(size=rows) * 10, 2).tolist()
    elif field.type == "bool":
        plain = (rng.random(rows) < 0.5).tolist()
    elif field.type == "time":
        plain = (_START + rng.integers(0, 10_000, size=rows) * SECOND).tolist()
    else:
        plain = [f"{field.name}{i}" for i in np.minimum(rng.geometric(0.2, size=rows), 40).tolist()]
    if field.nullable:
        plain = [None if gone else v for v, gone in zip(plain, (rng.random(rows) < 0.1).tolist(), strict=True)]
    return column(plain, dtype_of(field.type, field.nullable))


@dataclass
class Result:
    """What a run of a job gave: by group the bytes of its state, its rows by output, its cuts; and the dead."""

    states: dict[int, bytes] = field(default_factory=dict)
    rows: dict[tuple[int, str], list[bytes]] = field(default_factory=dict)
    versions: dict[int, list[bytes]] = field(default_factory=dict)
    dead: set[bytes] = field(default_factory=set)
    wake_at: dict[int, int | None] = field(default_factory=dict)

    def add(self, group: int, effects: Effects[Any]) -> None:
        """Take up what one step did."""
        for rows in effects.emit:
            columns = {"@id": rows.ids, "@time": rows.time, **rows.columns}
            lengths = {name: len(values) for name, values in columns.items()}
            assert len(set(lengths.values())) == 1, f"rows of output {rows.output!r} differ in length: {lengths}"
            out = self.rows.setdefault((group, rows.output), [])
            out += [states.encode(row) for row in rows_of(columns, len(rows))]
        self.versions.setdefault(group, []).extend(states.encode(vars(cut)) for cut in effects.versions)
        self.dead |= {states.encode([d.place, type(d.error).__name__]) for d in effects.dead}
        self.wake_at[group] = effects.wake_at


def run(job: Job[Any], pieces: Sequence[tuple[int, Batch]], *, saving: bool = False) -> Result:
    """Step the pieces of each group in turn, on copies of them. With `saving`, the state is saved and read back before
    every step, as after a crash. Of a job whose state cannot be saved no bytes of states are compared."""
    result = Result()
    current: dict[int, Any] = {}
    for group, piece in pieces:
        state = current[group] if group in current else job.init()
        if saving:
            state = states.decode(states.encode(state), job.state)
        effects = job.step(state, copy.deepcopy(piece))
        current[group] = effects.state
        result.add(group, effects)
    result.states = {group: _bytes(job, state) for group, state in current.items()}
    return result


def _bytes(job: Job[Any], state: Any) -> bytes:
    return b"" if job.cannot_save else states.encode(state)


def by_group(job: Job[Any], batch: Batch) -> Iterator[tuple[int, Batch]]:
    """The batch of each group, by the keys that `job.reads` names (see `keyed`)."""
    if job.groups == 1:
        yield 0, batch
        return
    keys = {i.stream: i.key for i in job.reads}
    groups = np.empty(len(batch), dtype=np.int64)
    for i, (kind, row) in enumerate(zip(batch.kind.tolist(), batch.row.tolist(), strict=True)):
        stream = batch.streams[kind]
        name = keys[stream]
        assert name is not None, f"{stream} is read by no key; see keyed()"
        value = batch.blocks[stream].columns[name].item(row)
        groups[i] = group_of(str(value), job.groups)
    for group in np.unique(groups).tolist():
        yield group, batch.take(np.flatnonzero(groups == group), batch.wake)


def _assert_same(got: Result, want: Result, why: str) -> None:
    for group in want.states:
        for (_, output), rows in [(k, v) for k, v in want.rows.items() if k[0] == group]:
            mine = got.rows.get((group, output), [])
            if mine != rows:
                at = next((i for i, (a, b) in enumerate(zip(mine, rows, strict=False)) if a != b), len(mine))
                raise AssertionError(f"{why}: output {output!r} of group {group} differs from row {at} on")
        assert got.versions.get(group, []) == want.versions.get(group, []), f"{why}: other versions are cut"
        assert got.states.get(group) == want.states[group], f"{why}: the state of group {group} differs"
    extra = {k for k, v in got.rows.items() if v} - {k for k, v in want.rows.items() if v}
    assert not extra, f"{why}: rows come out that did not before: {sorted(extra)}"
    assert got.dead == want.dead, f"{why}: other events are refused"
    assert got.wake_at == want.wake_at, f"{why}: wake_at differs: {got.wake_at} is not {want.wake_at}"


def _end(batch: Batch) -> int:
    return int(batch.time.max()) if len(batch) else 0


def _whole(job: Job[Any], batch: Batch) -> list[tuple[int, Batch]]:
    return [(group, part.take(np.arange(len(part)), _end(batch))) for group, part in by_group(job, batch)]


def _cut(part: Batch, edges: Sequence[int], wakes: bool) -> list[Batch]:
    """The part cut before each of `edges`; with `wakes`, each piece ends with the latest wake that comes before the
    next event (twice: it must be redundant)."""
    pieces = part.cut(sorted({e for e in edges if 0 < e < len(part)}))
    out: list[Batch] = []
    for piece, following in itertools.zip_longest(pieces, pieces[1:]):
        if wakes and following is not None and len(following):
            before = int(following.time[0]) - 1
            out += [piece.take(np.arange(len(piece)), before), Batch.empty(before)]
        else:
            out.append(piece)
    return out


def check_determinism(job: Job[Any], batch: Batch) -> None:
    """Law 2: the same input gives the same bytes, and the input is left as it was."""
    want = run(job, _whole(job, batch))
    _assert_same(run(job, _whole(job, batch)), want, "the same input gives another result")


def check_split_invariance(job: Job[Any], batch: Batch) -> None:
    """Law 1: one event at a time, random cuts, empty batches and redundant wakes give the same bytes as one block."""
    whole = _whole(job, batch)
    want = run(job, whole)
    rng = np.random.default_rng(11)
    for trial in range(6):
        for wakes in (False, True):
            pieces: list[tuple[int, Batch]] = []
            for group, part in whole:
                n = len(part)
                edges = range(1, n) if trial == 0 else rng.integers(0, n + 1, size=min(n, 4 * trial * trial)).tolist()
                cut = _cut(part, edges, wakes)
                if trial == 2:
                    cut = [Batch.empty(), *itertools.chain.from_iterable((p, Batch.empty()) for p in cut)]
                pieces += [(group, p) for p in cut]
            how = "one event at a time" if trial == 0 else "cut at random"
            _assert_same(run(job, pieces), want, f"{how}{', with redundant wakes' if wakes else ''}")


def check_saved_states(job: Job[Any], batch: Batch) -> None:
    """A state saved and read back goes on as if nothing had happened, and its bytes are canonical."""
    if job.cannot_save:
        return
    whole = _whole(job, batch)
    want = run(job, whole)
    rng = np.random.default_rng(12)
    pieces = [(g, p) for g, part in whole for p in _cut(part, rng.integers(0, len(part) + 1, size=25).tolist(), False)]
    _assert_same(run(job, pieces, saving=True), want, "states saved and read back between batches")
    for group, data in want.states.items():
        again = states.encode(states.decode(data, job.state))
        assert again == data, f"the state of group {group} has other bytes once saved and read back"


def check_wake_at(job: Job[Any], batch: Batch) -> None:
    """`wake_at` is honest: nothing happens before it, and serving exactly then is what the next event would do."""
    for group, part in by_group(job, batch):
        want = run(job, [(group, part.take(np.arange(len(part)), _end(batch)))])
        got, state = Result(), job.init()
        for i in range(len(part)):
            effects = job.step(state, part.take(np.arange(i, i + 1)))
            got.add(group, effects)
            limit = int(part.time[i + 1]) - 1 if i + 1 < len(part) else _end(batch)
            state = _serve(job, group, effects, limit, got)
        effects = job.step(state, Batch.empty(_end(batch)))
        got.add(group, effects)
        got.states = {group: _bytes(job, effects.state)}
        _assert_same(got, want, "woken exactly at wake_at")


def _serve(job: Job[Any], group: int, effects: Effects[Any], limit: int, got: Result) -> Any:
    """Wake at every `wake_at` up to `limit`; before each, see that an earlier wake does nothing."""
    state = effects.state
    for _ in range(10_000):
        at = effects.wake_at
        quiet = limit if at is None or at > limit else at - 1
        before = _bytes(job, state)
        nothing = job.step(state, Batch.empty(MAX_TIME if at is None else quiet))
        silent = not (nothing.emit and any(len(r) for r in nothing.emit)) and not nothing.dead and not nothing.versions
        assert silent, f"group {group}: something was due before wake_at = {at}"
        assert _bytes(job, nothing.state) == before, f"group {group}: a wake before wake_at = {at} changed the state"
        state = nothing.state
        if at is None or at > limit:
            return state
        effects = job.step(state, Batch.empty(at))
        got.add(group, effects)
        state = effects.state
        later = effects.wake_at
        assert later is None or later > at, f"group {group}: woken at {at}, it asks to be woken at {later}"
    raise AssertionError(f"group {group}: 10,000 wakes between two events")


def check_owns_its_state(job: Job[Any], batch: Batch) -> None:
    """The step neither changes the arrays it is given nor keeps them: scribbling over them later changes no state."""
    for group, part in by_group(job, batch):
        given, kept = copy.deepcopy(part), copy.deepcopy(part)
        state = job.step(job.init(), given).state
        for name, block in given.blocks.items():
            for (what, values), (_, before) in zip(_arrays(block), _arrays(kept.blocks[name]), strict=True):
                same = values.tolist() == before.tolist() or _same_bytes(values, before)
                assert same, f"group {group}: the step changed {what} of {name!r}"
        before_bytes = _bytes(job, state)
        for block in given.blocks.values():
            for _, values in _arrays(block):
                if values.flags.writeable:
                    values[...] = None if values.dtype == np.object_ else 0
        given.time[...] = 0
        assert _bytes(job, state) == before_bytes, f"group {group}: the state keeps arrays of its input"


def _same_bytes(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.dtype != np.object_ and a.tobytes() == b.tobytes()


def _arrays(block: Block) -> list[tuple[str, NDArray[Any]]]:
    own = [(name, getattr(block, name)) for name in ("time", "ids", "sources", "offset", "row")]
    return own + sorted(block.columns.items())


CHECKS: tuple[Check, ...] = (
    check_determinism,
    check_split_invariance,
    check_saved_states,
    check_wake_at,
    check_owns_its_state,
)
"""All laws, each an ordinary function that raises `AssertionError` saying what differs and where."""


def check_job(job: Job[Any], batch: Batch) -> None:
    """Prove every law on `job` with the events of `batch`, which stand in the job's order."""
    for check in CHECKS:
        check(job, batch)
