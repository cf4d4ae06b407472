"""Annotators and tasks as a graph: who is poor, from the labels alone, as they come.

Two annotators are joined by the tasks that both have labelled. What a label is worth depends on the others on its task,
theirs on their other tasks, and so on through the graph: Dawid and Skene's model (*Maximum likelihood estimation of
observer error-rates using the EM algorithm*, 1979), here by one incremental step of EM for each label (Neal and Hinton,
*A view of the EM algorithm that justifies incremental, sparse, and other variants*, 1998).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from graph.store import TemporalGraph
from tidemill.errors import ConfigError, IncompatibleError, UserError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

STRENGTH, DIAGONAL = 4.0, 0.7
"""What is taken for granted of a new annotator, as so many labels of each true class, of which this share is right."""

FEATURES = (
    "labels",
    "agreement",
    "weighted_agreement",
    "accuracy",
    "information",
    "entropy",
    "divergence",
    "overlap",
    "gap",
)
COUNT, PAIRS, AGREED, WEIGHTED, WITH_OTHERS, GAPS, LOG_GAPS = range(7)
"""Columns of `sums`: labels that stand, pairs with others on a task, those that agree, the sum of weighted agreement,
labels on tasks that others have labelled too, gaps, and the sum of their logarithms."""


@njit(cache=True, nogil=True)
def _worth(confusion: Floats, truth: int, label: int) -> Any:
    """The probability of `label` where `truth` holds, of an annotator with these counts."""
    k = len(confusion)
    prior = DIAGONAL if truth == label else (1.0 - DIAGONAL) / (k - 1)
    return (confusion[truth, label] + STRENGTH * prior) / (confusion[truth].sum() + STRENGTH)


@njit(cache=True, nogil=True)
def _move(h: Any, task: int, sign: float) -> None:
    """Take what is known of a task's truth out of its annotators' sums (−1), or put it in (+1)."""
    posterior, confusion, classes, sums, head, previous, who, label, weighted = h
    edge, many = head[task], head[task] >= 0 and previous[head[task]] >= 0
    if edge >= 0:
        classes += sign * posterior[task]
    while edge >= 0:
        a = who[edge]
        confusion[a, :, label[edge]] += sign * posterior[task]
        sums[a, WEIGHTED] += sign * weighted[edge]
        sums[a, WITH_OTHERS] += sign * many
        edge = previous[edge]


@njit(cache=True, nogil=True)
def _judge(h: Any, task: int, logs: Floats) -> None:
    """The posterior of a task's truth, from all but this task; and how far each label agrees with the others'."""
    posterior, confusion, classes, _, head, previous, who, label, weighted = h
    k = len(classes)
    p = posterior[task]
    p[:] = np.log(classes + 1.0)
    edge = head[task]
    while edge >= 0:
        for c in range(k):
            p[c] += np.log(_worth(confusion[who[edge]], c, label[edge]))
        edge = previous[edge]
    logs[:] = p
    p[:] = np.exp(p - p.max())
    p /= p.sum()
    edge = head[task]
    while edge >= 0:
        if previous[head[task]] < 0:
            weighted[edge] = 0.0
        else:
            rest = logs.copy()
            for c in range(k):
                rest[c] -= np.log(_worth(confusion[who[edge]], c, label[edge]))
            rest = np.exp(rest - rest.max())
            weighted[edge] = rest[label[edge]] / rest.sum()
        edge = previous[edge]


@njit(cache=True, nogil=True)
def _learn(h: Any, own: Floats, last: Floats, rows: int, a: Ints, tasks: Ints, labels: Ints, times: Floats) -> int:
    _, _, classes, sums, head, previous, who, label, _ = h
    logs = np.empty(len(classes))
    for i in range(len(a)):
        task, me, value = tasks[i], a[i], labels[i]
        _move(h, task, -1.0)
        mine, edge = -1, head[task]
        while edge >= 0:
            if who[edge] == me:
                mine = edge
            edge = previous[edge]
        edge = head[task]
        while edge >= 0:
            if who[edge] != me:
                for one in (me, who[edge]):
                    sums[one, PAIRS] += mine < 0
                    sums[one, AGREED] += label[edge] == value
                    if mine >= 0:
                        sums[one, AGREED] -= label[edge] == label[mine]
            edge = previous[edge]
        if mine >= 0:
            own[me, label[mine]] -= 1.0
            label[mine] = value
        else:
            who[rows], label[rows], previous[rows], head[task] = me, value, head[task], rows
            rows += 1
            sums[me, COUNT] += 1.0
        own[me, value] += 1.0
        if not np.isnan(times[i]):
            if not np.isnan(last[me]):
                sums[me, GAPS] += 1.0
                sums[me, LOG_GAPS] += np.log1p(max(times[i] - last[me], 0.0))
            last[me] = times[i]
        _judge(h, task, logs)
        _move(h, task, 1.0)
    return rows


class Annotators:
    """What the labels so far say of everyone who gave some. Labels are the classes 0 to `classes` − 1; annotators and
    tasks are numbers from 0, open.

    `learn` takes labels in stream order, and gives the same however they are cut into blocks; a second label of one
    annotator on one task corrects the first. A label costs (labels on its task) × classes. No truth is ever seen.
    """

    _TASK = ("posterior", "head")
    _WHO = ("confusion", "sums", "own", "last")
    _EDGE = ("previous", "who", "label", "weighted")

    def __init__(self, classes: int) -> None:
        if classes < 2:
            raise ConfigError("labels of one class say nothing", wanted="2 or more classes", got=str(classes))
        k = self.classes = classes
        self._rows = self._tasks = self._annotators = 0
        self._counts = np.zeros(k)
        self._arrays: dict[str, NDArray[Any]] = {
            "posterior": np.zeros((0, k)),
            "head": np.zeros(0, np.int64),
            "confusion": np.zeros((0, k, k)),
            "sums": np.zeros((0, 7)),
            "own": np.zeros((0, k)),
            "last": np.zeros(0),
            "previous": np.zeros(0, np.int64),
            "who": np.zeros(0, np.int64),
            "label": np.zeros(0, np.int64),
            "weighted": np.zeros(0),
        }

    @classmethod
    def of(cls, graph: TemporalGraph, relation: str, before: int, *, classes: int) -> Annotators:
        """Of the labels that stand as of `before` (µs) in a graph: `relation` leads from annotators to tasks, and its
        first feature is the label."""
        source, target, time, features = graph.edges(relation, graph.standing(relation, before))
        if not features.shape[1]:
            raise UserError("a relation without labels", where=f"relation {relation}", wanted="the label as a feature")
        order = np.argsort(time, kind="stable")
        out = cls(classes)
        out.learn(source[order], target[order], features[order, 0], time[order] / 1e6)
        return out

    def learn(self, annotators: ArrayLike, tasks: ArrayLike, labels: ArrayLike, times: ArrayLike | None = None) -> None:
        """Take in labels in stream order, each of shape (n,); `times` in seconds where there are any. Raises
        `UserError`, and nothing is taken in, for numbers below 0 or a label that is no class."""
        a, t = np.asarray(annotators, np.int64), np.asarray(tasks, np.int64)
        given = np.asarray(labels, np.float64)
        when = np.full(len(a), np.nan) if times is None else np.asarray(times, np.float64)
        if a.ndim != 1 or not a.shape == t.shape == given.shape == when.shape:
            raise UserError(
                "lengths differ", wanted="columns of one length", got=f"{a.shape}, {t.shape}, {given.shape}"
            )
        if len(a) and min(a.min(), t.min()) < 0:
            raise UserError("no number of a node", wanted="0 or more", got=str(min(a.min(), t.min())))
        good = (given >= 0) & (given < self.classes) & (given == np.floor(given))
        if not good.all():
            raise UserError("no class", wanted=f"0 to {self.classes - 1}", got=str(given[~good][0]))
        self._room(int(a.max(initial=-1)) + 1, int(t.max(initial=-1)) + 1, self._rows + len(a))
        x = self._arrays
        self._rows = int(_learn(self._kernel(), x["own"], x["last"], self._rows, a, t, given.astype(np.int64), when))

    def features(self) -> Floats:
        """n × `FEATURES`, a row for each annotator by number:

        `labels`; `agreement`, the share of equal labels among pairs with others on the same task; `weighted_agreement`,
        the mean probability of one's labels as the others on the task make it, each by what is known of them;
        `accuracy`, as the model expects it; `information`, bits that one label gives on the truth; `entropy` of one's
        labels, and their `divergence` (Kullback-Leibler) from all labels, bits; `overlap`, others on one's mean task;
        `gap`, the mean log(1 + seconds) between one's labels (NaN where there are no times).

        The first three shares are drawn towards everyone's, by `STRENGTH` labels.
        """
        n = self._annotators
        sums, own, confusion = (self._arrays[name][:n] for name in ("sums", "own", "confusion"))
        out = np.empty((n, len(FEATURES)))
        right = np.einsum("nkk->n", confusion)
        out[:, 0] = sums[:, COUNT]
        out[:, 1] = _drawn(sums[:, AGREED], sums[:, PAIRS])
        out[:, 2] = _drawn(sums[:, WEIGHTED], sums[:, WITH_OTHERS])
        out[:, 3] = _drawn(right, sums[:, COUNT])
        prior = (self._counts + 1.0) / (self._counts + 1.0).sum()
        taken = np.full((self.classes, self.classes), (1.0 - DIAGONAL) / (self.classes - 1))
        np.fill_diagonal(taken, DIAGONAL)
        rates = (confusion + STRENGTH * taken) / (confusion.sum(2, keepdims=True) + STRENGTH)
        given = np.einsum("k,nkl->nl", prior, rates)
        out[:, 4] = (prior[:, None] * rates * np.log2(rates / given[:, None, :])).sum((1, 2))
        share = (own + 1.0) / (own + 1.0).sum(1, keepdims=True)
        every = (own.sum(0) + 1.0) / (own.sum(0) + 1.0).sum()
        out[:, 5] = -(share * np.log2(share)).sum(1)
        out[:, 6] = (share * np.log2(share / every)).sum(1)
        out[:, 7] = sums[:, PAIRS] / np.maximum(sums[:, COUNT], 1.0)
        with np.errstate(invalid="ignore"):
            out[:, 8] = sums[:, LOG_GAPS] / sums[:, GAPS]
        return out

    def poorness(self) -> Floats:
        """1 − the accuracy that the model expects, for each annotator by number: higher is poorer."""
        return np.asarray(1.0 - self.features()[:, 3])

    def truth(self) -> Floats:
        """The probability of each class for each task by number, tasks × classes."""
        return self._arrays["posterior"][: self._tasks].copy()

    def params(self) -> dict[str, Any]:
        return {"classes": self.classes}

    def state(self) -> dict[str, Any]:
        """Named arrays, a row for each task, annotator and label, and `counts` (classes)."""
        return {name: self._arrays[name][:n].copy() for name, n in self._lengths()} | {"counts": self._counts.copy()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave. Raises `IncompatibleError` for what is none of these."""
        wanted = {name: array.shape[1:] for name, array in self._arrays.items()} | {"counts": ()}
        got = {name: np.shape(array)[1:] for name, array in state.items()}
        if got != wanted or np.shape(state["counts"]) != (self.classes,):
            raise IncompatibleError("not a state of annotators", wanted=str(wanted), got=str(got))
        self._tasks, self._annotators, self._rows = (len(state[name]) for name in ("head", "last", "who"))
        self._arrays = {name: np.array(state[name], array.dtype) for name, array in self._arrays.items()}
        self._counts = np.array(state["counts"], np.float64)

    def _lengths(self) -> list[tuple[str, int]]:
        parts = ((self._TASK, self._tasks), (self._WHO, self._annotators), (self._EDGE, self._rows))
        return [(name, n) for names, n in parts for name in names]

    def _room(self, annotators: int, tasks: int, rows: int) -> None:
        self._annotators, self._tasks = max(self._annotators, annotators), max(self._tasks, tasks)
        for names, n in ((self._TASK, self._tasks), (self._WHO, self._annotators), (self._EDGE, rows)):
            for name in names:
                array = self._arrays[name]
                if len(array) < n:
                    fill = {"head": -1, "last": np.nan}.get(name, 0)
                    more = np.full((max(n, 2 * len(array), 64) - len(array), *array.shape[1:]), fill, array.dtype)
                    self._arrays[name] = np.concatenate([array, more])

    def _kernel(self) -> tuple[NDArray[Any], ...]:
        x = self._arrays
        edges = tuple(x[name] for name in self._EDGE)
        return (x["posterior"], x["confusion"], self._counts, x["sums"], x["head"], *edges)


def _drawn(part: Floats, whole: Floats) -> Floats:
    """Shares, drawn towards the share of all by `STRENGTH` more cases."""
    every = part.sum() / max(float(whole.sum()), 1e-12)
    return np.asarray((part + STRENGTH * every) / (whole + STRENGTH))
