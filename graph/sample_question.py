"""The neighbours of a node as of a moment: asked of a live graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.question import Columns, Unlearned, digest_of, is_whole, moments_of, numbers, plain, texts
from graph.selection import Direction, Neighbours
from tidemill.errors import ConfigError
from tidemill.servable import TensorSpec


class SampleQuestion(Unlearned):
    """Outputs, of each row (a node, at the end of `relation` that `direction` starts from): the ids (`neighbours`) and
    times (`at`, µs) of its `k` newest edges strictly before `time`, the newest first, ids empty and times 0 where there
    are fewer; `score` is how many there are. A node that nobody has seen has none. Nothing is learned."""

    def __init__(self, *, relation: str, direction: Direction = "out", k: int = 10) -> None:
        if direction not in ("out", "in") or not is_whole(k, 1, 1_000):
            wanted = "out or in, k 1 to 1000"
            raise ConfigError("a question that cannot be asked", wanted=wanted, got=f"{direction}, {k}")
        self.relation, self.direction, self.k = relation, direction, k
        self.inputs = [TensorSpec("node", "BYTES", [-1]), TensorSpec("time", "INT64", [-1])]
        self.outputs = [
            TensorSpec("score", "FP64", [-1]),
            TensorSpec("neighbours", "BYTES", [-1, k]),
            TensorSpec("at", "INT64", [-1, k]),
        ]

    def params(self) -> dict[str, Any]:
        return {"relation": self.relation, "direction": self.direction, "k": self.k}

    def ask(self, state: Any, inputs: Columns) -> dict[str, NDArray[Any]]:
        found = self._found(state, inputs)
        other = state.graph.ends(self.relation, self.direction)[1]
        return {
            "score": found.counts.astype(np.float64),
            "neighbours": texts(state.graph, other, found.nodes),
            "at": np.where(found.nodes >= 0, found.times, 0),
        }

    def _found(self, state: Any, inputs: Columns) -> Neighbours:
        graph = state.graph
        start, _ = graph.ends(self.relation, self.direction)
        nodes, moments = numbers(graph, start, inputs["node"], "node"), moments_of(graph, self.relation, inputs)
        found: Neighbours = graph.neighbours(self.relation, nodes, moments, self.k, direction=self.direction)
        return found

    def evidence(self, state: Any, inputs: Columns) -> str:
        """Of the edges found: neighbours, times and numbers."""
        found = self._found(state, inputs)
        return digest_of(found.nodes, found.times, found.edges)

    def explain(self, state: Any, inputs: Columns) -> dict[str, Any]:
        """`edges`: number, neighbour, time and features of each."""
        found, graph = self._found(state, inputs), state.graph
        edges = found.edges[0][: found.counts[0]]
        names, features = graph.relations[self.relation].features, graph.edges(self.relation, edges)[3].tolist()
        ids = graph.ids(graph.ends(self.relation, self.direction)[1], found.nodes[0][: found.counts[0]])
        rows = zip(edges.tolist(), ids, found.times[0].tolist(), features, strict=False)
        return {
            "edges": [
                {"edge": edge, "node": plain(id), "time": time, "features": dict(zip(names, row, strict=True))}
                for edge, id, time, row in rows
            ]
        }
