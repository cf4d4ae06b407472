"""What every learner must satisfy, as code; it finds its subjects by itself.

A learner class takes part by offering a classmethod `examples()` that yields pairs of an untrained learner and the
kind of its target: `"binary"` (0 or 1), `"number"` (any finite value) or `"none"` (learns from the row alone).
`find_learners("streams.learners")` imports every module of the package and returns each such class defined there;
`subjects` turns them into cases, and `check_learner` proves the laws on one. A user's own learner, in any module, is
checked the same way::

    for subject in subjects(find_learners("my_package.learners")):
        check_learner(subject.make, subject.X, subject.y)
"""

from __future__ import annotations

import copy
import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidemill.learner import LEARN, PREDICT, PREDICT_LEARN, Float, Learner, Mergeable

Make = Callable[[], Learner]
Check = Callable[[Make, Float, Float], None]


@dataclass(frozen=True)
class Subject:
    """One case: a way to make an untrained learner, and rows (n × features) with targets (n) to prove it on."""

    name: str
    make: Make
    X: Float
    y: Float


def find_learners(package: str) -> list[type[Learner]]:
    """Every learner class with `examples()` defined in `package` or a module below it, by qualified name."""
    root = importlib.import_module(package)
    modules = [root]
    for info in pkgutil.walk_packages(getattr(root, "__path__", []), prefix=f"{package}."):
        modules.append(importlib.import_module(info.name))
    found: dict[str, type[Any]] = {
        f"{cls.__module__}.{cls.__qualname__}": cls
        for module in modules
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and callable(getattr(cls, "examples", None))
    }
    return [found[name] for name in sorted(found)]


def subjects(learners: Sequence[type[Learner]], rows: int = 400, seed: int = 7) -> Iterator[Subject]:
    """A case per example of each class, on `rows` generated rows."""
    for cls in learners:
        examples = cls.examples()  # type: ignore[attr-defined]
        for i, (learner, target) in enumerate(examples):
            assert isinstance(learner, Learner), f"{cls.__qualname__}.examples() yields what is no Learner"
            X, y = _data(target, rows, len(learner.features), seed + i)
            yield Subject(f"{cls.__qualname__}-{i}", _maker(learner), X, y)


def _maker(example: Learner) -> Make:
    # Not rebuilt from params(): what those forget is what `check_rebuild` is looking for.
    return lambda: copy.deepcopy(example)


def _data(target: str, n: int, d: int, seed: int) -> tuple[Float, Float]:
    """Rows of unlike scales, with constant stretches and ties; a target that depends on them, with noise."""
    rng = np.random.default_rng(seed)
    X: Float = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-3, 4, size=d) + rng.integers(-2, 3, size=d)
    X[:, 0] = np.round(X[:, 0], 1)
    X[: n // 10] = X[0]
    score: Float = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-12) @ rng.normal(size=d) + 0.3 * rng.normal(size=n)
    if target == "binary":
        return X, (score > 0).astype(np.float64)
    if target == "number":
        return X, score
    if target == "none":
        return X, np.zeros(n)
    raise AssertionError(f"unknown kind of target {target!r}: wanted 'binary', 'number' or 'none'")


def first_difference(a: Any, b: Any, path: str = "state") -> str | None:
    """Where two states first differ, bit by bit (arrays by type, shape and bytes); None where they are the same."""
    if type(a) is not type(b):
        return f"{path}: {type(a).__name__} is not {type(b).__name__}"
    if isinstance(a, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"{path}: {a.dtype}{a.shape} is not {b.dtype}{b.shape}"
        return None if a.tobytes() == b.tobytes() else f"{path}: arrays differ"
    if isinstance(a, Mapping):
        if list(a) != list(b):
            return f"{path}: keys {list(a)} are not {list(b)}"
        differences = (first_difference(a[key], b[key], f"{path}[{key!r}]") for key in a)
        return next((d for d in differences if d), None)
    if isinstance(a, (list, tuple)):
        if len(a) != len(b):
            return f"{path}: length {len(a)} is not {len(b)}"
        differences = (first_difference(p, q, f"{path}[{i}]") for i, (p, q) in enumerate(zip(a, b, strict=True)))
        return next((d for d in differences if d), None)
    return None if repr(a) == repr(b) else f"{path}: {a!r:.80} is not {b!r:.80}"


def _same(a: Learner, b: Learner, why: str) -> None:
    difference = first_difference(a.state(), b.state())
    assert difference is None, f"{why}: {difference}"


def _equal(p: Float, q: Float, why: str) -> None:
    assert p.shape == q.shape, f"{why}: {p.shape} predictions, not {q.shape}"
    if p.tobytes() != q.tobytes():
        at = int(np.flatnonzero(~((p == q) | (np.isnan(p) & np.isnan(q))))[:1].sum())
        raise AssertionError(f"{why}: prediction {at} is {p[at]!r}, not {q[at]!r}")


def _weights(learner: Learner, n: int) -> Float:
    return np.random.default_rng(3).integers(0, 4, size=n) / 2.0 if learner.takes_weights else np.ones(n)


def _ops(n: int) -> Any:
    return np.random.default_rng(4).choice([PREDICT, LEARN, PREDICT_LEARN], size=n).astype(np.uint8)


def check_one_by_one(make: Make, X: Float, y: Float) -> None:
    """`learn_block` equals `predict_one` then `learn_one` per row, with and without weights."""
    for w in (None, _weights(make(), len(X))):
        block, single = make(), make()
        got = block.learn_block(X, y, w)
        want = np.empty(len(X))
        for i, x in enumerate(X):
            want[i] = single.predict_one(x)
            single.learn_one(x, float(y[i]), 1.0 if w is None else float(w[i]))
        _equal(got, want, "learn_block is not predict_one and learn_one per row")
        _same(block, single, "learn_block leaves another state than learn_one per row")
        scores = np.array([single.predict_one(x) for x in X[:50]])
        _equal(block.predict_block(X[:50]), scores, "predict_block is not predict_one per row")


def check_operations(make: Make, X: Float, y: Float) -> None:
    """`run_block` equals its operations one by one; NaN exactly where it only learns; other targets are ignored."""
    ops, w = _ops(len(X)), _weights(make(), len(X))
    block, single = make(), make()
    unread = np.where(ops == PREDICT, np.nan, y)
    got = block.run_block(ops, X, unread, w)
    want = np.full(len(X), np.nan)
    for i, x in enumerate(X):
        if ops[i] != LEARN:
            want[i] = single.predict_one(x)
        if ops[i] != PREDICT:
            single.learn_one(x, float(y[i]), float(w[i]))
    _equal(got, want, "run_block is not its operations one by one")
    _same(block, single, "run_block leaves another state than its operations one by one")


def check_split_invariance(make: Make, X: Float, y: Float) -> None:
    """Every cut into blocks (one row, equal, random, empty blocks between) gives the same bytes."""
    ops, w = _ops(len(X)), _weights(make(), len(X))
    whole = make()
    want = whole.run_block(ops, X, y, w)
    n = len(X)
    rng = np.random.default_rng(5)
    cuts = [np.arange(n + 1), np.arange(0, n + 97, 97).clip(max=n), np.sort(rng.integers(0, n + 1, size=12))]
    for cut in cuts:
        bounds = [0, *cut.tolist(), n]
        learner = make()
        parts = [learner.run_block(ops[a:b], X[a:b], y[a:b], w[a:b]) for a, b in itertools.pairwise(bounds)]
        _equal(np.concatenate(parts), want, f"predictions depend on the split {bounds[:6]}…")
        _same(learner, whole, f"state depends on the split {bounds[:6]}…")


def check_save_and_load(make: Make, X: Float, y: Float) -> None:
    """A state taken midway, loaded into a new learner, goes on to the same bytes; it is a copy, not a view."""
    half = len(X) // 2
    learner = make()
    learner.learn_block(X[:half], y[:half])
    saved = learner.state()
    again = copy.deepcopy(saved)
    resumed = make()
    resumed.load_state(saved)
    _same(resumed, learner, "load_state does not restore what state() gave")
    want = learner.learn_block(X[half:], y[half:])
    difference = first_difference(saved, again, "saved state")
    assert difference is None, f"state() is a view: learning on changed the saved one: {difference}"
    _equal(resumed.learn_block(X[half:], y[half:]), want, "a restored learner predicts something else")
    _same(resumed, learner, "a restored learner learns something else")
    difference = first_difference(saved, again, "saved state")
    assert difference is None, f"load_state keeps a view: learning on changed the state it was given: {difference}"


def check_determinism(make: Make, X: Float, y: Float) -> None:
    """Two new learners fed the same rows end in the same bytes, and the input is left as it was."""
    a, b = make(), make()
    X_before, y_before = X.copy(), y.copy()
    _equal(a.learn_block(X, y), b.learn_block(X, y), "the same input gives other predictions")
    _same(a, b, "the same input gives another state")
    assert np.array_equal(X, X_before) and np.array_equal(y, y_before), "learn_block changed its input"


def check_rebuild(make: Make, X: Float, y: Float) -> None:
    """`params()` of a trained learner rebuilds an untrained one, from plain values."""
    learner = make()
    learner.learn_block(X, y)
    params = learner.params()
    _assert_plain(params, "params()")
    rebuilt = type(learner)(**params)
    _same(rebuilt, make(), "params() of a trained learner do not rebuild an untrained one")
    difference = first_difference(rebuilt.params(), params, "params()")
    assert difference is None, f"params() change when rebuilt: {difference}"
    rebuilt.load_state(learner.state())
    why = "params() and state() do not carry the whole learner"
    _equal(rebuilt.learn_block(X, y), learner.learn_block(X, y), why)
    _same(rebuilt, learner, why)


def check_predict_is_pure(make: Make, X: Float, y: Float) -> None:
    """Predicting and explaining, at any time, change no state and no later prediction."""
    for rows in (0, len(X) // 2):
        learner, quiet = make(), make()
        learner.learn_block(X[:rows], y[:rows])
        quiet.learn_block(X[:rows], y[:rows])
        first = learner.predict_block(X)
        _equal(learner.predict_block(X), first, "predicting twice gives two answers")
        learner.predict_one(X[-1])
        learner.explain_one(X[-1])
        if rows:  # before the first row is learned, parts that learning would make may be made by predicting
            _same(learner, quiet, "predicting changed the state")
        _equal(learner.learn_block(X, y), quiet.learn_block(X, y), "predicting changed what is learned")
        _same(learner, quiet, "predicting changed what is learned")


def check_explanation_adds_up(make: Make, X: Float, y: Float) -> None:
    """Contributions, one per feature and `"bias"`, sum to the logit of the score (to 1e-9)."""
    learner = make()
    learner.learn_block(X, y)
    for x in X[:20]:
        parts = learner.explain_one(x)
        if parts is None:
            return
        assert set(parts) == {*learner.features, "bias"}, f"explain_one names {sorted(parts)}"
        total, score = sum(parts.values()), learner.predict_one(x)
        if abs(total) < 30:  # beyond, the score is 0 or 1 and has no logit left
            assert abs(1 / (1 + np.exp(-total)) - score) <= 1e-9, f"contributions sum to {total}, the score is {score}"


def check_merge(make: Make, X: Float, y: Float) -> None:
    """A learner that says its merge is exact: dealt out in any way and merged in any order, the parts are the whole."""
    if not make().exact_merge:
        return
    assert isinstance(make(), Mergeable), f"{type(make()).__qualname__} says its merge is exact and has no merge"
    whole = make()
    whole.learn_block(X, y)
    rng = np.random.default_rng(6)
    n = len(X)
    for parts in (1, 2, 3, 7):
        # As keys deal them out; in runs, in any order; and with a part that saw nothing.
        for dealt in (rng.integers(0, parts, size=n), rng.permutation(parts)[np.arange(n) * parts // n] + 1):
            learners = [make() for _ in range(parts + 1)]
            for part, learner in enumerate(learners):
                mine = rng.permutation(np.flatnonzero(dealt == part))
                learner.learn_block(X[mine], y[mine])
            merged, *others = [learners[i] for i in rng.permutation(parts + 1).tolist()]
            for other in others:
                assert isinstance(merged, Mergeable)
                before = other.state()
                merged.merge(other)
                difference = first_difference(other.state(), before)
                assert difference is None, f"merge changes the learner that it takes over: {difference}"
            _same(merged, whole, f"{parts} parts merged are not the whole")
            merged.learn_block(X[:9], y[:9])
            again = make()
            again.learn_block(np.concatenate([X, X[:9]]), np.concatenate([y, y[:9]]))
            _same(merged, again, "what was merged learns something else")


def _assert_plain(value: Any, path: str) -> None:
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            assert isinstance(key, (str, int)), f"{path}: key {key!r} is not plain"
            _assert_plain(item, f"{path}[{key!r}]")
        return
    assert isinstance(value, (list, tuple)), f"{path}: {type(value).__name__} is not plain data"
    for i, item in enumerate(value):
        _assert_plain(item, f"{path}[{i}]")


CHECKS: tuple[Check, ...] = (
    check_one_by_one,
    check_operations,
    check_split_invariance,
    check_save_and_load,
    check_determinism,
    check_rebuild,
    check_predict_is_pure,
    check_explanation_adds_up,
    check_merge,
)
"""All laws, each an ordinary function that raises `AssertionError` saying what differs and where."""


def check_learner(make: Make, X: Float, y: Float) -> None:
    """Prove every law on the learner `make()` gives, with rows `X` (n × features) and targets `y` (n)."""
    for check in CHECKS:
        check(make, X, y)
