"""Which nodes are nearest to one, by embedding: asked of a live graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.adjacency import Int
from graph.link_question import near_of
from graph.question import Columns, Unlearned, digest_of, is_whole, moments_of, numbers, plain, texts, times
from graph.relation import Relation
from tidemill.errors import ConfigError, RequestError
from tidemill.servable import TensorSpec


class NearQuestion(Unlearned):
    """Outputs, of each row (a node, at the `end`, `source` or `target`, of the relation): `nodes`, the ids of the
    `k` nodes of its type that are most similar to it, and `similarity`, their cosines to it; `score` is the first's.
    Where there are fewer, ids are empty and similarities 0.

    The embeddings are `state.embeddings`, as of what had come, whatever its time: as of a `time` that is gone by they
    are of later edges too. `time` counts for `neighbours` only. Nothing is learned, so there is no state. Raises
    `RequestError` for a node that nobody has seen.
    """

    def __init__(self, *, relation: str, end: str = "source", k: int = 10) -> None:
        if end not in ("source", "target") or not is_whole(k, 1, 1_000):
            raise ConfigError(
                "a question that cannot be asked", wanted="source or target, k 1 to 1000", got=f"{end}, {k}"
            )
        self.relation, self.end, self.k = relation, end, k
        self.inputs = [TensorSpec("node", "BYTES", [-1]), TensorSpec("time", "INT64", [-1])]
        self.outputs = [
            TensorSpec("score", "FP64", [-1]),
            TensorSpec("nodes", "BYTES", [-1, k]),
            TensorSpec("similarity", "FP64", [-1, k]),
        ]

    def params(self) -> dict[str, Any]:
        return {"relation": self.relation, "end": self.end, "k": self.k}

    def ask(self, state: Any, inputs: Columns) -> dict[str, NDArray[Any]]:
        moments_of(state.graph, self.relation, inputs)
        node_type, found, similar = self._found(state, inputs["node"])
        return {"score": similar[:, 0], "nodes": texts(state.graph, node_type, found), "similarity": similar}

    def _found(self, state: Any, ids: Any) -> tuple[str, Int, NDArray[np.float64]]:
        it: Relation = state.graph.relations[self.relation]
        node_type = it.source if self.end == "source" else it.target
        asked = numbers(state.graph, node_type, ids, "node")
        if len(asked) and asked.min() < 0:
            got = repr(ids[int(np.argmin(asked))])[:80]
            raise RequestError("no such node", wanted=f"a {node_type} that has come", got=got, field="node")
        offset, step = places(it, self.end)
        everyone = offset + step * np.arange(len(state.graph.nodes[node_type]))
        embeddings = state.embeddings
        found, similar = embeddings.nearest(embeddings.vectors(offset + step * asked), self.k + 1, everyone)
        # A node is the nearest to itself, but for rounding.
        other = found != (offset + step * asked)[:, None]
        order = np.argsort(~other, axis=1, kind="stable")[:, : self.k]
        found, similar = np.take_along_axis(found, order, axis=1), np.take_along_axis(similar, order, axis=1)
        return node_type, np.where(found >= 0, (found - offset) // step, -1), similar.astype(np.float64)

    def evidence(self, state: Any, inputs: Columns) -> str:
        """Of the node's embedding, and of its newest edges before `time`."""
        it = state.graph.relations[self.relation]
        offset, step = places(it, self.end)
        asked = numbers(state.graph, it.source if self.end == "source" else it.target, inputs["node"])
        near = near_of(state.graph, it, self.end, inputs["node"][0], times(inputs), 10)
        vector = state.embeddings.vectors(offset + step * asked)
        return digest_of(vector, *(part for _, found in near for part in (found.nodes, found.times)))

    def explain(self, state: Any, inputs: Columns) -> dict[str, Any]:
        """`neighbours`: the newest edges of the node before `time`, each with its `influence`, the largest first: by
        how much the node's cosine to the first of the answer falls where that neighbour is left out of the mean of the
        recent neighbours' profiles (0 where it is not one of the 16 that are in it). The node's own profile, a sum over
        all its edges, stays."""
        graph, out = state.graph, []
        it = graph.relations[self.relation]
        falls = self._falls(state, inputs["node"])
        there = places(it, "target" if self.end == "source" else "source")
        for direction, found in near_of(graph, it, self.end, inputs["node"][0], times(inputs), 10):
            ids = graph.ids(graph.ends(it.name, direction)[1], found.nodes)
            for id, number, time in zip(ids, found.nodes.tolist(), found.times.tolist(), strict=True):
                influence = falls.get(there[0] + there[1] * number, 0.0)
                out.append({"direction": direction, "node": plain(id), "time": time, "influence": influence})
        return {"neighbours": sorted(out, key=lambda one: -abs(one["influence"]))}

    def _falls(self, state: Any, ids: Any) -> dict[int, float]:
        """By neighbour, as the embeddings call it."""
        it: Relation = state.graph.relations[self.relation]
        offset, step = places(it, self.end)
        (asked,) = numbers(state.graph, it.source if self.end == "source" else it.target, ids)
        first = self._found(state, ids)[1][0, 0] if asked >= 0 else -1
        if first < 0:
            return {}
        near, embeddings = state.embeddings.without(int(offset + step * asked))
        cosines = embeddings @ state.embeddings.vectors(np.array([offset + step * first]))[0]
        return dict(zip(near.tolist(), (cosines[0] - cosines[1:]).astype(float).tolist(), strict=True))


def places(relation: Relation, end: str) -> tuple[int, int]:
    """Where the embeddings of the nodes at one end are: number n at offset + step × n; two node types take turns."""
    if relation.source == relation.target:
        return 0, 1
    return (0, 2) if end == "source" else (1, 2)
