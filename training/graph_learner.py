"""The learner of events' classes on a live graph: batches of new labels, mixed with old ones looked at anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit

from graph.adjacency import Int
from graph.class_model import ClassModel, probability
from graph.class_network import backward
from graph.class_question import ClassQuestion
from graph.draws import mix
from graph.link_network import adam
from graph.neighbourhood import F32, Around
from graph.store import TemporalGraph
from tidemill.errors import ConfigError, IncompatibleError
from tidemill.job import ModelContent
from tidemill.learner import LEARN, PREDICT, Float, Ops

SPAN = 1_024
"""Operations whose rows are looked at together."""


@njit(cache=True)
def _draws(seed: int, first: int, ends: Int, out: Int) -> None:
    """`out[i]` below `ends[i]`: a function of the seed and of the place `first + i` alone."""
    for i in range(len(out)):
        place = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(first + i)
        out[i] = np.int64(mix(place) >> np.uint64(1)) % ends[i]


class GraphLearner:
    """A `tidemill.learner.Learner` of rows of an event's features, its seeds' node numbers, and its time (µs).

    Rows are looked at in `graph`, which must be given first (`see`), as of their own time. Labelled rows wait until
    there are `batch`; then one step of Adam (`rate`, decoupled `decay`) is made on these and on `replay` old ones,
    drawn from a reservoir of `kept` in which every labelled row of the past is equally likely (Vitter, *Random sampling
    with a reservoir*, 1985). Of an old row only features, seeds, time and label are kept: its neighbourhood is looked
    up anew, as of its own time. Means and deviations are those of all rows learned.

    Everything is a function of the rows in their order: the same however they are cut into blocks.
    """

    exact_merge = False
    takes_weights = False

    def __init__(
        self,
        features: Sequence[str],
        *,
        around: Mapping[str, Any],
        batch: int = 8,
        replay: int = 16,
        kept: int = 8_192,
        rate: float = 0.0005,
        decay: float = 0.1,
        seed: int = 0,
    ) -> None:
        if batch < 1 or replay < 0 or kept < 1 or not 0.0 < rate < 1.0 or decay < 0.0:
            wanted = "a batch of 1 or more, a replay of 0 or more from 1 or more, a rate in (0, 1)"
            got = f"batch={batch}, replay={replay}, kept={kept}, rate={rate}, decay={decay}"
            raise ConfigError("no such training", wanted=wanted, got=got)
        seeds = len(around["seeds"])
        self.features = tuple(features)
        self.model = ClassModel(self.features[: -seeds - 1], around, seed)
        self.batch, self.replay, self.kept = batch, replay, kept
        self.rate, self.decay, self.seed = float(rate), float(decay), seed
        self.graph: TemporalGraph | None = None
        w = self.model.weights
        self._adam: tuple[F32, F32, F32] = (np.zeros_like(w), np.zeros_like(w), np.zeros_like(w))
        self._spread = np.zeros(len(self.model.names))
        self._rows, self._labels = self._none(), np.zeros(0)
        self._old, self._old_labels = self._none(), np.zeros(0)
        self.steps = 0

    def _none(self) -> Float:
        return np.zeros((0, len(self.features)))

    def see(self, graph: TemporalGraph) -> None:
        """Where rows are looked at from now on."""
        self.graph = graph

    def content(self) -> ModelContent:
        """What is published of it: the question that serving asks with these weights."""
        kind = f"{ClassQuestion.__module__}:{ClassQuestion.__qualname__}"
        return ModelContent(kind, self.model.params(), self.model.state())

    def predict_one(self, x: Float) -> float:
        return float(self.predict_block(np.asarray(x, np.float64)[None])[0])

    def learn_one(self, x: Float, y: float, w: float = 1.0) -> None:
        self.run_block(np.array([LEARN], np.uint8), np.asarray(x, np.float64)[None], np.array([y]))

    def predict_block(self, X: Float) -> Float:
        return self.model.scores(self._graph, *self._split(X))

    def learn_block(self, X: Float, y: Float, w: Float | None = None) -> Float:
        return self.run_block(np.full(len(y), 2, np.uint8), X, y)

    def run_block(self, ops: Ops, X: Float, y: Float, w: Float | None = None) -> Float:
        out = np.full(len(ops), np.nan)
        for at in range(0, len(ops), SPAN):
            part = slice(at, at + SPAN)
            self._run(ops[part], X[part], y[part], out[part])
        return out

    def _run(self, ops: Ops, X: Float, y: Float, out: Float) -> None:
        """All that is looked at is looked at first: it does not depend on what is learned."""
        seen, learns = np.flatnonzero(ops != LEARN), np.flatnonzero(ops != PREDICT)
        own, around = self._look(X[seen])
        rows, labels = np.concatenate([self._rows, X[learns]]), np.concatenate([self._labels, y[learns]])
        waited, size = len(self._labels), self.batch
        full = len(labels) // size
        mixed = [self._mixed(self.steps + i, rows[i * size :][:size], labels[i * size :][:size]) for i in range(full)]
        done = 0
        if full:
            every, targets = (np.concatenate(parts) for parts in zip(*mixed, strict=True))
            numbers, them = self._look(every)
            at = 0
            for i, (_, few) in enumerate(mixed):
                # What was asked before the batch was full is answered before it is learned.
                upto = int(np.searchsorted(seen, learns[(i + 1) * size - waited - 1], side="right"))
                out[seen[done:upto]] = self._answers(own, around, slice(done, upto))
                part = slice(at, at + len(few))
                self._train(numbers[part], _part(them, part), targets[part])
                done, at = upto, part.stop
        out[seen[done:]] = self._answers(own, around, slice(done, None))
        self._rows, self._labels = rows[full * size :].copy(), labels[full * size :].copy()

    def explain_one(self, x: Float) -> dict[str, float] | None:
        return None

    @property
    def _graph(self) -> TemporalGraph:
        if self.graph is None:
            raise ConfigError("no graph to look at", where="GraphLearner", fix="see(graph) first.")
        return self.graph

    def _split(self, X: Float) -> tuple[Float, Int, Int]:
        seeds = len(self.model.around.seeds)
        whole = X[:, -seeds - 1 :].astype(np.int64)
        return np.ascontiguousarray(X[:, : -seeds - 1]), whole[:, :-1], np.ascontiguousarray(whole[:, -1])

    def _look(self, X: Float) -> tuple[Float, Around]:
        return self.model.look(self._graph, *self._split(X))

    def _answers(self, own: Float, around: Around, part: slice) -> Float:
        return probability(self.model.logits(own[part], _part(around, part)))

    def _mixed(self, step: int, rows: Float, labels: Float) -> tuple[Float, Float]:
        """A batch of step `step`: these rows, and old ones; then these are old too."""
        X, y = rows, labels
        if len(self._old) and self.replay:
            drawn = np.zeros(self.replay, np.int64)
            _draws(self.seed + 1, step * self.replay, np.full(self.replay, len(self._old)), drawn)
            X, y = np.concatenate([rows, self._old[drawn]]), np.concatenate([labels, self._old_labels[drawn]])
        room = max(0, min(self.kept - len(self._old), len(rows)))
        self._old = np.concatenate([self._old, rows[:room]])
        self._old_labels = np.concatenate([self._old_labels, labels[:room]])
        left = np.arange(room, len(rows))
        places = np.zeros(len(left), np.int64)
        first = step * self.batch
        _draws(self.seed, first + room, first + left + 1, places)
        for row, place in zip(left.tolist(), places.tolist(), strict=True):
            if place < self.kept:
                self._old[place], self._old_labels[place] = rows[row], labels[row]
        return X, y

    def _train(self, own: Float, around: Around, y: Float) -> None:
        """One step on rows of which the first `batch` are new."""
        model = self.model
        self._spread_over(own[: self.batch])
        gradient, mean, square = self._adam
        args = model.standard(own), around.edges, around.counts, y.astype(np.float32)
        backward(model.weights, gradient, model.around.widths, *args)
        self.steps += 1
        adam(model.weights, gradient, mean, square, self.steps, self.rate, self.decay)

    def _spread_over(self, own: Float) -> None:
        """Means and deviations take in these rows (Chan, Golub and LeVeque, 1983)."""
        model, seen, new = self.model, self.steps * self.batch, len(own)
        mean = own.mean(axis=0)
        shift = mean - model.mean
        self._spread += ((own - mean) ** 2).sum(axis=0) + shift**2 * (seen * new / (seen + new))
        model.mean = model.mean + shift * (new / (seen + new))
        model.deviation = np.sqrt(self._spread / (seen + new))

    def params(self) -> dict[str, Any]:
        return {
            "features": list(self.features),
            "around": self.model.around.params(),
            "batch": self.batch,
            "replay": self.replay,
            "kept": self.kept,
            "rate": self.rate,
            "decay": self.decay,
            "seed": self.seed,
        }

    def state(self) -> dict[str, Any]:
        """The model's arrays, the optimiser's `first` and `second` moments and `steps`, `spread`, and the rows that
        wait and the old ones with their labels."""
        return self.model.state() | {
            "first": self._adam[1].copy(),
            "second": self._adam[2].copy(),
            "spread": self._spread.copy(),
            "rows": self._rows.copy(),
            "labels": self._labels.copy(),
            "old": self._old.copy(),
            "old_labels": self._old_labels.copy(),
            "steps": self.steps,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        own = self.state()
        if set(state) != set(own):
            raise IncompatibleError("not a state of this learner", wanted=", ".join(own), got=", ".join(state))
        self.model.load_state({name: state[name] for name in self.model.state()})
        moments = [np.array(state[name], np.float32) for name in ("first", "second")]
        rows, old = np.array(state["rows"], np.float64), np.array(state["old"], np.float64)
        fits = all(m.shape == self.model.weights.shape for m in moments)
        if not fits or {rows.shape[1], old.shape[1]} != {len(self.features)}:
            raise IncompatibleError("not a state of this learner", got=f"{moments[0].shape}, {rows.shape}")
        self._adam = (np.zeros_like(self.model.weights), moments[0], moments[1])
        self._spread = np.array(state["spread"], np.float64)
        self._rows, self._old = rows, old
        self._labels = np.array(state["labels"], np.float64)
        self._old_labels = np.array(state["old_labels"], np.float64)
        self.steps = int(state["steps"])


def _part(around: Around, part: slice) -> Around:
    return around._replace(edges=around.edges[part], counts=around.counts[part])
