"""What every block learner asks of its input: contiguous float64 rows of the right width, of finite numbers that can be
computed with (`tidemill.learner.LARGEST`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from tidemill.errors import NotFiniteError, WrongTypeError
from tidemill.learner import LARGEST, LEARN, PREDICT, PREDICT_LEARN, Float, Ops

NO_WEIGHTS: Float = np.empty(0)
"""Stands for "every row weighs 1" in the kernels, which take no optional arrays."""

_SIZE = 0x7FFFFFFFFFFFFFFF
"""All bits of a float64 but its sign; as whole numbers they are in the order of sizes, the infinities and NaN last."""
_LARGEST = int(np.float64(LARGEST).view(np.int64))


@njit(cache=True)
def sound(ops: Ops, bits: NDArray[np.int64], y: Float, w: Float) -> bool:
    """Whether a block may be learned as it is: rows sound (`bits` are theirs), and labels and weights where needed.

    One pass in native code, as a block may hold a single row; the functions below find out what is wrong otherwise.
    """
    odd = 0
    for i in range(bits.shape[0]):
        for j in range(bits.shape[1]):
            odd |= (bits[i, j] & _SIZE) >= _LARGEST
    for i in range(ops.shape[0]):
        if ops[i] > PREDICT_LEARN:
            return False
        if ops[i] != PREDICT:
            odd |= y[i] != 0.0 and y[i] != 1.0
            if w.shape[0] > 0:
                odd |= not (w[i] >= 0.0 and w[i] < np.inf)
    return odd == 0


def as_row(x: ArrayLike, features: Sequence[str]) -> Float:
    """One row as a (1, features) matrix. Raises `WrongTypeError` on another width."""
    row = np.ascontiguousarray(x, dtype=np.float64)
    if row.shape != (len(features),):
        raise WrongTypeError("wrong row shape", wanted=f"({len(features)},)", got=str(row.shape))
    return row.reshape(1, -1)


def as_rows(X: ArrayLike, features: Sequence[str]) -> Float:
    """`X` as a C-contiguous float64 matrix (n, features), all finite and smaller in size than `LARGEST`.

    Missing values are not guessed at: a row with NaN or an infinite value raises `NotFiniteError` naming row and
    feature, before anything is learned from the block. Fill them upstream, where it is known what they mean.
    """
    rows = np.ascontiguousarray(X, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(features):
        raise WrongTypeError("wrong block shape", wanted=f"(n, {len(features)})", got=str(rows.shape))
    # NaN fails both comparisons.
    if rows.size and not (rows.max() < LARGEST and rows.min() > -LARGEST):
        i, j = (int(at) for at in np.argwhere(~(np.abs(rows) < LARGEST))[0])
        finite = bool(np.isfinite(rows[i, j]))
        raise NotFiniteError(
            f"feature {features[j]!r} of row {i} is " + ("too large" if finite else "not finite"),
            got=repr(float(rows[i, j])),
            wanted=f"a number smaller in size than {LARGEST:.1e}" if finite else "a finite number",
            fix="Scale it before the learner" if finite else "Fill missing values before the learner",
            field=features[j],
        )
    return rows


def as_targets(y: ArrayLike, n: int, ops: Ops) -> Float:
    """`y` as n float64 values, finite wherever `ops` learns."""
    targets = np.ascontiguousarray(y, dtype=np.float64)
    if targets.shape != (n,):
        raise WrongTypeError("wrong number of targets", wanted=str((n,)), got=str(targets.shape))
    if not np.isfinite(targets[ops != PREDICT]).all():
        raise NotFiniteError("a target to learn from is not finite", wanted="a finite number", field="y")
    return targets


def as_labels(y: ArrayLike, n: int, ops: Ops) -> Float:
    """`y` as n float64 values, each 0 or 1 wherever `ops` learns (elsewhere ignored)."""
    labels = np.ascontiguousarray(y, dtype=np.float64)
    if labels.shape != (n,):
        raise WrongTypeError("wrong number of labels", wanted=str((n,)), got=str(labels.shape))
    bad = np.flatnonzero((ops != PREDICT) & (labels != 0.0) & (labels != 1.0))
    if len(bad):
        raise WrongTypeError(
            f"label of row {bad[0]} is not a class", wanted="0 or 1", got=repr(float(labels[bad[0]])), field="y"
        )
    return labels


def as_weights(w: ArrayLike | None, n: int, ops: Ops) -> Float:
    """`w` as n finite, non-negative float64 values; `NO_WEIGHTS` where it is None."""
    if w is None:
        return NO_WEIGHTS
    weights = np.ascontiguousarray(w, dtype=np.float64)
    if weights.shape != (n,):
        raise WrongTypeError("wrong number of weights", wanted=str((n,)), got=str(weights.shape))
    used = weights[ops != PREDICT]
    if not (np.isfinite(used) & (used >= 0.0)).all():
        raise NotFiniteError("a weight is not a finite number ≥ 0", field="w")
    return weights


def as_ops(ops: NDArray[np.uint8] | Sequence[int], n: int) -> Ops:
    """`ops` as n operations out of `PREDICT`, `LEARN`, `PREDICT_LEARN`."""
    checked = np.ascontiguousarray(ops, dtype=np.uint8)
    if checked.shape != (n,):
        raise WrongTypeError("wrong number of operations", wanted=str((n,)), got=str(checked.shape))
    if n and checked.max() > PREDICT_LEARN:
        raise WrongTypeError("unknown operation", wanted=f"{PREDICT}, {LEARN} or {PREDICT_LEARN}", field="ops")
    return checked
