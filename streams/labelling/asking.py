"""The recipe of what is to be labelled next: from predictions and items to `label.asked.v1`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from streams.labelling.candidates import Candidate, Open, State
from streams.labelling.choice import Pick, check_shares, choose
from streams.labelling.items import ItemFields, probabilities
from streams.recipe import job_of
from streams.regions import PREDICTED
from tidemill.errors import BadEvent, ConfigError, SubmissionError
from tidemill.job import Effects, Input, InputEvent, Job, Out, Output, events_of
from tidemill.order import Arrival, Batch, Order
from tidemill.time import DAY, SECOND

ASKED = "asked"
CENTRES, VERSIONS = 1_000, 4
"""Embeddings of asked items that are kept, and model versions of which an item's probabilities are."""


@dataclass(frozen=True, kw_only=True)
class AskNext:
    """A job that reads the predictions of `endpoints` about the items of stream `project` and asks for labels of those
    that teach most: `label.asked.v1` on `labels.<project>`, with the model's guess as `prelabel`, the strategy as
    `reason`, and `priority` + how much it was wanted as priority.

    **Candidates** are items that have come (events of the stream: `media`, `media_type`, `group` name its fields,
    `show` those that annotators are shown), have a prediction, are not asked about and have no label. A
    later prediction of a model version takes the place of its earlier one; `outputs` must be the probabilities of
    `classes`, in their order (where there are none, the score is that of the second of two). At most `pool` candidates
    are kept, the newest.

    **Rounds.** A round is held when `every` predictions have come since the last, and at multiples of `window` seconds
    of event time. In each, `choose` takes at most `budget` by `strategies`, shares by name, at most `per_group` of a
    group; `total` bounds what is ever asked, and no round takes more than leaves `most_open` items open (asked and not
    labelled; one that got no label in `patience` seconds of event time counts no more). `at_least` is the least margin
    uncertainty, 1 − (p₁ − p₂), that is doubtful at all.

    **Drift.** Errors of predictions are counted as labels come, by `region`: a field of the items, or the predicted
    class. Where the recent error rate is above the long one, strategy `drift` asks. So it does where a job of `watched`
    told on `metrics.<job>` that errors grew in such a region (`drift.detected.v1` by the same field, or by `@class`),
    by as much, and less with every label from there. Of more than `candidates.REGIONS` the most used count. **Spread**
    needs `embedding`, a `json` field of the items that holds a list of numbers. **Routing:** `skills` names, by
    predicted class, what an annotator must be able to do; `group_skills` likewise by group.

    Probabilities that are none are dead-lettered. Raises `SubmissionError` where the settings do not fit together.
    """

    name: str
    project: str
    endpoints: Sequence[str]
    classes: Sequence[str]
    strategies: Mapping[str, float] = field(default_factory=lambda: {"margin": 1.0})
    budget: int = 10
    total: int | None = None
    every: int | None = 100
    window: float | None = None
    most_open: int | None = None
    per_group: int | None = None
    at_least: float = 0.0
    patience: float = DAY / SECOND
    media: str | None = "media"
    media_type: str | None = "media_type"
    group: str | None = None
    region: str | None = None
    watched: Sequence[str] = ()
    embedding: str | None = None
    show: Sequence[str] = ()
    skills: Mapping[str, Sequence[str]] = field(default_factory=dict)
    group_skills: Mapping[str, Sequence[str]] = field(default_factory=dict)
    overlap: tuple[int, int] | None = None
    priority: float = 0.0
    among: int = 10
    pool: int = 5_000
    remember: int = 100_000
    seed: int = 0
    order: Order = field(default_factory=Arrival)
    commit_every: float = 0.2

    def fields(self) -> ItemFields:
        """Where an item's parts stand in its event."""
        return ItemFields(self.media, self.media_type, self.group, self.region, self.embedding, tuple(self.show))

    def job(self) -> Job[State]:
        """The job. Raises `SubmissionError` where the settings do not fit together."""
        _check(self)

        def step(state: State, batch: Batch) -> Effects[State]:
            return _Turn(self, state).over(batch)

        return Job(
            name=self.name,
            reads=(
                Input(self.project, fields=self.fields().asks()),
                *(Input(f"predictions.{endpoint}") for endpoint in self.endpoints),
                Input(f"labels.{self.project}"),
                *(Input(f"metrics.{job}") for job in self.watched),
            ),
            writes=(Output(ASKED, f"labels.{self.project}", "label.asked.v1", key="about"),),
            step=step,
            init=State,
            state=State,
            order=self.order,
            commit_every=self.commit_every,
        )


ask_next = job_of(AskNext)
"""The job of an `AskNext` with the settings given."""


class _Turn:
    """One step over one batch."""

    def __init__(self, recipe: AskNext, state: State) -> None:
        self.recipe, self.state, self.out = recipe, state, Out()
        self.fields = recipe.fields()
        self.numbers = {name: i for i, name in enumerate(recipe.classes)}

    def over(self, batch: Batch) -> Effects[State]:
        """Step the batch's events, then its wake."""
        state, labels = self.state, f"labels.{self.recipe.project}"
        for event in events_of(batch):
            self._serve(event.time)
            state.clock = max(state.clock, event.time)
            if event.stream == self.recipe.project:
                self._item(event)
            elif event.stream == labels:
                self._label(event)
            elif event.stream.startswith("metrics."):
                self._drift(event)
            else:
                self._prediction(event)
        if batch.wake is not None:
            self._serve(batch.wake)
        return Effects(state, self.out.rows(), state.due, self.out.dead)

    def _serve(self, time: int) -> None:
        """Hold the round of the window that is over."""
        state = self.state
        if state.due is not None and state.due <= time:
            at, state.due = state.due, None
            state.clock = max(state.clock, at)
            self._round(state.clock)

    def _item(self, event: InputEvent) -> None:
        state = self.state
        if state.known(event.id):
            return
        candidate = state.candidate(event.id, self.recipe.pool)
        candidate.item = self.fields.of(event.data)
        self._come(candidate)

    def _prediction(self, event: InputEvent) -> None:
        state, data = self.state, event.data
        about = data["about"]
        if state.known(about):
            return
        try:
            p = probabilities(data, len(self.recipe.classes))
        except BadEvent as error:
            self.out.refuse(event, error)
            return
        candidate = state.candidate(about, self.recipe.pool)
        made_by = f"{data['model']}@{data['version']}"
        candidate.outputs.pop(made_by, None)
        while len(candidate.outputs) >= VERSIONS:
            del candidate.outputs[next(iter(candidate.outputs))]
        candidate.outputs[made_by] = p
        candidate.newest = made_by
        self._come(candidate)

    def _come(self, candidate: Candidate) -> None:
        """A candidate is whole, or has a newer prediction."""
        state, recipe = self.state, self.recipe
        if candidate.item is None or not candidate.newest:
            return
        if recipe.window is not None and state.due is None:
            span = round(recipe.window * SECOND)
            state.due = (state.clock // span + 1) * span
        state.coming += 1
        if recipe.every is not None and state.coming >= recipe.every:
            self._round(state.clock)

    def _label(self, event: InputEvent) -> None:
        state, about, value = self.state, event.data["about"], event.data["value"]
        if value is None:  # taken back: the labelling service hands out again what was asked about and lacks a label
            return
        found = state.label(about, self.recipe.remember)
        number = self.numbers.get(str(value))
        if found is not None and number is not None:
            region = found[0] or self.recipe.classes[found[1]]
            state.region(region).add(found[1] != number)

    def _drift(self, event: InputEvent) -> None:
        """A job that watches found that errors in a region grew, or fell again."""
        by, region, value = (event.data[name] for name in ("by", "region", "value"))
        if by == (self.recipe.region or PREDICTED) and region and value is not None and np.isfinite(value):
            self.state.region(region).told = max(0.0, float(value))

    def _round(self, time: int) -> None:
        """Choose, and ask."""
        state, recipe = self.state, self.recipe
        state.coming = 0
        state.rounds += 1
        late = time - round(recipe.patience * SECOND)
        budget = recipe.budget
        if recipe.total is not None:
            budget = min(budget, recipe.total - state.asked)
        if recipe.most_open is not None:
            budget = min(budget, recipe.most_open - sum(asked.time > late for asked in state.open.values()))
        if budget <= 0:
            return
        pool = state.as_pool(recipe.at_least)
        if not recipe.region:
            pool.rise = np.array([self._rise(i) for i in pool.P.argmax(axis=1).tolist()])
        picks = choose(
            pool,
            recipe.strategies,
            budget,
            seed=recipe.seed + state.rounds,
            per_group=recipe.per_group,
            among=recipe.among,
        )
        for pick in picks:
            self._ask(pool.ids[pick.at], pick, time)

    def _rise(self, best: int) -> float:
        region = self.state.regions.get(self.recipe.classes[best])
        return 0.0 if region is None else region.rise

    def _ask(self, id: str, pick: Pick, time: int) -> None:
        state, recipe = self.state, self.recipe
        candidate = state.pool.pop(id)
        item = candidate.item
        assert item is not None
        p = candidate.outputs[candidate.newest]
        best = int(np.argmax(p))
        name = recipe.classes[best]
        state.asked += 1
        state.open[id] = Open(state.turn(), time, item.region or name, best)
        while len(state.open) > recipe.remember:
            del state.open[next(iter(state.open))]
        if item.embedding is not None:
            state.centres = [*state.centres, item.embedding][-CENTRES:]
        skills = dict.fromkeys([*recipe.skills.get(name, ()), *recipe.group_skills.get(item.group, ())])
        self.out.emit(
            ASKED,
            f"{recipe.name}/{id}/{state.rounds}",
            time,
            about=id,
            **item.asked(),
            priority=recipe.priority + pick.score,
            overlap=recipe.overlap,
            skills=list(skills),
            reason=pick.strategy,
            prelabel={"value": name, "confidence": p[best], "model": candidate.newest},
        )


def _check(recipe: AskNext) -> None:
    def refuse(message: str, got: str = "", fix: str = "") -> None:
        raise SubmissionError(message, where=f"job {recipe.name}", got=got, fix=fix)

    try:
        check_shares(recipe.strategies)
    except ConfigError as error:
        refuse(error.message, error.got)
    if not recipe.endpoints or len(set(recipe.endpoints)) != len(recipe.endpoints):
        refuse("endpoints must be named once each, and at least one", ", ".join(recipe.endpoints))
    if len(recipe.classes) < 2 or len(set(recipe.classes)) != len(recipe.classes):
        refuse("classes must be named once each, and at least two", ", ".join(recipe.classes))
    if len(set(recipe.watched)) != len(recipe.watched):
        refuse("jobs that watch must be named once each", ", ".join(recipe.watched))
    if recipe.watched and "drift" not in recipe.strategies:
        refuse("no strategy heeds drift", ", ".join(recipe.strategies), 'Give "drift" a share of strategies.')
    if recipe.every is None and recipe.window is None:
        refuse("no round is ever held", fix="Say every= or window=.")
    if {"k_centre", "clusters"} & set(recipe.strategies) and recipe.embedding is None:
        refuse("to spread needs an embedding", fix="Name the field that holds it: embedding=.")
    counts = [recipe.budget, recipe.every, recipe.total, recipe.most_open, recipe.per_group, recipe.window]
    if min(value for value in (*counts, recipe.patience, recipe.among, recipe.pool) if value is not None) <= 0:
        refuse("times and counts must be positive")
