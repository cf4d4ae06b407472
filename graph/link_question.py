"""Will the edge source → target appear, and how odd would it be: asked of a live graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graph.draws import mix
from graph.link_features import feature_names, features_of
from graph.link_history import SCALES, Floats, Ints
from graph.link_influence import influences
from graph.link_model import STRANGER, draw, place
from graph.link_network import F32, HIDDEN, SECOND, forward, initial
from graph.question import Columns, digest_of, is_whole, moments_of, numbers, plain, times
from graph.relation import Relation
from graph.selection import DIRECTIONS, Direction, Found
from tidemill.errors import ConfigError, IncompatibleError
from tidemill.servable import TensorSpec

HIDDEN_SCORE = -1e9
"""Below every score of a network: JSON has no infinity."""


@njit(cache=True, nogil=True)
def event_of(src: int, dst: int) -> int:
    """What the draw beside an edge that may appear is a function of."""
    return int(mix(np.uint64(src) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(dst)) >> np.uint64(2))


@njit(cache=True, nogil=True)
def _ask(
    h: Any,
    src: Ints,
    dst: Ints,
    when: Ints,
    seed: int,
    said: Floats,
    weights: F32,
    X: F32,
    candidates: Ints,
    out: Floats,
) -> None:
    """Rows of `out`: share, oddness, score, to which `said` adds. `X` and `candidates` are left as they were for the
    last row."""
    m = len(candidates)
    first, second = np.zeros((m, HIDDEN), np.float32), np.zeros((m, SECOND), np.float32)
    scores = np.zeros(m, np.float32)
    for i in range(len(src)):
        event = event_of(src[i], dst[i])
        candidates[0] = dst[i]
        draw(h, src[i], dst[i], seed, event, 0, 0.0, candidates[1:])
        features_of(h, src[i], candidates, when[i] / 1e6, X)
        forward(weights, X, first, second, scores)
        if said[i] == -np.inf:
            out[i, 0], out[i, 1], out[i, 2] = 0.0, 1.0, HIDDEN_SCORE
            continue
        scores[0] += np.float32(said[i])
        out[i, 0] = 1.0 / np.exp(scores.astype(np.float64) - scores[0]).sum()
        out[i, 1] = (place(scores) - 1.0) / (m - 1)
        out[i, 2] = scores[0]


class LinkQuestion:
    """Outputs, of each row (source, target, time), beside `against` other nodes drawn from all seen (between two types,
    from all targets seen):

    - `score`: the softmax of the model's score of the target among all of them: 1 for a sure edge, about
      1/(`against` + 1) for one that the model cannot tell from the others;
    - `oddness`: the share of the others that the model holds likelier, 0 to 1;
    - `rank_score`: the model's own score, which only compares targets of one source at one time.

    The others are of the target's type, and drawn as a function of `seed`, source and target. What experts said before
    `time` counts: a weight w adds log w to the target's score, and an edge that is forbidden (or of weight 0) has the
    score 0, the oddness 1 and the rank score `HIDDEN_SCORE`. What is known is what had come: of `time` only the age of
    the past counts here, so a `time` before the newest edges is no look into the past; `neighbours` are strictly
    earlier. What was retracted stays in the model's past. The learned state is `weights`, of `LinkModel`'s network.
    """

    def __init__(
        self, *, relation: str, scales: Sequence[float] = SCALES, against: int = 50, seed: int = 0, near: int = 10
    ) -> None:
        if not (is_whole(against, 1, 10_000) and is_whole(near, 0, 1_000) and is_whole(seed, 0, 1 << 62)):
            wanted = "against 1 to 10,000, near 0 to 1,000 and a seed from 0, whole numbers"
            raise ConfigError("a question that cannot be asked", wanted=wanted, got=f"{against}, {near}, {seed}")
        ids = [TensorSpec(name, "BYTES", [-1]) for name in ("source", "target")]
        self.inputs = [*ids, TensorSpec("time", "INT64", [-1])]
        self.outputs = [TensorSpec(name, "FP64", [-1]) for name in ("score", "oddness", "rank_score")]
        self.relation, self.scales = relation, tuple(float(s) for s in scales)
        self.against, self.seed, self.near = against, seed, near
        self.names = feature_names(len(self.scales))
        self.weights = initial(len(self.names), seed)

    def params(self) -> dict[str, Any]:
        return {
            "relation": self.relation,
            "scales": list(self.scales),
            "against": self.against,
            "seed": self.seed,
            "near": self.near,
        }

    def state(self) -> dict[str, Any]:
        return {"weights": self.weights.copy()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        if set(state) != {"weights"} or np.shape(state["weights"]) != self.weights.shape:
            got = {name: np.shape(value) for name, value in state.items()}
            raise IncompatibleError("not a state of this model", wanted=f"weights {self.weights.shape}", got=str(got))
        self.weights = np.array(state["weights"], np.float32)

    def ask(self, state: Any, inputs: Columns) -> dict[str, NDArray[Any]]:
        src, dst = ends(state.graph, self.relation, inputs["source"], inputs["target"])
        when = moments_of(state.graph, self.relation, inputs)
        out, _ = self._scored(state, src, dst, when, said_of(state.graph, self.relation, inputs, when))
        return {"score": out[:, 0], "oddness": out[:, 1], "rank_score": out[:, 2]}

    def _scored(self, state: Any, src: Ints, dst: Ints, when: Ints, said: Floats) -> tuple[Floats, F32]:
        out, X = np.zeros((len(src), 3)), np.zeros((self.against + 1, len(self.names)), np.float32)
        candidates = np.zeros(self.against + 1, np.int64)
        _ask(state.links.past.arrays, src, dst, when, self.seed, said, self.weights, X, candidates, out)
        return out, X

    def evidence(self, state: Any, inputs: Columns) -> str:
        """Of the target's features, what experts said, and the newest edges of source and target before `time`."""
        graph, when = state.graph, times(inputs)
        src, dst = ends(graph, self.relation, inputs["source"], inputs["target"])
        said = said_of(graph, self.relation, inputs, when)
        _, X = self._scored(state, src, dst, when, said)
        near = [
            part
            for end in ("source", "target")
            for _, found in near_of(graph, graph.relations[self.relation], end, inputs[end][0], when, self.near)
            for part in (found.nodes, found.times)
        ]
        return digest_of(X[0], *near, *([said] if said.any() else []))

    def explain(self, state: Any, inputs: Columns) -> dict[str, Any]:
        """`features`: by how much the model's score falls where the feature were as it is of the others on average, the
        ten largest of them; `neighbours`: the `near` newest edges of source and target before `time`, each with its
        `influence` on that score (`graph.link_influence`), the largest first; `weight`, where experts said something of
        the edge: 0 where it is forbidden."""
        graph, when = state.graph, times(inputs)
        src, dst = ends(graph, self.relation, inputs["source"], inputs["target"])
        out, X = self._scored(state, src, dst, when, np.zeros(1))
        said = float(np.exp(said_of(graph, self.relation, inputs, when)[0]))
        asked = np.repeat(X[:1], len(self.names), axis=0)
        np.fill_diagonal(asked, X[1:].mean(axis=0))
        first, second = np.zeros((len(asked), HIDDEN), np.float32), np.zeros((len(asked), SECOND), np.float32)
        scores = np.zeros(len(asked), np.float32)
        forward(self.weights, asked, first, second, scores)
        falls = (out[0, 2] - scores.astype(np.float64)).tolist()
        largest = sorted(zip(self.names, falls, strict=True), key=lambda pair: -abs(pair[1]))[:10]
        near = self._near(state, inputs, src, dst, when)
        told: dict[str, Any] = {"features": {name: fall for name, fall in largest if fall}, "neighbours": near}
        return told if said == 1.0 else {**told, "weight": said}

    def _near(self, state: Any, inputs: Columns, src: Ints, dst: Ints, when: Ints) -> list[dict[str, Any]]:
        graph, it = state.graph, state.graph.relations[self.relation]
        near: list[dict[str, Any]] = []
        for end in ("source", "target"):
            for direction, found in near_of(graph, it, end, inputs[end][0], when, self.near):
                ids = graph.ids(graph.ends(it.name, direction)[1], found.nodes)
                edges = *named(it, *graph.edges(it.name, found.edges)[:2]), found.times / 1e6
                moment = float(when[0]) / 1e6
                falls = influences(state.links.past.arrays, src[0], dst[0], moment, *edges, self.weights)
                near += [
                    {"of": end, "direction": direction, "node": plain(id), "time": time, "influence": fall}
                    for id, time, fall in zip(ids, found.times.tolist(), falls.tolist(), strict=True)
                ]
        return sorted(near, key=lambda one: -abs(one["influence"]))


def ends(graph: Any, relation: str, source: Any, target: Any) -> tuple[Ints, Ints]:
    """What the past calls the nodes at the ends: their numbers, which for two node types are interleaved; of a node
    never seen a number that nobody has, and of two that differ two."""
    it: Relation = graph.relations[relation]
    src, dst = numbers(graph, it.source, source, "source"), numbers(graph, it.target, target, "target")
    same = np.array([a == b for a, b in zip(source, target, strict=True)], np.bool_) & (it.source == it.target)
    named_src, named_dst = named(it, src, dst)
    return np.where(src < 0, STRANGER - 1, named_src), np.where((dst < 0) & same, STRANGER - 1, named_dst)


def said_of(graph: Any, relation: str, inputs: Columns, when: Ints) -> Floats:
    """What experts add to the score of each edge asked about: log w, −∞ where it is forbidden, 0 where they said
    nothing before `when`."""
    it: Relation = graph.relations[relation]
    ends = numbers(graph, it.source, inputs["source"], "source"), numbers(graph, it.target, inputs["target"], "target")
    out, known = np.zeros(len(when)), np.minimum(*ends) >= 0
    if known.any():
        hidden, weights = graph.said(relation, ends[0][known], ends[1][known], when[known])
        with np.errstate(divide="ignore"):
            out[known] = np.log(np.where(hidden, 0.0, weights))
    return out


def named(relation: Relation, src: Ints, dst: Ints) -> tuple[Ints, Ints]:
    """From node numbers, which are there or −1, to what the past calls them."""
    if relation.source != relation.target:
        return np.where(src < 0, STRANGER, 2 * src), np.where(dst < 0, STRANGER, 2 * dst + 1)
    return np.where(src < 0, STRANGER, src), np.where(dst < 0, STRANGER, dst)


def near_of(graph: Any, relation: Relation, end: str, id: Any, when: Ints, k: int) -> Iterator[tuple[Direction, Found]]:
    """The `k` newest edges of one end, in each direction."""
    node_type = relation.source if end == "source" else relation.target
    number = numbers(graph, node_type, [id])
    if number[0] < 0 or not k:
        return
    for direction in DIRECTIONS[: 1 + relation.directed]:
        if graph.ends(relation.name, direction)[0] == node_type:
            yield direction, graph.found(relation.name, number, when, k, direction=direction)
