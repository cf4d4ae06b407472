"""Consensus on classes, kept up to date answer by answer: the online form of `voting` and `dawid_skene`.

An answer about an item changes what is believed of this item alone, and by the difference what its annotators are taken
for: their expected counts lose the item's old posterior and gain the new one. One step costs (answers of the item) × K.
Dawid-Skene's posterior is taken with the item's own share left out of its annotators' counts, so that an item does not
confirm itself. What an answer tells of *other* items waits for `estimate`, which begins from scratch and is a function
of the answers that stand.

`layers` are independent questions on the same answers: one for a single class, one per class, yes or no, for several.

Source: Neal, Hinton, *A view of the EM algorithm that justifies incremental, sparse, and other variants*, 1998.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streams.labelling.answers import Order
from streams.labelling.dawid_skene import _LEAST, DIAGONAL, Estimate, dawid_skene
from streams.labelling.voting import majority, weighted_majority
from tidemill.errors import IncompatibleError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

METHODS = ("majority", "weighted", "one-coin", "dawid-skene")
MAJORITY, WEIGHTED, ONE_COIN, DAWID_SKENE = range(4)


@njit(cache=True)
def _move(item: int, sign: float, head: Ints, previous: Ints, who: Ints, label: Ints, belief: Floats, t: Any) -> None:
    """Take what is believed of an item out of its annotators' counts (−1), or put it in (+1)."""
    counts, classes = t
    edge = head[item]
    while edge >= 0:
        if label[edge] >= 0:
            for c in range(len(classes)):
                counts[who[edge], c, label[edge]] += sign * belief[item, c]
        edge = previous[edge]
    for c in range(len(classes)):
        classes[c] += sign * belief[item, c]


@njit(cache=True)
def _add_log(counts: Floats, a: int, x: int, method: int, smoothing: float, scores: Floats) -> None:
    """Add the logarithm of the probability of answer `x` of annotator `a`, by true class."""
    k = counts.shape[1]
    if method == ONE_COIN:
        right, all = smoothing * DIAGONAL, smoothing
        for c in range(k):
            right += counts[a, c, c]
            for y in range(k):
                all += counts[a, c, y]
        q = right / all if all > 0.0 else DIAGONAL
        q = min(max(q, _LEAST), 1.0 - _LEAST)
        wrong = np.log((1.0 - q) / max(k - 1, 1))
        for c in range(k):
            scores[c] += np.log(q) if c == x else wrong
        return
    for c in range(k):
        total = smoothing
        for y in range(k):
            total += max(counts[a, c, y], 0.0)
        prior = DIAGONAL if c == x else (1.0 - DIAGONAL) / max(k - 1, 1)
        scores[c] += np.log(max(max(counts[a, c, x], 0.0) + smoothing * prior, _LEAST) / max(total, _LEAST))


@njit(cache=True)
def _judge(
    item: int,
    method: int,
    smoothing: float,
    head: Ints,
    previous: Ints,
    who: Ints,
    label: Ints,
    known: int,
    p: Floats,
    belief: Floats,
    counts: Floats,
    classes: Floats,
) -> int:
    """The posterior `p` of an item whose belief is out of the counts, and its new belief; how many answers it has."""
    k, n = len(p), 0
    votes = np.zeros(k)
    edge = head[item]
    while edge >= 0:
        if label[edge] >= 0:
            votes[label[edge]] += 1.0
            n += 1
        edge = previous[edge]
    p[:], belief[:] = 0.0, 0.0
    if known >= 0:
        p[known], belief[known] = 1.0, 1.0
        return n
    if n == 0:
        return n
    if method >= ONE_COIN:
        scores = np.log(np.maximum(classes, 0.0) + 1.0)
        edge = head[item]
        while edge >= 0:
            if label[edge] >= 0:
                _add_log(counts, who[edge], label[edge], method, smoothing, scores)
            edge = previous[edge]
        scores = np.exp(scores - scores.max())
        p[:] = scores / scores.sum()
        belief[:] = p
        return n
    best = np.argmax(votes)
    belief[best] = 1.0
    p[:] = votes / n
    if method == WEIGHTED:
        # Skills are as of after this answer: the belief just found is part of them.
        weights = np.zeros(k)
        edge = head[item]
        while edge >= 0:
            if label[edge] >= 0:
                a = who[edge]
                agreed, all = 1.0 if label[edge] == best else 0.0, 1.0
                for c in range(k):
                    agreed += counts[a, c, c]
                    for y in range(k):
                        all += counts[a, c, y]
                weights[label[edge]] += agreed / all
            edge = previous[edge]
        if weights.sum() > 0.0:
            p[:] = weights / weights.sum()
    return n


@njit(cache=True)
def _apply(
    rows: Ints, items: Ints, whos: Ints, values: Ints, method: int, smoothing: float, e: Any, t: Any, out: Floats
) -> Ints:
    """Take up changes one after another: `values` (layers × n; −1 nothing stands) of answer rows, or, at row −1, what
    is known of an item. `out` (n × layers × K) is the posterior after each; returned, the answers of its item."""
    head, previous, who, label, known = e
    posterior, belief, counts, classes = t
    n = np.zeros(len(rows), np.int64)
    for i in range(len(rows)):
        row, item = rows[i], items[i]
        for layer in range(len(values)):
            own = (counts[layer], classes[layer])
            _move(item, -1.0, head, previous, who, label[layer], belief[layer], own)
            if row < 0:
                known[layer, item] = values[layer, i]
            else:
                label[layer, row] = values[layer, i]
        if row >= 0 and who[row] < 0:
            who[row], previous[row], head[item] = whos[i], head[item], row
        for layer in range(len(values)):
            own = (counts[layer], classes[layer])
            p, b = posterior[layer, item], belief[layer, item]
            edges = (head, previous, who, label[layer])
            n[i] = _judge(item, method, smoothing, *edges, known[layer, item], p, b, *own)
            _move(item, 1.0, *edges, belief[layer], own)
            out[i, layer] = p
    return n


@njit(cache=True)
def _without(items: Ints, method: int, smoothing: float, e: Any, t: Any, out: Floats) -> None:
    """Into `out` (n × layers × K), what would be believed of each item if nothing were known of it."""
    head, previous, who, label, _ = e
    _, belief, counts, classes = t
    spare = np.empty(out.shape[2])
    for i in range(len(items)):
        for layer in range(out.shape[1]):
            own, edges = (counts[layer], classes[layer]), (head, previous, who, label[layer])
            _move(items[i], -1.0, *edges, belief[layer], own)
            _judge(items[i], method, smoothing, *edges, -1, out[i, layer], spare, *own)
            _move(items[i], 1.0, *edges, belief[layer], own)


class Categorical:
    """What is believed of every item, and of every annotator, by one of `METHODS`.

    `classes` are the answers to each of `layers` questions. `smoothing` is `dawid_skene`'s; the votes have none.
    """

    def __init__(self, *, method: str, layers: int, classes: int, smoothing: float) -> None:
        self.method, self.layers, self.classes, self.smoothing = METHODS.index(method), layers, classes, smoothing
        self._items = self._rows = self._annotators = 0
        self._room(0, 0, 0)
        self.totals = np.zeros((layers, classes))

    def _room(self, items: int, rows: int, annotators: int) -> None:
        n, k = self.layers, self.classes
        self._head, self._known = np.full(items, -1, np.int64), np.full((n, items), -1, np.int64)
        self._posterior, self._belief = np.zeros((n, items, k)), np.zeros((n, items, k))
        self._previous, self._who = np.full(rows, -1, np.int64), np.full(rows, -1, np.int64)
        self._label = np.full((n, rows), -1, np.int64)
        self._counts = np.zeros((n, annotators, k, k))

    def _grow(self, items: int, rows: int, annotators: int) -> None:
        self._items, self._rows = max(self._items, items), max(self._rows, rows)
        self._annotators = max(self._annotators, annotators)
        now = (len(self._head), len(self._who), self._counts.shape[1])
        if all(a >= b for a, b in zip(now, (items, rows, annotators), strict=True)):
            return
        old = self._arrays()
        wanted = (items, rows, annotators)
        self._room(*(a if a >= b else max(16, 2 * b) for a, b in zip(now, wanted, strict=True)))
        for new, values in zip(self._arrays(), old, strict=True):
            new[tuple(slice(n) for n in values.shape)] = values

    def _arrays(self) -> tuple[NDArray[Any], ...]:
        places = (self._head, self._known, self._previous, self._who, self._label)
        return (*places, self._posterior, self._belief, self._counts)

    def apply(
        self, rows: Sequence[int], items: Sequence[int], whos: Sequence[int], values: Ints
    ) -> tuple[Floats, Ints]:
        """Take up n changes in order: the posterior of each one's item after it (n × layers × K), and how many answers
        that item has. `values` (layers × n): the answer that stands in row `rows[i]` now (−1: none); at row −1, what is
        known of the item (−1: nothing)."""
        row, item, who = (np.array(part, np.int64) for part in (rows, items, whos))
        if not len(row):
            return np.empty((0, self.layers, self.classes)), np.empty(0, np.int64)
        self._grow(int(item.max()) + 1, int(row.max()) + 1, int(who.max()) + 1)
        out = np.empty((len(row), self.layers, self.classes))
        edges = (self._head, self._previous, self._who, self._label, self._known)
        tables = (self._posterior, self._belief, self._counts, self.totals)
        return out, _apply(row, item, who, values, self.method, self.smoothing, edges, tables, out)

    def estimate(self, order: Order) -> None:
        """Begin anew from the answers that stand, in `order`: what is believed is then a function of them alone."""
        self._grow(len(order.items), 0, len(order.annotators))
        for layer in range(self.layers):
            found = self._batch(layer, order)
            self._posterior[layer, order.items] = found.posterior
            self._counts[layer, order.annotators] = found.counts
            self._belief[layer, order.items] = self._believed(found.posterior, layer, order)
            self.totals[layer] = found.classes

    def _batch(self, layer: int, order: Order) -> Estimate:
        settings: dict[str, Any] = {"items": len(order.items), "annotators": len(order.annotators)}
        settings |= {"classes": self.classes, "known": self._known[layer, order.items]}
        value = self._label[layer, order.rows]
        use = value >= 0
        given = (order.item[use], order.who[use], value[use])
        if self.method == MAJORITY:
            return majority(*given, **settings)
        if self.method == WEIGHTED:
            return weighted_majority(*given, **settings)
        return dawid_skene(*given, one_coin=self.method == ONE_COIN, smoothing=self.smoothing, **settings)

    def _believed(self, posterior: Floats, layer: int, order: Order) -> Floats:
        if self.method >= ONE_COIN:
            return posterior
        votes = np.zeros_like(posterior)
        value = self._label[layer, order.rows]
        use = value >= 0
        np.add.at(votes, (order.item[use], value[use]), 1.0)
        known = self._known[layer, order.items]
        votes[known >= 0] = 0.0
        votes[known >= 0, known[known >= 0]] = 1.0
        out = np.zeros_like(posterior)
        some = votes.sum(1) > 0
        out[some, votes[some].argmax(1)] = 1.0
        return out

    def without(self, items: Sequence[int]) -> Floats:
        """The posterior of each of these items (n × layers × K) from its answers alone, if nothing were known of it."""
        out = np.zeros((len(items), self.layers, self.classes))
        edges = (self._head, self._previous, self._who, self._label, self._known)
        tables = (self._posterior, self._belief, self._counts.copy(), self.totals.copy())
        _without(np.array(items, np.int64), self.method, self.smoothing, edges, tables, out)
        return out

    def posterior(self) -> Floats:
        """What is believed now (layers × items × K; 0 where nothing is)."""
        return self._posterior[:, : self._items]

    def counts(self) -> Floats:
        """Expected answers (layers × annotators × K × K) by true class and answer."""
        return self._counts[:, : self._annotators]

    def params(self) -> dict[str, Any]:
        settings = {"layers": self.layers, "classes": self.classes, "smoothing": self.smoothing}
        return {"method": METHODS[self.method], **settings}

    def state(self) -> dict[str, Any]:
        i, r, a = self._items, self._rows, self._annotators
        return {
            "head": self._head[:i].copy(),
            "known": self._known[:, :i].copy(),
            "previous": self._previous[:r].copy(),
            "who": self._who[:r].copy(),
            "label": self._label[:, :r].copy(),
            "posterior": self._posterior[:, :i].copy(),
            "belief": self._belief[:, :i].copy(),
            "counts": self._counts[:, :a].copy(),
            "totals": self.totals.copy(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state from `state()`. Raises `IncompatibleError` where it is of other classes."""
        if state["totals"].shape != self.totals.shape:
            wanted, got = str(self.totals.shape), str(state["totals"].shape)
            raise IncompatibleError("not a state of these classes", wanted=wanted, got=got)
        self._items, self._rows, self._annotators = len(state["head"]), len(state["who"]), state["counts"].shape[1]
        names = ("head", "known", "previous", "who", "label", "posterior", "belief", "counts")
        self._head, self._known, self._previous, self._who, self._label, *rest = (state[name].copy() for name in names)
        self._posterior, self._belief, self._counts = rest
        self.totals = state["totals"].copy()
