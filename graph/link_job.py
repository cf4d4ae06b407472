"""The job that learns which edges appear, as they appear, and answers for those that may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import msgspec
import numpy as np

from graph.job import warm
from graph.link_history import SCALES, Floats, Ints
from graph.link_model import LinkModel
from graph.link_question import LinkQuestion, named
from graph.mapping import EdgeFrom, GraphSpec
from graph.question import content_of, is_whole
from graph.relation import Relation
from graph.store import TemporalGraph
from tidemill.block import Block
from tidemill.endpoint import Endpoint
from tidemill.errors import IncompatibleError, SubmissionError
from tidemill.job import DeadRow, Effects, Input, Job, Live, ModelContent, Output, Rows, VersionCut
from tidemill.log import TopicSpec
from tidemill.order import Batch, EventTime, Order

PREDICTIONS, METRICS = "predictions", "metrics"
Ends = tuple[Ints, Ints, Floats]


class LinkState(msgspec.Struct):
    """The graph, the model with its past, and what was measured: sums over `count` edges since the last version.
    `edges` counts from the beginning; `version` is the newest cut, `after` the highest number there was before."""

    graph: TemporalGraph
    links: LinkModel
    edges: int = 0
    version: int = 0
    after: int = 0
    count: int = 0
    reciprocal: float = 0.0
    reciprocal_mix: float = 0.0
    reciprocal_bank: float = 0.0
    below: float = 0.0
    share: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LinkJob:
    """A job that grows the graph of `spec`, and learns which edges of `relation` appear: each edge is predicted from
    all before it in the job's order, and then learned (the *causal* protocol of `graph.evaluate`).

    It emits on `predictions.<name>` a `prediction.made.v1` for each edge as it appears: `score` is the share of the
    true target among itself and `negatives` drawn ones, and `outputs` are [oddness, share]: oddness is the share of
    the drawn ones that the model held likelier. On `metrics.<name>`, every `metrics_every` edges, what it was against
    these negatives since the last version: the mean reciprocal rank (`mrr`; of one true target it is the average
    precision as well), beside those of the training-free mix of recencies and popularity (`mrr_mix`) that it should
    beat and of EdgeBank (`mrr_edgebank`), and `auc`, the mean share of the negatives that came below, ties by half. A
    version every `version_every` edges, and deltas between.

    The endpoint (`endpoint`, or the stream of the first rule for `relation`) answers for an event of that stream that
    did not happen yet; see `graph.link_question`. What was retracted stays in the model's past.

    Raises `SubmissionError` where the settings do not fit together, `ConfigError` where model or question cannot be
    built of theirs.
    """

    name: str
    spec: GraphSpec
    relation: str
    endpoint: str | None = None
    scales: Sequence[float] = SCALES
    negatives: int = 20
    against: int = 50
    seed: int = 0
    order: Order = field(default_factory=EventTime)
    metrics_every: int = 1_000
    version_every: int = 10_000
    commit_every: float = 0.5
    kind: ClassVar[type[LinkState]] = LinkState

    def job(self) -> Job[LinkState]:
        rule = self.spec.rule_of(self.relation, f"job {self.name}")
        if not all(is_whole(every, 1, 1 << 62) for every in (self.metrics_every, self.version_every)):
            got = f"metrics_every={self.metrics_every}, version_every={self.version_every}"
            raise SubmissionError("counts out of range", where=f"job {self.name}", wanted="1 or more", got=got)
        if self.serves(rule).name == self.name:
            raise SubmissionError(
                "job and endpoint have one name, so their predictions would share a topic",
                where=f"job {self.name}",
                fix="Name the job, or endpoint=, otherwise",
            )
        self._content(self._begin())  # what cannot be built is refused here, not in the job's process
        kept = TopicSpec(retention_bytes=1 << 30)
        return Job(
            name=self.name,
            reads=self.reads,
            writes=(
                Output(PREDICTIONS, f"predictions.{self.name}", "prediction.made.v1", key="about"),
                Output(METRICS, f"metrics.{self.name}", "metrics.measured.v1", key="model", made=kept),
            ),
            step=self._step,
            init=self._begin,
            state=self.kind,
            order=self.order,
            needs=frozenset({"versions", "deltas"}),
            live=Live(models=lambda state: {self.name: self._content(state)}),
            endpoint=replace(self.serves(rule), replica=self.copy()),
            exact_merge=False,
            commit_every=self.commit_every,
            warm=self._warm,
            versions_after=lambda state, number: setattr(state, "after", number),
        )

    def copy(self) -> Job[LinkState]:
        """The job without what only the model's weights need: serving has those from versions and deltas."""
        return Job(
            name=self.name,
            reads=self.reads,
            step=self._grow,
            init=self._begin,
            state=self.kind,
            order=self.order,
            exact_merge=False,
            warm=self._warm,
        )

    @property
    def reads(self) -> tuple[Input, ...]:
        return self.spec.reads

    def _begin(self) -> LinkState:
        return self.kind(self.spec.graph(), self._links())

    @property
    def _relation(self) -> Relation:
        (it,) = (relation for relation in self.spec.relations if relation.name == self.relation)
        return it

    def _links(self) -> Any:
        settings = {"scales": self.scales, "negatives": self.negatives, "seed": self.seed}
        return LinkModel(**settings, bipartite=self._relation.bipartite)  # type: ignore[arg-type]

    def serves(self, rule: EdgeFrom) -> Endpoint:
        """How serving answers for an edge that may appear."""

        def asked(event: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"source": event[rule.source], "target": event[rule.target]}

        return Endpoint(
            name=self.endpoint or rule.stream,
            stream=rule.stream,
            model=self.name,
            job=self.name,
            needs=frozenset({rule.source, rule.target}),
            asked=asked,
            asked_from={"source": rule.source, "target": rule.target},
        )

    def _content(self, state: LinkState) -> ModelContent:
        return content_of(self._asks, {"weights": state.links.weights.copy()})

    @cached_property
    def _asks(self) -> Any:
        return LinkQuestion(relation=self.relation, scales=self.scales, against=self.against, seed=self.seed)

    def _taken(self, state: LinkState, batch: Batch) -> tuple[list[DeadRow], list[tuple[Block, Ends]]]:
        """Into the graph: dead events, and the relation's edges: their events, and ends and times as the past has
        them."""
        it = state.graph.relations[self.relation]
        if state.links.past.bipartite != it.bipartite:
            raise IncompatibleError(
                "a saved state does not fit",
                where=f"job {self.name}",
                wanted=f"a past whose negatives are of type {it.target}",
                got="one of before, which drew from both types",
                fix="Submit under a new name, or with --reset to learn again from the log.",
            )
        dead, edges = self.spec.taken(state.graph, batch, self.relation)
        return dead, [(block, (*named(it, src, dst), block.time / 1e6)) for block, src, dst in edges]

    def _grow(self, state: LinkState, batch: Batch) -> Effects[LinkState]:
        dead, edges = self._taken(state, batch)
        for _, ends in edges:
            state.links.past.update(*ends)
        return Effects(state, dead=dead)

    def _step(self, state: LinkState, batch: Batch) -> Effects[LinkState]:
        out = Effects(state)
        dead, edges = self._taken(state, batch)
        out.dead += dead
        for block, (src, dst, time) in edges:
            at = 0
            while at < len(block):
                # Versions and measurements come after the same edges however they are cut.
                upto = min(len(block), at + self._due(state))
                part = slice(at, upto)
                self._learn(state, block.take(part), src[part], dst[part], time[part], out)
                at = upto
        return out

    def _follow(self, state: LinkState, block: Block, src: Any, dst: Any, time: Any) -> Any:
        return state.links.follow(src, dst, time)

    def _due(self, state: LinkState) -> int:
        return min(every - state.edges % every for every in (self.metrics_every, self.version_every))

    def _learn(self, state: LinkState, block: Block, src: Any, dst: Any, time: Any, out: Effects[LinkState]) -> None:
        told = self._follow(state, block, src, dst, time)
        odd = (told.rank - 1.0) / self.negatives
        columns = {
            "about": block.ids.tolist(),
            "model": [self.name] * len(block),
            "version": [self._version(state)] * len(block),
            "score": told.share,
            "outputs": np.stack([odd, told.share], axis=1).tolist(),
        }
        ids = [
            f"{source}/{id}#{state.edges + i}"
            for i, (source, id) in enumerate(zip(block.sources.tolist(), block.ids.tolist(), strict=True))
        ]
        out.emit.append(Rows(PREDICTIONS, block.time, ids, columns))
        state.edges += len(block)
        state.count += len(block)
        for share, rank, mix, bank in zip(*(column.tolist() for column in told), strict=True):
            state.share += share
            state.reciprocal += 1.0 / rank
            state.reciprocal_mix += 1.0 / mix
            state.reciprocal_bank += 1.0 / bank
            state.below += 1.0 - (rank - 1.0) / self.negatives
        last = (int(block.time[-1]), str(block.sources[-1]), str(block.ids[-1]))
        if state.edges % self.metrics_every == 0:
            columns = {
                "model": [self.name],
                "version": [self._version(state)],
                "count": [state.count],
                "values": [self._measured(state)],
            }
            out.emit.append(Rows(METRICS, np.array([last[0]], np.int64), [f"{self.name}/{state.edges}"], columns))
        if state.edges % self.version_every == 0:
            state.version = max(state.version, state.after) + 1
            out.versions.append(VersionCut(self.name, state.version, last, self._content(state), self._measured(state)))
            state.count, state.share, state.below = 0, 0.0, 0.0
            state.reciprocal, state.reciprocal_mix, state.reciprocal_bank = 0.0, 0.0, 0.0

    @staticmethod
    def _version(state: LinkState) -> str:
        return str(state.version) if state.version else ""

    @staticmethod
    def _measured(state: LinkState) -> dict[str, float]:
        n = max(state.count, 1)
        return {
            "mrr": state.reciprocal / n,
            "mrr_mix": state.reciprocal_mix / n,
            "mrr_edgebank": state.reciprocal_bank / n,
            "auc": state.below / n,
            "share": state.share / n,
        }

    def _warm(self) -> None:
        warm(self.spec)
        links = self._links()
        links.follow([0, 1], [1, 0], [0.0, 1.0])
        links.past.update([0], [1], [2.0])


def link_job(**settings: Any) -> Job[LinkState]:
    """The job of a `LinkJob` with the settings given."""
    return LinkJob(**settings).job()
