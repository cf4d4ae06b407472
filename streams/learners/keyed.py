"""A logistic regression for each key, all in one learner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streams.learners.blockwise import Blockwise
from streams.learners.logistic import ScaledLogistic, run_rows
from streams.learners.rows import NO_WEIGHTS, as_labels, as_ops, as_row, as_rows, as_weights
from tidemill.errors import ConfigError, IncompatibleError
from tidemill.hashing import xxh64
from tidemill.learner import PREDICT, Float, Ops

_NOBODY = 0
"""The slot of keys that have not been learned: it stays as it was made."""


@lru_cache(maxsize=1 << 16)
def _code(key: str) -> float:
    return float(xxh64(key.encode()) & ((1 << 53) - 1))


def key_code(key: Any) -> float:
    """The number that stands for a key in a row of features: 53 bits of its xxHash. Null is NaN, which is refused.

    Two of a million keys share a number with a chance of 1 in 18,000; they would share a model.
    """
    return np.nan if key is None or key != key else _code(str(key))


@njit(cache=True)
def _run(
    slot: NDArray[np.int64],
    ops: Ops,
    X: Float,
    y: Float,
    w: Float,
    state: Float,
    bias: Float,
    count: Float,
    par: Float,
) -> Float:
    out = np.empty(len(X))
    for i in range(len(X)):
        s, one = slot[i], slice(i, i + 1)
        weight = w[one] if w.shape[0] > 0 else w
        out[i] = run_rows(ops[one], X[one], y[one], weight, state[s], bias[s : s + 1], count[s : s + 1], par)[0]
    return out


class KeyedLogistic(Blockwise):
    """One `ScaledLogistic` for each value of the first column, worked in one native pass.

    The first of `features` names the key's column (`key_code`); the others are those of the models. Each key's model
    is exactly the `ScaledLogistic` that saw that key's rows and no others; one that has not been learned predicts
    like a new one. Memory goes by the keys learned: 3 numbers a feature, and 3.

    Parameters are those of `ScaledLogistic`.
    """

    exact_merge = False
    takes_weights = True
    by_key = True

    def __init__(self, features: Sequence[str], **numbers: float) -> None:
        self.features = tuple(features)
        if len(self.features) < 2 or self.features[0] in self.features[1:]:
            raise ConfigError("wants the key's column and at least one feature", got=repr(self.features))
        self._one = ScaledLogistic(self.features[1:], **numbers)
        self._slots: dict[float, int] = {}
        self._room(1)

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, str]]:
        """Untrained learners that the conformance suite proves the laws on, with the kind of target each takes."""
        yield cls(["who", "a", "b"]), "binary"
        yield cls(["who", "a"], lr=0.5, l2=0.001, intercept_lr=0.1, intercept_init=-1.0), "binary"

    def _room(self, n: int) -> None:
        self._state = np.zeros((n, 4, len(self.features) - 1))
        self._bias, self._count = np.full(n, self._one.params()["intercept_init"]), np.zeros(n)

    def __len__(self) -> int:
        """How many keys have been learned."""
        return len(self._slots)

    def _slots_of(self, ops: Ops, keys: Float) -> NDArray[np.int64]:
        """The slot of each row; keys that are learned for the first time get one, in the order of the rows."""
        slots, learns = self._slots, (ops != PREDICT).tolist()
        out = np.empty(len(keys), dtype=np.int64)
        for i, key in enumerate((keys + 0.0).tolist()):
            slot = slots.get(key, _NOBODY)
            if slot == _NOBODY and learns[i]:
                slot = slots[key] = len(slots) + 1
            out[i] = slot
        if len(slots) >= len(self._count):
            old = self._state, self._bias, self._count
            self._room(max(16, 2 * len(slots)))
            for new, given in zip((self._state, self._bias, self._count), old, strict=True):
                new[: len(given)] = given
        return out

    def run_block(self, ops: Ops, X: Float, y: Float, w: Float | None = None) -> Float:
        rows = as_rows(X, self.features)
        ops = as_ops(ops, len(rows))
        labels = as_labels(y, len(rows), ops)
        weights = NO_WEIGHTS if w is None else as_weights(w, len(rows), ops)
        slot = self._slots_of(ops, rows[:, 0])
        state = (self._state, self._bias, self._count, self._one.numbers)
        return _run(slot, ops, np.ascontiguousarray(rows[:, 1:]), labels, weights, *state)

    def explain_one(self, x: Float) -> dict[str, float]:
        """The contributions in the model of the row's key; the key itself has none."""
        row = as_row(x, self.features)[0]
        return {self.features[0]: 0.0, **self.model(float(row[0])).explain_one(row[1:])}

    def model(self, code: float) -> ScaledLogistic:
        """The model of the key with this `key_code`, as a copy."""
        slot = self._slots.get(code + 0.0, _NOBODY)
        one = ScaledLogistic(**self._one.params())
        mean, var, _, weight = self._state[slot]
        count, bias = self._count[slot : slot + 1], self._bias[slot : slot + 1]
        one.load_state({"count": count, "mean": mean, "var": var, "weight": weight, "intercept": bias})
        return one

    def params(self) -> dict[str, Any]:
        return {**self._one.params(), "features": list(self.features)}

    def state(self) -> dict[str, Any]:
        """By key, in the order in which they were first learned: `keys`, `count`, `intercept`, and `mean`, `var`,
        `weight` (keys × features)."""
        n = len(self._slots) + 1
        mean, var, _, weight = (self._state[1:n, k].copy() for k in range(4))
        arrays = {"mean": mean, "var": var, "weight": weight}
        keys = np.array(list(self._slots), dtype=np.float64)
        return {"keys": keys, "count": self._count[1:n].copy(), "intercept": self._bias[1:n].copy(), **arrays}

    def load_state(self, state: Mapping[str, Any]) -> None:
        n = len(state.get("keys", ()))
        square = (n, len(self.features) - 1)
        shapes = {"keys": (n,), "count": (n,), "intercept": (n,), "mean": square, "var": square, "weight": square}
        got = {name: np.shape(value) for name, value in state.items()}
        if got != shapes:
            raise IncompatibleError("not a state of this learner", wanted=str(shapes), got=str(got))
        self._slots = {key: i + 1 for i, key in enumerate(np.asarray(state["keys"]).tolist())}
        self._room(n + 1)
        for k, name in enumerate(("mean", "var", None, "weight")):
            self._state[1:, k] = np.sqrt(state["var"]) if name is None else state[name]
        self._count[1:], self._bias[1:] = state["count"], state["intercept"]
