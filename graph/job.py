"""The job that grows a temporal graph from streams, and says how it grows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from graph.asked_job import asked_job
from graph.mapping import ExpertFrom, GraphSpec
from graph.sample_question import SampleQuestion
from graph.selection import Direction
from graph.store import TemporalGraph
from tidemill.errors import SubmissionError
from tidemill.job import DeadRow, Effects, Job, Output, Rows
from tidemill.log import TopicSpec
from tidemill.order import Batch, EventTime, Order

GROWTH = "growth"


class GraphState(msgspec.Struct):
    """The graph, and how many events came. `version` is the version that says what can be asked, 0 before it was cut;
    `after` the highest number before."""

    graph: TemporalGraph
    events: int = 0
    version: int = 0
    after: int = 0


@dataclass(frozen=True, kw_only=True)
class GraphJob:
    """A job whose state is the graph of `spec`.

    One group: the graph is one. It emits on `metrics.<name>`, every `metrics_every` events, a `metrics.measured.v1`
    with the nodes of each type (`nodes.<type>`), the edges of each relation that ever came (`edges.<relation>`), and
    those that stand within the time to live (`living.<relation>`).

    With `relation`, the endpoint (`endpoint`, or the job's name with `-neighbours`) answers for an event of the stream
    of the first rule for it: which are the `k` newest neighbours, along `direction`, of the node there; see
    `graph.sample_question`. Raises `SubmissionError` where it does not fit.
    """

    name: str
    spec: GraphSpec
    relation: str | None = None
    direction: Direction = "out"
    k: int = 10
    endpoint: str | None = None
    order: Order = field(default_factory=EventTime)
    metrics_every: int = 10_000
    commit_every: float = 0.5

    def job(self) -> Job[GraphState]:
        if self.metrics_every < 1:
            raise SubmissionError("metrics_every out of range", where=f"job {self.name}", wanted="at least 1")
        if self.relation is None and self.endpoint is not None:
            raise SubmissionError("an endpoint that asks of no relation", where=f"job {self.name}", wanted="relation=")
        if self.relation is None:
            return self._made()
        rule = self.spec.rule_of(self.relation, f"job {self.name}")
        return asked_job(
            self._made(),
            SampleQuestion(relation=self.relation, direction=self.direction, k=self.k),
            stream=rule.stream,
            field=rule.source if self.direction == "out" else rule.target,
            endpoint=self.endpoint or f"{self.name}-neighbours",
        )

    def _made(self) -> Job[GraphState]:
        return Job(
            name=self.name,
            reads=self.spec.reads,
            writes=(
                Output(
                    GROWTH,
                    f"metrics.{self.name}",
                    "metrics.measured.v1",
                    key="model",
                    made=TopicSpec(retention_bytes=1 << 30),
                ),
            ),
            step=self._step,
            init=lambda: GraphState(self.spec.graph()),
            state=GraphState,
            order=self.order,
            exact_merge=False,
            commit_every=self.commit_every,
            warm=lambda: warm(self.spec),
        )

    def _step(self, state: GraphState, batch: Batch) -> Effects[GraphState]:
        rows: list[Rows] = []
        dead: list[DeadRow] = []
        at, marks = 0, []
        # Growth is told after the same events however they are cut.
        due = self.metrics_every - state.events % self.metrics_every
        while due <= len(batch):
            marks.append(due)
            due += self.metrics_every
        for piece in batch.cut([m for m in marks if m < len(batch)]):
            dead += self.spec.take(state.graph, piece)
            at += len(piece)
            state.events += len(piece)
            if at in marks and len(piece):
                rows.append(self._growth(state, int(piece.time[-1])))
        return Effects(state, emit=rows, dead=dead)

    def _growth(self, state: GraphState, time: int) -> Rows:
        graph, values = state.graph, {}
        for name, ids in graph.nodes.items():
            values[f"nodes.{name}"] = float(len(ids))
        for name in graph.relations:
            values[f"edges.{name}"] = float(graph.count(name))
            values[f"living.{name}"] = float(graph.living(name))
        columns = {"model": [self.name], "version": [""], "count": [state.events], "values": [values]}
        return Rows(GROWTH, np.array([time], np.int64), [f"{self.name}/{state.events}"], columns)


def graph_job(**settings: Any) -> Job[GraphState]:
    """The job of a `GraphJob` with the settings given."""
    return GraphJob(**settings).job()


def warm(spec: GraphSpec) -> None:
    """Compile the kernels, or load them from numba's cache."""
    graph = spec.graph()
    for name, relation in graph.relations.items():
        features = [[0.0] * len(relation.features)] if relation.features else None
        graph.add(name, [0], [0], [0], features)
        graph.retract(name, 0, 0, 1)
        graph.neighbours(name, np.zeros(1, np.int64), 1, 1)
        if any(isinstance(rule, ExpertFrom) and rule.relation == name for rule in spec.rules):
            graph.judge(name, 0, 0, 1, "forbid")
            graph.neighbours(name, np.zeros(1, np.int64), 2, 1)
