"""What is the class of this event, given what is around its nodes: asked of a live graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.adjacency import Int
from graph.class_model import ClassModel, Floats, probability
from graph.neighbourhood import Around
from graph.question import Columns, digest_of, numbers, plain, times
from tidemill.errors import RequestError
from tidemill.servable import TensorSpec

MOST_TOLD = 20


class ClassQuestion:
    """Inputs: an id for each seed (empty: none), `features` (n, features) where there are any, and `time`. Outputs:
    `score`, the probability of class 1, and `label`, 1 where that is above a half.

    What is known is what had come before `time`, strictly. The learned state is that of `graph.class_model`.
    """

    def __init__(self, *, features: Sequence[str], around: Mapping[str, Any], seed: int = 0) -> None:
        self.model = ClassModel(features, around, seed)
        self._ids = [name for name, _ in self.model.around.seeds]
        self.inputs = [TensorSpec(name, "BYTES", [-1]) for name in self._ids]
        if self.model.features:
            self.inputs.append(TensorSpec("features", "FP64", [-1, len(self.model.features)]))
        self.inputs.append(TensorSpec("time", "INT64", [-1]))
        self.outputs = [TensorSpec("score", "FP64", [-1]), TensorSpec("label", "INT64", [-1])]

    def params(self) -> dict[str, Any]:
        return self.model.params()

    def state(self) -> dict[str, Any]:
        return self.model.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.model.load_state(state)

    def ask(self, state: Any, inputs: Columns) -> dict[str, NDArray[Any]]:
        score = self.model.scores(state.graph, *self._asked(state, inputs))
        return {"score": score, "label": (score > 0.5).astype(np.int64)}

    def evidence(self, state: Any, inputs: Columns) -> str:
        """Of what the network is given, and of the edges it is from."""
        own, around = self.model.look(state.graph, *self._asked(state, inputs))
        return digest_of(own, around.edges, *(part for f in around.found for part in (f.nodes, f.times)))

    def explain(self, state: Any, inputs: Columns) -> dict[str, Any]:
        """`neighbours`: of every edge that was looked at, by how much the probability falls where it is masked (its
        view's mean is then of the others); `features`: of each of the other numbers, by how much it falls where that
        is as it is on average. The largest first, and no more than 20 of each."""
        model = self.model
        own, around = model.look(state.graph, *self._asked(state, inputs))
        score = float(probability(model.logits(own, around))[0])
        falls = score - self._without(own, around)
        told = [self._told(state, around, v, e) for v in range(len(model.around.views)) for e in _range(around, v)]
        neighbours = [{**one, "influence": fall} for one, fall in zip(told, falls.tolist(), strict=True)]
        return {"neighbours": _largest(neighbours), "features": _largest(self._features(own, around, score))}

    def _without(self, own: Floats, around: Around) -> Floats:
        """The probability without each edge in turn."""
        places = [(v, e) for v in range(len(self.model.around.views)) for e in _range(around, v)]
        edges = np.repeat(around.edges, len(places), axis=0)
        counts = np.repeat(around.counts, len(places), axis=0)
        for i, (v, e) in enumerate(places):
            edges[i, v, e:-1], edges[i, v, -1] = edges[i, v, e + 1 :].copy(), 0.0
            counts[i, v] -= 1
        masked = around._replace(edges=edges, counts=counts)
        return probability(self.model.logits(np.repeat(own, len(places), axis=0), masked))

    def _features(self, own: Floats, around: Around, score: float) -> list[dict[str, Any]]:
        names = self.model.names
        usual = np.repeat(own, len(names), axis=0)
        np.fill_diagonal(usual, self.model.mean)
        same = around._replace(
            edges=np.repeat(around.edges, len(names), axis=0), counts=np.repeat(around.counts, len(names), axis=0)
        )
        falls = score - probability(self.model.logits(usual, same))
        rows = zip(names, own[0].tolist(), falls.tolist(), strict=True)
        return [{"feature": name, "value": value, "influence": fall} for name, value, fall in rows]

    def _told(self, state: Any, around: Around, v: int, e: int) -> dict[str, Any]:
        view, found = self.model.around.views[v], around.found[v]
        graph = state.graph
        (id,) = graph.ids(graph.ends(view.relation, view.direction)[1], [int(found.nodes[e])])
        names = graph.relations[view.relation].features
        values = graph.edges(view.relation, found.edges[e : e + 1])[3][0].tolist()
        return {
            "of": self._ids[view.seed],
            "relation": view.relation,
            "direction": view.direction,
            "node": plain(id),
            "time": int(found.times[e]),
            "features": dict(zip(names, values, strict=True)),
        }

    def _asked(self, state: Any, inputs: Columns) -> tuple[Floats, Int, Int]:
        when = times(inputs)
        seeds = [_known(state.graph, kind, inputs[name], name) for name, kind in self.model.around.seeds]
        features = np.zeros((len(when), 0))
        if self.model.features:
            features = np.ascontiguousarray(inputs["features"], np.float64)
            if not np.isfinite(features).all():
                raise RequestError("features that are not finite", wanted="finite numbers", field="features")
        return features, np.stack(seeds, axis=1), when


def _known(graph: Any, node_type: str, ids: Any, name: str) -> Int:
    """Numbers; −1 for none and for a node never seen."""
    given = [b"" if id is None else id for id in ids]
    found = numbers(graph, node_type, given, name)
    return np.where([id in ("", b"") for id in given], -1, found)


def _range(around: Around, view: int) -> range:
    return range(int(around.counts[0, view]))


def _largest(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((one for one in told if one["influence"]), key=lambda one: -abs(one["influence"]))[:MOST_TOLD]
