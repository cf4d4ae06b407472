"""The recipe of a classifier of events on a live graph: grow it, predict each event from what is around its nodes, wait
for the label, make the outcome part of the graph, learn, measure, publish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from graph.job import warm
from graph.mapping import EdgeFrom, GraphSpec, NodeFrom, Rule
from graph.neighbourhood import SCALES, Neighbourhood, types_of
from graph.store import TemporalGraph
from streams.classifier import OnlineClassifier
from streams.drift import DriftMonitor
from streams.join import Latest, Waiting
from streams.learning import BlockFeatures, Counts, Features, Plan, State
from streams.ledger import Ledger
from streams.recipe import DAY, Positive, job_of
from streams.scoreboard import Scoreboard
from streams.stats import Running, key_maker
from streams.table import Tables
from streams.walk import Walk
from tidemill.block import Block
from tidemill.endpoint import Endpoint
from tidemill.errors import ConfigError, SubmissionError
from tidemill.job import DeadRow, Effects, Input, Job, Live
from tidemill.learner import LEARN
from tidemill.order import Batch, EventTime
from training.graph_learner import GraphLearner

AT = "@"
"""Before the name of a seed: the column of its node numbers."""


@dataclass(frozen=True)
class Outcome:
    """When an event's label comes, an edge of `relation` is made from its seed `source` to its seed `target`, at the
    label's time, with the label (1 or 0) as its only feature. None where one of the seeds is null."""

    relation: str
    source: str
    target: str


class GraphState(State, kw_only=True):
    """Of the job, whose `learner` looks at `graph`; and of its copy, of which the learner learns nothing."""

    learner: GraphLearner
    graph: TemporalGraph


@dataclass(frozen=True, kw_only=True)
class GraphClassifier:
    """A job that grows the graph of `spec` and learns a binary class of the events of `stream` while it predicts them.

    `seeds` are the event's nodes: the field that names each, and its type. One seed is node classification, several the
    classification of an edge or of what happened between them. A seed must be made a node by a rule of the stream, so
    that it is known at the event; it may be null where that rule is optional. An event is predicted from its own
    features, the features of its seeds' nodes, and the `k` newest edges of each seed along each view, one or two `hops`
    far (`graph.neighbourhood`; `along` names the views, `scales` are seconds), all strictly earlier than the event.

    `features`, `tables`, `label`, `positive`, `timeout`, `corrections` and so on are those of an `OnlineClassifier`,
    and what becomes of labels and predictions is said there. When a label comes, the `outcomes` become part of the
    graph at its time: so what happened spreads along it. Learning is in batches (`batch`, `replay`, `kept`, `rate`,
    `decay`, `seed`: see `GraphLearner`); versions are questions (`graph.class_question`).

    An event that a rule of the graph cannot use is dead-lettered and not predicted; one whose features cannot be made
    is dead-lettered too, and is part of the graph all the same. The order is `EventTime`: with another, an edge that
    comes late would change what an event is learned from after it was predicted. The graph has no time to live, for
    old events are looked at as of their own time.

    Raises `SubmissionError` where the settings do not fit together.
    """

    name: str
    spec: GraphSpec
    stream: str
    seeds: Mapping[str, str]
    features: Sequence[str] | Features
    outcomes: Sequence[Outcome] = ()
    feature_names: Sequence[str] = ()
    features_block: BlockFeatures | None = None
    label: str | None = None
    positive: Positive = True
    along: Sequence[Sequence[str]] | None = None
    k: int = 10
    hops: int = 1
    scales: Sequence[float] = SCALES
    batch: int = 8
    replay: int = 16
    kept: int = 8_192
    rate: float = 0.0005
    decay: float = 0.1
    seed: int = 0
    tables: Sequence[Running | Latest] = ()
    order: EventTime = field(default_factory=EventTime)
    timeout: float = 7 * DAY
    corrections: float = DAY
    max_waiting: int = 200_000
    metrics: Mapping[str, Any] = field(default_factory=dict)
    metrics_every: int = 1_000
    drift: str | None = "adwin"
    version_every: int = 10_000
    endpoint: str | None = None
    optional: Sequence[str] = ()
    commit_every: float = 0.5

    def job(self) -> Job[GraphState]:
        base, around = self._base(), self._around()
        self._check()
        made = base.job()
        names = (*base.names, *(AT + name for name in self.seeds), AT)
        learns: dict[str, Any] = {
            "batch": self.batch,
            "replay": self.replay,
            "kept": self.kept,
            "rate": self.rate,
            "decay": self.decay,
            "seed": self.seed,
        }

        def learner() -> GraphLearner:
            return GraphLearner(names, around=around.params(), **learns)

        plan = replace(base.plan(), feature_names=names, log_features=False, bulk=False)
        kept = Stepping(self, plan, base)
        job: Job[GraphState] = replace(
            made,
            reads=merged(made.reads, self.spec.reads),
            step=kept.step,
            init=lambda: kept.begin(learner()),
            state=GraphState,
            live=Live(
                models=lambda state: {self.name: state.learner.content()}, tables=lambda state: state.tables.by_name
            ),
            exact_merge=False,
            warm=lambda: self._warm(learner()),
        )
        # Of the same state, so that it can begin with the job's snapshot.
        copying = Stepping(self, replace(plan, emits=False, version_labels=None), base)
        copy: Job[GraphState] = Job(
            name=self.name,
            reads=job.reads,
            step=copying.step,
            init=job.init,
            state=GraphState,
            order=self.order,
            exact_merge=False,
            warm=lambda: warm(self.spec),
        )
        return replace(job, endpoint=self._serves(base, copy))

    def _base(self) -> OnlineClassifier:
        return OnlineClassifier(
            name=self.name,
            stream=self.stream,
            features=self.features,
            feature_names=self.feature_names,
            features_block=self.features_block,
            label=self.label,
            positive=self.positive,
            tables=self.tables,
            order=self.order,
            timeout=self.timeout,
            corrections=self.corrections,
            max_waiting=self.max_waiting,
            metrics=self.metrics,
            metrics_every=self.metrics_every,
            drift=self.drift,
            version_every=self.version_every,
            endpoint=self.endpoint,
            optional=self.optional,
            commit_every=self.commit_every,
        )

    def _around(self) -> Neighbourhood:
        settings = {"along": self.along, "k": self.k, "hops": self.hops, "scales": self.scales}
        try:
            return Neighbourhood(types_of(self.spec.graph()), list(self.seeds.items()), **settings)  # type: ignore[arg-type]
        except ConfigError as error:
            raise SubmissionError(
                error.message, where=f"job {self.name}", wanted=error.wanted, got=error.got, fix=error.fix
            ) from None

    def _serves(self, base: OnlineClassifier, copy: Job[GraphState]) -> Endpoint:
        def asked(event: Mapping[str, Any]) -> Mapping[str, Any]:
            return {name: "" if event[name] is None else event[name] for name in self.seeds}

        served = base.serves()
        needs = None if served.needs is None else served.needs | frozenset(self.seeds)
        return replace(served, needs=needs, asked=asked, replica=copy)

    def _check(self) -> None:
        def refuse(message: str, wanted: str = "", got: str = "", fix: str = "") -> None:
            raise SubmissionError(message, where=f"job {self.name}", wanted=wanted, got=got, fix=fix)

        order: Any = self.order
        if not isinstance(order, EventTime):
            refuse("a graph is looked at as of an event's time", "order EventTime", type(order).__name__)
        if self.spec.ttl is not None:
            refuse("old events are looked at as of their own time", "a graph without ttl", f"ttl={self.spec.ttl}")
        relations = {r.name: r for r in self.spec.relations}
        made = {rule.relation for rule in self.spec.rules if isinstance(rule, EdgeFrom)}
        for one in self.outcomes:
            r = relations.get(one.relation)
            ends = (self.seeds.get(one.source), self.seeds.get(one.target))
            if r is None or ends != (r.source, r.target) or len(r.features) != 1 or one.relation in made:
                wanted = "a relation with one feature that no rule makes, between the types of two seeds"
                refuse("an outcome that does not fit", wanted, str(one))
        if taken := {"features", "time"} & set(self.seeds):
            refuse("a seed is called as another input of the model", "another field", ", ".join(sorted(taken)))
        sure = {name: self._type(rule, name) for name, rule in made_by(self.spec.rules, self.stream).items()}
        for name, node_type in self.seeds.items():
            if sure.get(name) != node_type:
                wanted = f"a rule of stream {self.stream} that makes a {node_type} of it"
                refuse("a seed that is not made a node by its event", wanted, name)

    def _type(self, rule: NodeFrom | EdgeFrom, name: str) -> str:
        if isinstance(rule, NodeFrom):
            return rule.node_type
        r = next(r for r in self.spec.relations if r.name == rule.relation)
        return r.source if rule.source == name else r.target

    def _warm(self, learner: GraphLearner) -> None:
        warm(self.spec)
        graph = self.spec.graph()
        learner.see(graph)
        X = np.zeros((self.batch, len(learner.features)))
        learner.run_block(np.full(len(X), 2, np.uint8), X, np.zeros(len(X)))
        Scoreboard.of({}).add(np.zeros(1), np.full(1, 0.5), np.zeros(1), [""])


class Stepping:
    """The step: the batch into the graph, and then the walk of an `OnlineClassifier` over it."""

    def __init__(self, recipe: GraphClassifier, plan: Plan, base: OnlineClassifier) -> None:
        self.recipe, self.spec, self.metrics = recipe, recipe.spec, base.metric_settings()
        seeds = tuple(AT + name for name in recipe.seeds)
        features, block = base.functions()

        def of_event(event: Mapping[str, Any], known: Any) -> Sequence[float]:
            return [*features(event, known), *(event[s] for s in seeds), event[AT]]

        def of_block(events: Block) -> Any:
            assert block is not None
            return np.column_stack([block(events), *(events.columns[s] for s in seeds), events.columns[AT]])

        self.plan = replace(plan, features=of_event, features_block=None if block is None else of_block)

    def begin(self, learner: GraphLearner) -> GraphState:
        drift = self.recipe.drift
        return GraphState(
            learner=learner,
            graph=self.spec.graph(),
            tables=Tables({t.name: t.table() for t in self.recipe.tables}),
            waiting=Waiting.of(len(self.plan.feature_names)),
            board=Scoreboard.of(self.metrics),
            counts=Counts(),
            drift=None if drift is None else DriftMonitor(drift),
        )

    def step(self, state: Any, batch: Batch) -> Effects[Any]:
        dead = self.spec.take(state.graph, batch.take(np.flatnonzero(np.isin(batch.kind, self._ruled(batch)))))
        state.learner.see(state.graph)
        effects = Walking(self.recipe, self.plan, state).over(self._numbered(state.graph, without(batch, dead)))
        effects.dead = dead + effects.dead
        return effects

    def _ruled(self, batch: Batch) -> list[int]:
        """The streams that make the graph: with others between, it would come in small pieces."""
        streams = {rule.stream for rule in self.spec.rules}
        return [kind for kind, stream in enumerate(batch.streams) if stream in streams]

    def _numbered(self, graph: TemporalGraph, batch: Batch) -> Batch:
        """With the node numbers of the events' seeds, and their times, as columns."""
        stream = self.recipe.stream
        if stream not in batch.blocks:
            return batch
        block = batch.blocks[stream]
        columns = {AT: block.time}
        for name, node_type in self.recipe.seeds.items():
            column = block.columns[name]
            ids = column if column.dtype.kind in "iu" else column.tolist()
            columns[AT + name] = graph.numbers(node_type, ids)
        one = msgspec.structs.replace(block, columns={**block.columns, **columns})
        return Batch(batch.streams, batch.kind, batch.row, batch.time, {**batch.blocks, stream: one}, batch.wake)


class Walking(Walk):
    """A walk that makes the outcome of each label part of the graph."""

    def __init__(self, recipe: GraphClassifier, plan: Plan, state: Any) -> None:
        super().__init__(plan, state)
        self.ledger = self._outcomes = Outcomes(recipe, plan, state)
        self._first = len(self.keys)
        self.keys += [key_maker((AT + name,)) for name in recipe.seeds]

    def _count_in(self, keys: tuple[str | None, ...], time: int, y: float) -> None:
        self._outcomes.note([int(key) for key in keys[self._first :] if key is not None], time, y)
        super()._count_in(keys, time, y)


class Outcomes(Ledger):
    """A ledger that puts outcomes into the graph before anything is looked at there. That of a copy, which emits
    nothing, neither predicts nor learns: what it keeps as scores is never looked at."""

    def __init__(self, recipe: GraphClassifier, plan: Plan, state: Any) -> None:
        super().__init__(plan, state)
        self._graph: TemporalGraph = state.graph
        names = list(recipe.seeds)
        self._rules = [(o.relation, names.index(o.source), names.index(o.target)) for o in recipe.outcomes]
        self._noted: list[tuple[list[int], int, float]] = []

    def note(self, seeds: list[int], time: int, y: float) -> None:
        """The label of an event with these seeds came."""
        self._noted.append((seeds, time, y))

    def run(self) -> None:
        graph, noted = self._graph, self._noted
        self._noted = []
        for relation, source, target in self._rules if noted else ():
            rows = [(s[source], s[target], time, y) for s, time, y in noted if s[source] >= 0 and s[target] >= 0]
            if rows:
                src, dst, time, y = (list(column) for column in zip(*rows, strict=True))
                it = graph.relations[relation]
                ends = graph.ids(it.source, src), graph.ids(it.target, dst)
                graph.add(relation, *ends, time, np.array(y, np.float32)[:, None])
        super().run()

    def _run_block(self, ops: Any, X: Any, y: Any) -> Any:
        return super()._run_block(ops, X, y) if self.plan.emits else np.full(int((ops != LEARN).sum()), 0.5)


def merged(first: Sequence[Input], second: Sequence[Input]) -> tuple[Input, ...]:
    """What both read, each stream once."""
    out = {i.stream: i for i in first}
    for other in second:
        one = out.get(other.stream)
        out[other.stream] = (
            other
            if one is None
            else replace(
                one,
                fields=tuple(dict.fromkeys([*one.fields, *other.fields])),
                types=tuple(dict.fromkeys([*one.types, *other.types])),
            )
        )
    return tuple(out.values())


def without(batch: Batch, dead: Sequence[DeadRow]) -> Batch:
    """The batch less what was refused."""
    if not dead:
        return batch
    gone = {row.place for row in dead}
    good = [
        batch.blocks[batch.streams[kind]].place(row) not in gone
        for kind, row in zip(batch.kind.tolist(), batch.row.tolist(), strict=True)
    ]
    return batch.take(np.flatnonzero(good), batch.wake)


def made_by(rules: Sequence[Rule], stream: str) -> dict[str, NodeFrom | EdgeFrom]:
    """The fields of the stream's events that are nodes for sure, unless they are null, and the rule that makes each."""
    mine = [rule for rule in rules if rule.stream == stream]
    sure: dict[str, NodeFrom | EdgeFrom] = {rule.id: rule for rule in mine if isinstance(rule, NodeFrom)}
    edges = [rule for rule in mine if isinstance(rule, EdgeFrom)]
    for rule in edges:
        if not rule.optional:
            sure |= {rule.source: rule, rule.target: rule}
    maybe: dict[str, NodeFrom | EdgeFrom] = {}
    for rule in edges:
        # The one end is always there, so the edge is made where the other is.
        if rule.optional and rule.source in sure:
            maybe.setdefault(rule.target, rule)
        if rule.optional and rule.target in sure:
            maybe.setdefault(rule.source, rule)
    return {**maybe, **sure}


graph_classifier = job_of(GraphClassifier)
"""The job of a `GraphClassifier` with the settings given."""
