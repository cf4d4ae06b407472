"""Softmax regression, learned online with rehearsal: a head of several classes on numbers made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streams.learners.blockwise import Blockwise
from streams.learners.rows import as_ops, as_row, as_rows, as_weights
from tidemill.errors import ConfigError, IncompatibleError, WrongTypeError
from tidemill.job import ModelContent
from tidemill.learner import LEARN, PREDICT, Float, Ops

Ints = NDArray[np.int64]
_COUNT, _STEPS = 0, 1


@njit(cache=True)
def _draw(seed: int, step: int, below: int) -> Any:
    """A whole number below `below`: a function of seed and step alone (the finaliser of SplitMix64)."""
    z = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(step) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((z ^ (z >> np.uint64(31))) >> np.uint64(1)) % below


@njit(cache=True)
def _softmax(x: Float, weight: Float, bias: Float, p: Float) -> None:
    """p = softmax(W x + b). Sums run in the features' order: reordering them would change the last bits."""
    k, d = weight.shape
    top = -np.inf
    for c in range(k):
        total = bias[c]
        for j in range(d):
            total += weight[c, j] * x[j]
        p[c] = total
        top = max(top, total)
    whole = 0.0
    for c in range(k):
        p[c] = np.exp(p[c] - top)
        whole += p[c]
    for c in range(k):
        p[c] /= whole


@njit(cache=True)
def _descend(z: Float, y: int, weight: Float, bias: Float, p: Float, lr: float, l2: float) -> None:
    """One step down the gradient of the log loss of a scaled row, as long as the row is short."""
    k, d = weight.shape
    length = 1.0
    for j in range(d):
        length += z[j] * z[j]
    rate = lr / length
    _softmax(z, weight, bias, p)
    for c in range(k):
        error = rate * (p[c] - (1.0 if c == y else 0.0))
        bias[c] -= error
        for j in range(d):
            weight[c, j] -= error * z[j] + lr * l2 * weight[c, j]


@njit(cache=True)
def _scaled(x: Float, moments: Float, z: Float) -> None:
    for j in range(len(x)):
        z[j] = (x[j] - moments[0, j]) / np.sqrt(moments[1, j]) if moments[1, j] > 0.0 else 0.0


@njit(cache=True)
def _place(x: Float, rows: Float, filled: int, seen: int, seed: int) -> int:
    """Where a row is kept: where it stands already, else in the reservoir's turn; −1 where it is not kept."""
    for i in range(filled):
        j = 0
        while j < len(x) and rows[i, j] == x[j]:
            j += 1
        if j == len(x):
            return i
    if filled < len(rows):
        return filled
    drawn = _draw(seed, seen, seen)
    return drawn if drawn < len(rows) else -1


@njit(cache=True)
def run_rows(
    ops: Ops, X: Float, y: Ints, parts: Any, counts: Ints, moments: Float, par: Float, seed: int, replay: int
) -> Float:
    """Predict and learn row by row, changing the arrays; returns predictions, n × classes (NaN where it only learns).

    `parts`: weights and bias of scaled rows, those of plain rows (what is served), kept rows and their classes.
    """
    weight, bias, served, offset, rows, labels = parts
    n, d = X.shape
    k = len(bias)
    out = np.full((n, k), np.nan)
    z, p = np.empty(d), np.empty(k)
    for i in range(n):
        x = X[i]
        if ops[i] != LEARN:
            _softmax(x, served, offset, out[i])
        if ops[i] == PREDICT:
            continue
        counts[_COUNT] += 1
        seen = counts[_COUNT]
        for j in range(d):
            before = moments[0, j]
            moments[0, j] += (x[j] - before) / seen
            moments[1, j] += ((x[j] - before) * (x[j] - moments[0, j]) - moments[1, j]) / seen
        filled = 0
        while filled < len(labels) and labels[filled] >= 0:
            filled += 1
        at = _place(x, rows, filled, seen, seed)
        if at >= 0:
            rows[at], labels[at] = x, y[i]
            filled = max(filled, at + 1)
        _scaled(x, moments, z)
        _descend(z, y[i], weight, bias, p, par[0], par[1])
        for _ in range(replay if filled else 0):
            counts[_STEPS] += 1
            old = _draw(seed + 1, counts[_STEPS], filled)
            _scaled(rows[old], moments, z)
            _descend(z, labels[old], weight, bias, p, par[0], par[1])
        for c in range(k):
            offset[c] = bias[c]
            for j in range(d):
                served[c, j] = weight[c, j] / np.sqrt(moments[1, j]) if moments[1, j] > 0.0 else 0.0
                offset[c] -= served[c, j] * moments[0, j]
    return out


class SoftmaxHead:
    """What is served of a `Softmax`: $p = \\mathrm{softmax}(V x + a)$ on plain rows. `score` is the probability of the
    last class; `probabilities` gives those of all."""

    def __init__(self, features: Sequence[str], classes: Sequence[str]) -> None:
        self.features, self.classes = tuple(features), tuple(classes)
        self._weight, self._bias = np.zeros((len(self.classes), len(self.features))), np.zeros(len(self.classes))

    def probabilities(self, X: Float) -> Float:
        """Of each class for each row, n × classes. Raises `NotFiniteError` and `WrongTypeError` for unsound rows."""
        rows = as_rows(X, self.features)
        out = np.empty((len(rows), len(self.classes)))
        for i, row in enumerate(rows):
            _softmax(row, self._weight, self._bias, out[i])
        return out

    def predict_block(self, X: Float) -> Float:
        return self.probabilities(X)[:, -1].copy()

    def predict_one(self, x: Float) -> float:
        return float(self.predict_block(as_row(x, self.features))[0])

    def explain_one(self, x: Float) -> dict[str, float] | None:
        return None

    def params(self) -> dict[str, Any]:
        return {"features": list(self.features), "classes": list(self.classes)}

    def state(self) -> dict[str, Any]:
        """Arrays `weight` (classes × features) and `bias` (classes)."""
        return {"weight": self._weight.copy(), "bias": self._bias.copy()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        loaded = _arrays(state, {"weight": self._weight.shape, "bias": self._bias.shape})
        self._weight, self._bias = (np.array(loaded[name], np.float64) for name in ("weight", "bias"))


class Softmax(Blockwise):
    """Standard scaling, then softmax regression by normalised stochastic gradient descent with rehearsal.

    For each learned row $x$ of class $y$: the means $\\mu$ and variances $v$ of all rows learned take it in (Welford),
    $z = (x - \\mu) / \\sqrt{v}$, and with $p = \\mathrm{softmax}(W z + b)$, $e = p - 1_y$ and
    $\\eta$ = `lr`$/ (1 + |z|^2)$

    $$b \\leftarrow b - \\eta e, \\qquad W \\leftarrow W - \\eta\\, e z^T - \\mathrm{lr}\\,\\lambda W .$$

    Then the same step is made on `replay` old rows, drawn from a reservoir of `kept` in which every row of the past is
    equally likely (Vitter, *Random sampling with a reservoir*, 1985): a label is dear, a step is not. A row that is
    learned again, to the last bit, takes its own place there: a corrected label is unlearned as it is rehearsed.

    The score of a row is the probability of the last class. What is published and served (`content`) is the linear map
    of plain rows, without the rehearsed rows and the moments; it gives the very bits that this learner predicts.

    Parameters
    ----------
    features: names of the columns, in order. classes: names of the classes, in order; a target is its number.
    lr, l2: step size, and share $\\lambda$ of the weights that a step takes back.
    replay, kept: old rows a label is rehearsed with, and rows that are kept for it (kept × features × 8 bytes).
    seed: of the draws.
    """

    exact_merge = False
    takes_weights = False

    def __init__(
        self,
        features: Sequence[str],
        *,
        classes: Sequence[str] = ("0", "1"),
        lr: float = 1.0,
        l2: float = 0.00001,
        replay: int = 16,
        kept: int = 1_024,
        seed: int = 0,
    ) -> None:
        self.features, self.classes = tuple(features), tuple(classes)
        if not self.features or len(set(self.features)) != len(self.features):
            raise ConfigError("features must be named once each, and at least one", got=repr(self.features))
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ConfigError("classes must be named once each, and at least two", got=repr(self.classes))
        if not 0.0 < lr < 2.0 or not 0.0 <= l2 < 0.5 or replay < 0 or kept < 1 or seed < 0:
            raise ConfigError(
                "no such training",
                wanted="lr in (0, 2), l2 in [0, 0.5), a replay of 0 or more from 1 or more kept, a seed of 0 or more",
                got=f"lr={lr}, l2={l2}, replay={replay}, kept={kept}, seed={seed}",
            )
        self.lr, self.l2, self.replay, self.kept, self.seed = float(lr), float(l2), int(replay), int(kept), int(seed)
        k, d = len(self.classes), len(self.features)
        self._linear = (np.zeros((k, d)), np.zeros(k))
        self._served = (np.zeros((k, d)), np.zeros(k))
        self._old = (np.zeros((self.kept, d)), np.full(self.kept, -1, np.int64))
        self._counts = np.zeros(2, np.int64)
        self._moments = np.zeros((2, d))

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, str]]:
        yield cls(["a", "b", "c"]), "binary"
        yield cls(["a", "b"], classes=["no", "yes", "never"], lr=1.0, l2=0.0, replay=3, kept=40, seed=5), "binary"
        yield cls(["a"], replay=0), "binary"

    def probabilities(self, X: Float) -> Float:
        """Of each class for each row, n × classes."""
        rows = as_rows(X, self.features)
        return self._run(np.full(len(rows), PREDICT, np.uint8), rows, np.zeros(len(rows), np.int64))

    def run_block(self, ops: Ops, X: Float, y: Float, w: Float | None = None) -> Float:
        rows = as_rows(X, self.features)
        ops = as_ops(ops, len(rows))
        targets = np.ascontiguousarray(y, dtype=np.float64)
        if targets.shape != (len(rows),):
            raise WrongTypeError("wrong number of targets", wanted=str((len(rows),)), got=str(targets.shape))
        learned = targets[ops != PREDICT]
        bad = ~((learned >= 0) & (learned < len(self.classes)) & (learned == np.floor(learned)))
        if bad.any():
            wanted = f"a whole number from 0 to {len(self.classes) - 1}"
            raise WrongTypeError("a target is no class", wanted=wanted, got=repr(float(learned[bad][0])), field="y")
        if w is not None and (as_weights(w, len(rows), ops)[ops != PREDICT] != 1.0).any():
            raise ConfigError("Softmax takes no weights", wanted="rows of weight 1")
        numbers = np.where(ops != PREDICT, targets, 0.0).astype(np.int64)
        return self._run(ops, rows, numbers)[:, -1].copy()

    def explain_one(self, x: Float) -> dict[str, float] | None:
        return None

    def _run(self, ops: Ops, rows: Float, y: Ints) -> Float:
        parts = (*self._linear, *self._served, *self._old)
        par = np.array([self.lr, self.l2])
        out: Float = run_rows(ops, rows, y, parts, self._counts, self._moments, par, self.seed, self.replay)
        return out

    def content(self) -> ModelContent:
        """What is published of it: a `SoftmaxHead`."""
        kind = f"{SoftmaxHead.__module__}:{SoftmaxHead.__qualname__}"
        params = {"features": list(self.features), "classes": list(self.classes)}
        return ModelContent(kind, params, {"weight": self._served[0].copy(), "bias": self._served[1].copy()})

    def params(self) -> dict[str, Any]:
        return {
            "features": list(self.features),
            "classes": list(self.classes),
            "lr": self.lr,
            "l2": self.l2,
            "replay": self.replay,
            "kept": self.kept,
            "seed": self.seed,
        }

    def state(self) -> dict[str, Any]:
        """`weight` (classes × features) and `bias` of scaled rows, `moments` (mean and variance × features), `counts`
        (rows learned, rows rehearsed), and the `rows` that are kept with their `labels`."""
        filled = int((self._old[1] >= 0).sum())
        return {
            "weight": self._linear[0].copy(),
            "bias": self._linear[1].copy(),
            "served": self._served[0].copy(),
            "offset": self._served[1].copy(),
            "moments": self._moments.copy(),
            "counts": self._counts.copy(),
            "rows": self._old[0][:filled].copy(),
            "labels": self._old[1][:filled].copy(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        k, d = len(self.classes), len(self.features)
        filled = min(len(np.atleast_1d(state.get("labels", ()))), self.kept)
        shapes: dict[str, tuple[int, ...]] = {"weight": (k, d), "bias": (k,), "served": (k, d), "offset": (k,)}
        shapes |= {"moments": (2, d), "counts": (2,), "rows": (filled, d), "labels": (filled,)}
        loaded = _arrays(state, shapes)
        self._linear = (np.array(loaded["weight"], np.float64), np.array(loaded["bias"], np.float64))
        self._served = (np.array(loaded["served"], np.float64), np.array(loaded["offset"], np.float64))
        self._moments, self._counts = np.array(loaded["moments"], np.float64), np.array(loaded["counts"], np.int64)
        self._old = (np.zeros((self.kept, d)), np.full(self.kept, -1, np.int64))
        self._old[0][:filled], self._old[1][:filled] = loaded["rows"], loaded["labels"]


def _arrays(state: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    """The arrays of a state. Raises `IncompatibleError` where they are not of these names and shapes."""
    if set(state) != set(shapes):
        raise IncompatibleError("not a state of this learner", wanted=str(sorted(shapes)), got=str(sorted(state)))
    arrays = {name: np.asarray(state[name]) for name in shapes}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise IncompatibleError(f"state {name!r} does not fit", wanted=str(shape), got=str(arrays[name].shape))
    return arrays
