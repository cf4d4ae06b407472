"""Standard scaling and logistic regression, learned online, one event or a block at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import exp, sqrt
from typing import Any, Self

import numpy as np
from numba import njit

from streams.learners.blockwise import Blockwise
from streams.learners.rows import NO_WEIGHTS, as_labels, as_ops, as_row, as_rows, as_weights, sound
from tidemill.errors import ConfigError, IncompatibleError
from tidemill.learner import LEARN, PREDICT, Float, Ops

# Rows of the learner's one state matrix (4 × features), and places in its vector of parameters.
_MEAN, _VAR, _STD, _WEIGHT = 0, 1, 2, 3
_LR, _L2, _INTERCEPT_LR, _WEIGHT_POS, _WEIGHT_NEG, _CLIP = 0, 1, 2, 3, 4, 5


@njit(cache=True)
def _logit(x: Float, mean: Float, std: Float, weight: Float, z: Float) -> float:
    """Scale `x` into `z` and return w·z. The sum runs in feature order: reordering it would change the last bits."""
    for j in range(x.shape[0]):
        z[j] = (x[j] - mean[j]) / std[j] if std[j] != 0.0 else 0.0
    total = 0.0
    for j in range(x.shape[0]):
        total += weight[j] * z[j]
    return total


@njit(cache=True)
def _sigmoid(t: float) -> float:
    """River's `utils.math.sigmoid`: exactly 0 and 1 beyond ±30."""
    if t < -30.0:
        return 0.0
    if t > 30.0:
        return 1.0
    return 1.0 / (1.0 + exp(-t))


@njit(cache=True)
def _log_gradient(label: float, t: float, weight_pos: float, weight_neg: float) -> float:
    """River's `optim.losses.Log.gradient`, with its shortcuts beyond |z| = 18."""
    sign, weight = (-1.0, weight_neg) if label == 0.0 else (1.0, weight_pos)
    z = t * sign
    if z > 18.0:
        return weight * exp(-z) * -sign
    if z < -18.0:
        return weight * -sign
    return weight * -sign / (exp(z) + 1.0)


# No fastmath anywhere here: it lets the compiler reorder sums, and then a block no longer equals its rows.
@njit(cache=True)
def run_rows(ops: Ops, X: Float, y: Float, w: Float, state: Float, bias: Float, count: Float, par: Float) -> Float:
    """Predict and learn row by row; changes `state` (4 × d), `bias` (1,) and `count` (1,); returns predictions."""
    mean, var, std, weight = state[_MEAN], state[_VAR], state[_STD], state[_WEIGHT]
    n, d = X.shape
    out = np.empty(n)
    z = np.empty(d)
    for i in range(n):
        x = X[i]
        if ops[i] != LEARN:
            out[i] = _sigmoid(_logit(x, mean, std, weight, z) + bias[0])
        else:
            out[i] = np.nan
        if ops[i] == PREDICT:
            continue
        count[0] += 1.0
        seen = count[0]
        for j in range(d):
            old = mean[j]
            new = old + (x[j] - old) / seen
            mean[j] = new
            var[j] += ((x[j] - old) * (x[j] - new) - var[j]) / seen
            std[j] = sqrt(var[j])
        t = _logit(x, mean, std, weight, z) + bias[0]
        gradient = _log_gradient(y[i], t, par[_WEIGHT_POS], par[_WEIGHT_NEG])
        if w.shape[0] > 0:
            gradient *= w[i]
        gradient = max(min(gradient, par[_CLIP]), -par[_CLIP])
        bias[0] -= par[_INTERCEPT_LR] * gradient
        lr, l2 = par[_LR], par[_L2]
        if l2 != 0.0:
            for j in range(d):
                weight[j] -= lr * (z[j] * gradient + weight[j] * l2)
        else:
            for j in range(d):
                weight[j] -= lr * (z[j] * gradient)
    return out


def warm() -> None:
    """Compile the kernels, or load them from numba's cache, so that the first event does not wait for it.

    Harmless to call from a thread at start-up. The cache lies beside this file, or in the user's cache directory
    (`NUMBA_CACHE_DIR` names another) where the package cannot be written; its entries are per CPU type.
    """
    ScaledLogistic(["x"]).learn_block(np.zeros((1, 1)), np.zeros(1))


class ScaledLogistic(Blockwise):
    """Standard scaling, then logistic regression by stochastic gradient descent, on dense rows.

    For each learned row $x$ with label $y \\in \\{0, 1\\}$, sign $s = 2y - 1$ and weight $w$, per feature

    $$n \\leftarrow n + 1, \\quad \\mu' = \\mu + (x - \\mu) / n, \\quad
    v \\leftarrow v + ((x - \\mu)(x - \\mu') - v) / n, \\quad z = (x - \\mu') / \\sqrt{v} \\text{ (0 where v = 0)}$$

    and then, with $g = -s\\, c_y\\, w / (e^{s (\\theta z + b)} + 1)$ clipped to ±`clip_gradient`,

    $$b \\leftarrow b - \\eta_b g, \\qquad \\theta \\leftarrow \\theta - \\eta (g z + \\lambda \\theta).$$

    A prediction is $1 / (1 + e^{-(\\theta z + b)})$ and changes nothing. State and predictions are those of River
    0.26's `StandardScaler() | LogisticRegression(SGD(lr), Log(weight_pos, weight_neg), l2, ...)` driven by
    `predict_proba_one` and `learn_one`: the same operations in the same order, to about 1e-15.

    Every row has every feature: a feature absent from a River dict counts here as its zero. NaN and infinite values
    are refused (`NotFiniteError`, nothing learned from that block).

    Parameters
    ----------
    features: names of the columns, in order.
    lr, l2: step size $\\eta$ and L2 penalty $\\lambda$ of the weights.
    intercept_lr, intercept_init: step size $\\eta_b$ and start of the intercept.
    weight_pos, weight_neg: class weights $c_1$, $c_0$.
    clip_gradient: bound on |g|.

    References
    ----------
    Welford, *Note on a method for calculating corrected sums of squares and products*, Technometrics 4(3), 1962.
    """

    exact_merge = False
    takes_weights = True

    def __init__(
        self,
        features: Sequence[str],
        *,
        lr: float = 0.01,
        l2: float = 0.0,
        intercept_lr: float = 0.01,
        intercept_init: float = 0.0,
        weight_pos: float = 1.0,
        weight_neg: float = 1.0,
        clip_gradient: float = 1e12,
    ) -> None:
        self.features = tuple(features)
        if not self.features or len(set(self.features)) != len(self.features):
            raise ConfigError("features must be named once each, and at least one", got=repr(self.features))
        numbers = {"lr": lr, "l2": l2, "intercept_lr": intercept_lr, "intercept_init": intercept_init}
        numbers |= {"weight_pos": weight_pos, "weight_neg": weight_neg, "clip_gradient": clip_gradient}
        for name, value in numbers.items():
            if not np.isfinite(value) or (value < 0 and name != "intercept_init"):
                raise ConfigError(f"{name} cannot be used", wanted="a finite number ≥ 0", got=repr(value))
        self._numbers = {name: float(value) for name, value in numbers.items()}
        self._par = np.array([lr, l2, intercept_lr, weight_pos, weight_neg, clip_gradient], dtype=np.float64)
        self._state = np.zeros((4, len(self.features)))
        self._bias = np.array([intercept_init], dtype=np.float64)
        self._count = np.zeros(1)

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, str]]:
        """Untrained learners that the conformance suite proves the laws on, with the kind of target each takes."""
        yield cls(["a", "b", "c"]), "binary"
        yield cls(["a"], lr=0.5, l2=0.001, intercept_lr=0.1, intercept_init=-1.0, clip_gradient=0.3), "binary"
        yield cls([f"x{j}" for j in range(19)], lr=0.05, weight_pos=4.0, weight_neg=0.5), "binary"

    @property
    def numbers(self) -> Float:
        """The parameters as `run_rows` takes them."""
        return self._par

    def run_block(self, ops: Ops, X: Float, y: Float, w: Float | None = None) -> Float:
        rows, labels = np.ascontiguousarray(X, dtype=np.float64), np.ascontiguousarray(y, dtype=np.float64)
        weights = NO_WEIGHTS if w is None else np.ascontiguousarray(w, dtype=np.float64)
        ops = np.ascontiguousarray(ops, dtype=np.uint8)
        n = len(ops)
        fits = rows.shape == (n, len(self.features)) and labels.shape == (n,) and (w is None or weights.shape == (n,))
        if not fits or not sound(ops, rows.view(np.int64), labels, weights):
            rows = as_rows(X, self.features)
            ops = as_ops(ops, len(rows))
            labels, weights = as_labels(y, len(rows), ops), as_weights(w, len(rows), ops)
        return run_rows(ops, rows, labels, weights, self._state, self._bias, self._count, self._par)

    def explain_one(self, x: Float) -> dict[str, float]:
        """Contributions $\\theta_j z_j$ per feature, and the intercept as `"bias"`; they sum to the score's logit.

        One that is beyond the floats is given as the largest of its sign.
        """
        row = as_rows(as_row(x, self.features), self.features)[0]
        mean, std, weight = self._state[_MEAN], self._state[_STD], self._state[_WEIGHT]
        with np.errstate(over="ignore", invalid="ignore"):
            parts = np.nan_to_num(weight * np.divide(row - mean, std, where=std != 0.0, out=row * 0.0))
        return {**dict(zip(self.features, parts.tolist(), strict=True)), "bias": float(self._bias[0])}

    def params(self) -> dict[str, Any]:
        return {"features": list(self.features), **self._numbers}

    def state(self) -> dict[str, Any]:
        """Arrays `mean`, `var`, `weight` (per feature), `intercept` and `count` (one value each)."""
        return {
            "count": self._count.copy(),
            "mean": self._state[_MEAN].copy(),
            "var": self._state[_VAR].copy(),
            "weight": self._state[_WEIGHT].copy(),
            "intercept": self._bias.copy(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        d = len(self.features)
        shapes = {"count": (1,), "mean": (d,), "var": (d,), "weight": (d,), "intercept": (1,)}
        if set(state) != set(shapes):
            raise IncompatibleError("not a state of this learner", wanted=str(sorted(shapes)), got=str(sorted(state)))
        arrays = {name: np.asarray(state[name], dtype=np.float64) for name in shapes}
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise IncompatibleError(f"state {name!r} does not fit", wanted=str(shape), got=str(arrays[name].shape))
        self._state[_MEAN], self._state[_VAR], self._state[_WEIGHT] = arrays["mean"], arrays["var"], arrays["weight"]
        self._state[_STD] = np.sqrt(arrays["var"])
        self._bias[:], self._count[:] = arrays["intercept"], arrays["count"]
