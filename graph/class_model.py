"""The class of an event from its own numbers and a live graph: what training and serving share.

A row is the event's features, its seeds' numbers, and its time. What the network takes of it besides the neighbourhood
is standardised by means and deviations that are learned, and cut at ±`MOST`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.adjacency import Int
from graph.class_network import forward, initial
from graph.neighbourhood import F32, Around, Neighbourhood
from graph.store import TemporalGraph
from tidemill.errors import IncompatibleError

Floats = NDArray[np.float64]
MOST = 8.0
CHUNK = 512
"""Rows that are looked at together; more would only take memory."""


class ClassModel:
    """`features` names the event's own numbers; `around` says what is looked at (`Neighbourhood.params`)."""

    def __init__(self, features: Sequence[str], around: Mapping[str, Any], seed: int = 0) -> None:
        self.features, self.seed = tuple(features), seed
        self.around = Neighbourhood(**around)
        views = [f"{self.around.seeds[v.seed][0]} {v.relation} {v.direction}" for v in self.around.views]
        self.names = (*self.features, *self.around.names, *(f"edges {view}" for view in views))
        self.weights: F32 = initial(len(self.names), self.around.widths, seed)
        self.mean: Floats = np.zeros(len(self.names))
        self.deviation: Floats = np.zeros(len(self.names))

    def params(self) -> dict[str, Any]:
        return {"features": list(self.features), "around": self.around.params(), "seed": self.seed}

    def state(self) -> dict[str, Any]:
        """Arrays `weights`, `mean` and `deviation`; copies."""
        return {name: getattr(self, name).copy() for name in ("weights", "mean", "deviation")}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave. Raises `IncompatibleError`."""
        wanted = {name: value.shape for name, value in self.state().items()}
        got = {name: np.shape(value) for name, value in state.items()}
        if got != wanted:
            raise IncompatibleError("not a state of this model", wanted=str(wanted), got=str(got))
        self.weights = np.array(state["weights"], np.float32)
        self.mean, self.deviation = np.array(state["mean"], np.float64), np.array(state["deviation"], np.float64)

    def look(self, graph: TemporalGraph, features: Floats, seeds: Int, before: Int) -> tuple[Floats, Around]:
        """What the network takes of n rows before it is standardised, (n, `names`), and what is around them."""
        around = self.around.around(graph, seeds, before)
        own = np.concatenate([features, around.nodes, around.counts / self.around.k], axis=1)
        return own, around

    def standard(self, own: Floats) -> F32:
        """Standardised; what never differed is 0."""
        there = self.deviation > 0.0
        z = np.where(there, (own - self.mean) / np.where(there, self.deviation, 1.0), 0.0)
        return np.ascontiguousarray(np.clip(z, -MOST, MOST), np.float32)

    def logits(self, own: Floats, around: Around) -> F32:
        """Of what `look` gave."""
        out = np.zeros(len(own), np.float32)
        forward(self.weights, self.around.widths, self.standard(own), around.edges, around.counts, out)
        return out

    def scores(self, graph: TemporalGraph, features: Floats, seeds: Int, before: Int) -> Floats:
        """The probability of class 1 of n rows, each as of its own time."""
        out = np.zeros(len(before))
        for at in range(0, len(before), CHUNK):
            part = slice(at, at + CHUNK)
            out[part] = probability(self.logits(*self.look(graph, features[part], seeds[part], before[part])))
        return out


def probability(logits: NDArray[Any]) -> Floats:
    """1 / (1 + e^−z), cut at ±30."""
    z: Floats = np.clip(logits.astype(np.float64), -30.0, 30.0)
    return 1.0 / (1.0 + np.exp(-z))
