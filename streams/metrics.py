"""Prequential metrics: each prediction is scored once its label is known, before the model has learned from it.

State is a handful of arrays of fixed size, whatever the stream's length; a block gives exactly what its events give
one by one; two parts of a stream can be merged.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log, log2
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from tidemill.errors import ConfigError, IncompatibleError, NotFiniteError, WrongTypeError

Float = NDArray[np.float64]

# Scores are binned by their logit, so that the rare-event end near 0 is as finely resolved as the middle.
_LOGIT_LIMIT = 16.0
_CLAMP = 1e-15
_DELAY_STEPS = 8
_DELAY_BINS = 64 * _DELAY_STEPS
_VIEWS = ("overall", "fading")

# Columns of `sums`.
_WEIGHT, _POSITIVE, _LOSS, _SQUARE, _TP, _FP, _FN, _SAME, _COMPARED, _DELAY, _DELAYED = range(11)
_SUMS = 11
# Places in `clock`: events seen, first and last label, the fading weight of the next event, the first event's weight.
_COUNT, _FIRST, _LAST, _GROWTH, _FIRST_WEIGHT = range(5)


@njit(cache=True)
def _renew(hist: Float, sums: Float, cal: Float, late: Float, clock: Float) -> None:
    """Scale the fading view back. Older events fade by later ones weighing more; done at fixed counts, nothing
    overflows and the result does not depend on how the stream was cut."""
    shrink = 1.0 / clock[_GROWTH]
    hist[1] *= shrink
    sums[1] *= shrink
    cal[1] *= shrink
    late[1] *= shrink
    clock[_GROWTH] = 1.0


@njit(cache=True)
def _update(
    y: Float,
    p: Float,
    delay: Float,
    w: Float,
    hist: Float,
    sums: Float,
    cal: Float,
    late: Float,
    clock: Float,
    par: Float,
) -> None:
    """Add the events in order. Axis 0 of the four tables is the view: 0 overall, 1 fading."""
    bins, cells = hist.shape[2], cal.shape[1]
    grow, renew = par[2], par[3]
    for i in range(y.shape[0]):
        label = 1 if y[i] != 0.0 else 0
        q = min(max(p[i], _CLAMP), 1.0 - _CLAMP)
        log_p, log_not = log(q), log(1.0 - q)
        loss = -log_p if label == 1 else -log_not
        place = int((log_p - log_not + _LOGIT_LIMIT) * (bins / (2.0 * _LOGIT_LIMIT)))
        place = min(max(place, 0), bins - 1)
        cell = min(int(p[i] * cells), cells - 1)
        alarm = p[i] > 0.5
        own = (w[i] if w.shape[0] > 0 else 1.0) * (par[0] if label == 1 else par[1])
        known = delay.shape[0] > 0 and delay[i] >= 0.0
        for view in range(2):
            weight = own if view == 0 else own * clock[_GROWTH]
            hist[view, label, place] += weight
            total = sums[view]
            total[_WEIGHT] += weight
            total[_POSITIVE] += weight * label
            total[_LOSS] += weight * loss
            total[_SQUARE] += weight * (p[i] - label) * (p[i] - label)
            if alarm:
                total[_TP if label == 1 else _FP] += weight
            elif label == 1:
                total[_FN] += weight
            if clock[_COUNT] > 0.0:
                total[_SAME] += weight * (clock[_LAST] == y[i])
                total[_COMPARED] += weight
            cal[view, cell, 0] += weight
            cal[view, cell, 1] += weight * p[i]
            cal[view, cell, 2] += weight * label
            if known:
                one = 1.0 if view == 0 else clock[_GROWTH]
                total[_DELAY] += one * delay[i]
                total[_DELAYED] += one
                step = int(log2(1.0 + delay[i] * 1e6) * _DELAY_STEPS)
                late[view, min(step, late.shape[1] - 1)] += one
        if clock[_COUNT] == 0.0:
            clock[_FIRST], clock[_FIRST_WEIGHT] = y[i], own
        clock[_LAST] = y[i]
        clock[_COUNT] += 1.0
        clock[_GROWTH] *= grow
        if clock[_COUNT] % renew == 0.0:
            _renew(hist, sums, cal, late, clock)


class Prequential:
    """Metrics of a binary classifier's scores against labels that come later.

    Two views are kept: `overall` (every event counts alike) and `fading` (an event's weight halves every `half_life`
    later events). Per view, `report()` gives

    - `log_loss` $-\\frac{1}{W}\\sum w \\ln p_y$ (p clamped to [1e-15, 1 - 1e-15] as in River), `brier`,
      `accuracy` at p > 0.5, `precision`, `recall`, `base_rate`;
    - `no_change_accuracy`: of the baseline that repeats the label before; a model below it has learned nothing;
    - `roc_auc` and `pr_auc` (average precision) from `bins` score bins of equal width in the logit, ±16. Pairs inside
      one bin count as ties, so the exact values lie within `roc_auc_bound`
      ($\\frac{1}{2}\\sum_b P_b N_b / (P N)$, computed from the data) and `pr_auc_bound`;
    - `recall_at_budget`: the share of positives among the `alert_budget` share of events with the highest scores,
      `budget_threshold` the score where that begins (inside a bin, positives are taken to be spread evenly);
    - `calibration`: per tenth of the score range the weight, mean score and observed rate; `calibration_error`
      their weighted mean absolute difference (ECE);
    - `label_delay_mean`, `_p50`, `_p99` in seconds, the quantiles from a histogram with 8 steps per doubling (relative
      error ≤ 4.5 %); events of unknown delay (NaN) are left out.

    An event's weight is `w` times its class weight. Undefined figures (no positives yet) are None.

    Parameters
    ----------
    half_life: events after which an event counts half in the `fading` view.
    alert_budget: share of events that can be looked at, in (0, 1].
    bins, calibration_bins: resolution of the score histogram and the calibration table.
    weight_pos, weight_neg: class weights.

    Source: Gama, Sebastião, Rodrigues, *On evaluating stream learning algorithms*, Machine Learning 90, 2013.
    """

    def __init__(
        self,
        *,
        half_life: float = 10_000,
        alert_budget: float = 0.05,
        bins: int = 8192,
        calibration_bins: int = 10,
        weight_pos: float = 1.0,
        weight_neg: float = 1.0,
    ) -> None:
        if not half_life >= 1 or not 0 < alert_budget <= 1 or bins < 2 or calibration_bins < 1:
            raise ConfigError(
                "metrics settings out of range",
                wanted="half_life ≥ 1, 0 < alert_budget ≤ 1, bins ≥ 2, calibration_bins ≥ 1",
                got=f"{half_life}, {alert_budget}, {bins}, {calibration_bins}",
            )
        if not (np.isfinite([weight_pos, weight_neg]).all() and min(weight_pos, weight_neg) >= 0):
            raise ConfigError("class weights must be finite and ≥ 0", got=f"{weight_pos}, {weight_neg}")
        self._params = {
            "half_life": float(half_life),
            "alert_budget": float(alert_budget),
            "bins": int(bins),
            "calibration_bins": int(calibration_bins),
            "weight_pos": float(weight_pos),
            "weight_neg": float(weight_neg),
        }
        self._budget = float(alert_budget)
        renew = max(1.0, np.floor(8 * half_life))
        self._par = np.array([weight_pos, weight_neg, 2.0 ** (1.0 / half_life), renew])
        self._hist = np.zeros((2, 2, bins))  # view × label × bin
        self._sums = np.zeros((2, _SUMS))
        self._cal = np.zeros((2, calibration_bins, 3))  # weight, weight · score, weight · label
        self._late = np.zeros((2, _DELAY_BINS))
        self._clock = np.array([0.0, np.nan, np.nan, 1.0, 0.0])

    @property
    def count(self) -> int:
        """How many labelled predictions have been seen."""
        return int(self._clock[_COUNT])

    def update_block(
        self, y: ArrayLike, p: ArrayLike, delay: ArrayLike | None = None, w: ArrayLike | None = None
    ) -> None:
        """Add n events in order: labels (n,), probabilities (n,), delays in seconds (n,) or None, weights or None.

        Raises `WrongTypeError` on unequal lengths or labels other than 0 and 1, `NotFiniteError` on a score outside
        [0, 1] or a bad weight; nothing of the block is then added.
        """
        labels, scores = np.ascontiguousarray(y, dtype=np.float64), np.ascontiguousarray(p, dtype=np.float64)
        delays = np.empty(0) if delay is None else np.ascontiguousarray(delay, dtype=np.float64)
        weights = np.empty(0) if w is None else np.ascontiguousarray(w, dtype=np.float64)
        n = len(labels)
        if len(scores) != n or (delay is not None and len(delays) != n) or (w is not None and len(weights) != n):
            raise WrongTypeError("labels, scores, delays and weights differ in length", wanted=f"{n} each")
        if not ((labels == 0.0) | (labels == 1.0)).all():
            raise WrongTypeError("a label is not a class", wanted="0 or 1", field="y")
        if not ((scores >= 0.0) & (scores <= 1.0)).all():
            raise NotFiniteError("a score is not a probability", wanted="a number in [0, 1]", field="p")
        if not (np.isfinite(weights) & (weights >= 0.0)).all():
            raise NotFiniteError("a weight is not a finite number ≥ 0", field="w")
        if np.isinf(delays).any():
            raise NotFiniteError("a delay is infinite", wanted="seconds, or NaN where unknown", field="delay")
        # A label stamped before its prediction (clocks differ) counts as no delay.
        delays = np.maximum(delays, 0.0)
        _update(labels, scores, delays, weights, self._hist, self._sums, self._cal, self._late, self._clock, self._par)

    def merge(self, later: Prequential) -> None:
        """Take in the metrics of the part of the stream that followed this one.

        The result is that of the whole stream, up to the rounding of sums (counts and unweighted histograms exactly).
        """
        if later._params != self._params:
            raise IncompatibleError("metrics with other settings", wanted=str(self._params), got=str(later._params))
        if later.count == 0:
            return
        if self.count:
            # Both fading views are brought to the scale where the event that comes next would weigh 1.
            aged = 0.5 ** (later.count / self._params["half_life"])
            fade, fresh = aged / self._clock[_GROWTH], 1.0 / later._clock[_GROWTH]
            boundary = self._boundary(later)
            for mine, theirs in zip(self._tables(), later._tables(), strict=True):
                mine[0] += theirs[0]
                mine[1] = mine[1] * fade + theirs[1] * fresh
            self._sums[0, [_SAME, _COMPARED]] += boundary
            self._sums[1, [_SAME, _COMPARED]] += boundary * aged
            self._clock[_COUNT] += later._clock[_COUNT]
            self._clock[_LAST], self._clock[_GROWTH] = later._clock[_LAST], 1.0
            return
        for mine, theirs in zip((*self._tables(), self._clock), (*later._tables(), later._clock), strict=True):
            mine[...] = theirs

    def _boundary(self, later: Prequential) -> Float:
        """The one comparison of neighbouring labels that neither part could make: `later`'s first with our last."""
        weight = later._clock[_FIRST_WEIGHT]
        return np.array([weight * (later._clock[_FIRST] == self._clock[_LAST]), weight])

    def _tables(self) -> tuple[Float, Float, Float, Float]:
        return self._hist, self._sums, self._cal, self._late

    def report(self) -> dict[str, Any]:
        """The figures, as plain values: `count`, `alert_budget`, and one mapping per view."""
        views = {name: self._view(view) for view, name in enumerate(_VIEWS)}
        return {"count": self.count, "alert_budget": self._budget, **views}

    def _view(self, view: int) -> dict[str, Any]:
        s = self._sums[view]
        right = s[_WEIGHT] - s[_FP] - s[_FN]
        figures: dict[str, Any] = {
            # The fading weight of the newest event is 1 up to one step, whatever the phase of its renewal.
            "weight": float(s[_WEIGHT] / (self._clock[_GROWTH] if view else 1.0)),
            "base_rate": _ratio(s[_POSITIVE], s[_WEIGHT]),
            "log_loss": _ratio(s[_LOSS], s[_WEIGHT]),
            "brier": _ratio(s[_SQUARE], s[_WEIGHT]),
            "accuracy": _ratio(right, s[_WEIGHT]),
            "no_change_accuracy": _ratio(s[_SAME], s[_COMPARED]),
            "precision": _ratio(s[_TP], s[_TP] + s[_FP]),
            "recall": _ratio(s[_TP], s[_TP] + s[_FN]),
        }
        negatives, positives = self._hist[view]
        figures |= ranking(positives, negatives)
        figures |= alerts(positives, negatives, self._budget)
        figures |= _calibration(self._cal[view])
        figures["label_delay_mean"] = _ratio(s[_DELAY], s[_DELAYED])
        figures["label_delay_p50"] = _delay_quantile(self._late[view], 0.50)
        figures["label_delay_p99"] = _delay_quantile(self._late[view], 0.99)
        return figures

    def params(self) -> dict[str, Any]:
        """The plain values that rebuild an empty one."""
        return dict(self._params)

    def state(self) -> dict[str, Any]:
        """Named arrays; copies."""
        return {name: value.copy() for name, value in self._named().items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state from `state()`. Raises `IncompatibleError` where it does not fit."""
        named = self._named()
        if set(state) != set(named):
            raise IncompatibleError("not a state of these metrics", wanted=str(sorted(named)), got=str(sorted(state)))
        arrays = {name: np.asarray(state[name], dtype=np.float64) for name in named}
        for name, value in named.items():
            if arrays[name].shape != value.shape:
                raise IncompatibleError(
                    f"metrics state {name!r} does not fit", wanted=str(value.shape), got=str(arrays[name].shape)
                )
        for name, value in named.items():
            value[...] = arrays[name]

    def _named(self) -> dict[str, Float]:
        names = ("histogram", "sums", "calibration", "delay", "clock")
        return dict(zip(names, (*self._tables(), self._clock), strict=True))


def _ratio(a: float, b: float) -> float | None:
    return float(a / b) if b > 0 else None


def ranking(positives: Float, negatives: Float) -> dict[str, float | None]:
    """`roc_auc` and `pr_auc` from binned scores (bins ascending), each with the bound that binning puts on its error.

    Area under the ROC curve: the chance that a positive scores above a negative, ties counted half. Area under the
    precision-recall curve: average precision $\\sum_b (R_b - R_{b-1}) P_b$ from the top bin down.
    """
    P, N = positives.sum(), negatives.sum()
    if P <= 0 or N <= 0:
        return {"roc_auc": None, "roc_auc_bound": None, "pr_auc": None, "pr_auc_bound": None}
    used = (positives > 0) | (negatives > 0)
    a, b = positives[used][::-1], negatives[used][::-1]
    below = N - np.cumsum(b)
    tied = (a * b).sum() / 2
    tp, fp = np.cumsum(a), np.cumsum(b)
    average = (a * tp / (tp + fp)).sum() / P
    # Inside a bin the best order puts its positives first, the worst puts them last.
    has = a > 0
    best = (a[has] * tp[has] / (tp + fp - b)[has]).sum() / P
    later = has & (tp - a > 0)
    worst = (a[later] * (tp - a)[later] / (tp - a + fp)[later]).sum() / P
    return {
        "roc_auc": float(((a * below).sum() + tied) / (P * N)),
        "roc_auc_bound": float(tied / (P * N)),
        "pr_auc": float(average),
        "pr_auc_bound": float(max(best - average, average - worst)),
    }


def alerts(positives: Float, negatives: Float, budget: float) -> dict[str, float | None]:
    """`recall_at_budget` and `budget_threshold`: what alerting on the top `budget` share of the weight would find."""
    P, total = positives.sum(), positives.sum() + negatives.sum()
    if P <= 0:
        return {"recall_at_budget": None, "budget_threshold": None}
    weight = (positives + negatives)[::-1]
    reached = np.cumsum(weight)
    last = min(int(np.searchsorted(reached, budget * total)), len(weight) - 1)
    before = reached[last] - weight[last]
    share = (budget * total - before) / weight[last] if weight[last] > 0 else 0.0
    found = positives[::-1][:last].sum() + positives[::-1][last] * min(share, 1.0)
    logit = (len(weight) - 1 - last) * (2 * _LOGIT_LIMIT / len(weight)) - _LOGIT_LIMIT
    return {"recall_at_budget": float(found / P), "budget_threshold": 1.0 / (1.0 + exp(-logit))}


def _calibration(table: Float) -> dict[str, Any]:
    cells = len(table)
    rows = [
        {
            "from": i / cells,
            "to": (i + 1) / cells,
            "weight": float(weight),
            "mean_score": _ratio(score, weight),
            "observed_rate": _ratio(positive, weight),
        }
        for i, (weight, score, positive) in enumerate(table)
    ]
    error = _ratio(np.abs(table[:, 1] - table[:, 2]).sum(), table[:, 0].sum())
    return {"calibration_error": error, "calibration": rows}


def _delay_quantile(histogram: Float, q: float) -> float | None:
    reached = np.cumsum(histogram)
    if reached[-1] <= 0:
        return None
    step = int(np.searchsorted(reached, q * reached[-1]))
    return float((2.0 ** ((step + 0.5) / _DELAY_STEPS) - 1.0) / 1e6)
