"""The job that keeps embeddings of nodes fresh as edges come, publishes them, and answers which nodes are nearest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from graph.asked_job import asked_job
from graph.embedding import Embeddings
from graph.job import warm
from graph.link_history import DAY
from graph.link_question import named
from graph.mapping import GraphSpec
from graph.near_question import NearQuestion
from graph.question import plain
from graph.store import TemporalGraph
from tidemill.job import Effects, Job, Live
from tidemill.order import Batch, EventTime, Order

TABLE = "embeddings"


class NearState(msgspec.Struct):
    """The graph and the embeddings. `version` is 0 until the version is cut, `after` the highest number before."""

    graph: TemporalGraph
    embeddings: Embeddings
    version: int = 0
    after: int = 0


class Vectors:
    """The embeddings as a feature table: a row for each node, `vector`, under `<type>/<id>`."""

    def __init__(self, state: NearState, relation: str) -> None:
        self._state, self._relation = state, state.graph.relations[relation]

    def changes(self) -> int:
        return self._state.embeddings.changes()

    def changed(self, since: int) -> Iterator[tuple[str, dict[str, Any]]]:
        it, graph = self._relation, self._state.graph
        two = it.source != it.target
        for number, vector in self._state.embeddings.changed(since):
            node_type = it.target if two and number % 2 else it.source
            (id,) = graph.ids(node_type, [number // 2 if two else number])
            yield f"{node_type}/{plain(id)}", {"vector": vector.tolist()}


@dataclass(frozen=True, kw_only=True)
class NearJob:
    """A job that grows the graph of `spec` and keeps an embedding of each node at the ends of `relation`
    (`graph.embedding`: `dims`, `share`, `fading` in seconds, `seed`).

    With `publish`, embeddings that changed go to `features.<name>`, in table `embeddings` under `<type>/<id>`, and from
    there into Redis. The endpoint (`endpoint`, or the job's name with `-near`) answers, for an event of the stream of
    the first rule for `relation`, which `k` nodes are nearest to the one at its `end`; see `graph.near_question`. What
    was retracted stays in the embeddings. Raises `SubmissionError` where the settings do not fit together.
    """

    name: str
    spec: GraphSpec
    relation: str
    end: str = "source"
    k: int = 10
    dims: int = 128
    share: float = 0.7
    fading: float = 90 * DAY
    seed: int = 0
    publish: bool = True
    endpoint: str | None = None
    order: Order = field(default_factory=EventTime)
    commit_every: float = 0.5

    def job(self) -> Job[NearState]:
        rule = self.spec.rule_of(self.relation, f"job {self.name}")
        self._begin()  # what cannot be made is said here
        job = Job(
            name=self.name,
            reads=self.spec.reads,
            step=self._step,
            init=self._begin,
            state=NearState,
            order=self.order,
            live=Live(tables=lambda state: {TABLE: Vectors(state, self.relation)} if self.publish else {}),
            exact_merge=False,
            commit_every=self.commit_every,
            warm=self._warm,
        )
        return asked_job(
            job,
            NearQuestion(relation=self.relation, end=self.end, k=self.k),
            stream=rule.stream,
            field=rule.source if self.end == "source" else rule.target,
            endpoint=self.endpoint or f"{self.name}-near",
        )

    def _begin(self) -> NearState:
        graph = self.spec.graph()
        directed = graph.relations[self.relation].directed
        settings = {"dims": self.dims, "share": self.share, "fading": self.fading, "seed": self.seed}
        return NearState(graph, Embeddings(**settings, directed=directed))  # type: ignore[arg-type]

    def _step(self, state: NearState, batch: Batch) -> Effects[NearState]:
        dead, edges = self.spec.taken(state.graph, batch, self.relation)
        it = state.graph.relations[self.relation]
        for block, src, dst in edges:
            state.embeddings.learn(*named(it, src, dst), block.time / 1e6)
        return Effects(state, dead=dead)

    def _warm(self) -> None:
        warm(self.spec)
        embeddings = Embeddings(dims=self.dims)
        embeddings.learn([0], [1], [0.0])


def near_job(**settings: Any) -> Job[NearState]:
    """The job of a `NearJob` with the settings given."""
    return NearJob(**settings).job()
