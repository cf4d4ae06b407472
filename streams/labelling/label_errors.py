"""The recipe that finds doubtful labels and sends them back: confident learning over predictions and settled labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from streams.labelling.confident import Rank, doubtful
from streams.labelling.items import Item, ItemFields, probabilities
from streams.recipe import job_of
from tidemill.errors import BadEvent, SubmissionError
from tidemill.job import Effects, Input, InputEvent, Job, Out, Output, events_of
from tidemill.label_events import DOUBTFUL
from tidemill.order import Arrival, Batch, Order

ASKED = "asked"


class Judged(msgspec.Struct, array_like=True):
    """An item: its turn, what it was taken for before it had a label, by which model, its label (−1: none), the label
    that was sent back (−1: none), and the item once it came."""

    turn: int
    p: list[float] = []
    made_by: str = ""
    label: int = -1
    sent: int = -1
    item: Item | None = None


class State(msgspec.Struct):
    """The items, and how many labels came since the last round."""

    judged: dict[str, Judged] = {}
    turns: int = 0
    coming: int = 0
    rounds: int = 0
    asked: int = 0

    def __post_init__(self) -> None:
        self.judged = dict(sorted(self.judged.items(), key=lambda one: one[1].turn))


@dataclass(frozen=True, kw_only=True)
class LabelErrors:
    """A job that reads the predictions of `endpoint` about items of stream `project` and the labels that were settled,
    and sends the doubtful ones back: `label.asked.v1` on `labels.<project>` with reason `doubtful label`.

    **Out of sample.** Of each item the last prediction before its label counts, which no model made that had learned
    the label; what is predicted later is passed over. `outputs` must be the probabilities of `classes`, in their order.

    **Rounds.** After every `every` labels (first ones and changed ones), if there are `least` labelled predictions,
    `streams.labelling.confident.doubtful` looks at all that are kept, at most `kept` items, the newest; the `budget`
    most doubtful are sent back, `total` in all. A label is sent back once; where another comes back, it may be too.
    `overlap` is how many answers such an item needs then; None: one more than it has, of somebody who gave none of
    them. It is on the reviewers' list besides, until one of them decides or it was answered anew.

    Raises `SubmissionError` where the settings do not fit together.
    """

    name: str
    project: str
    endpoint: str
    classes: Sequence[str]
    every: int = 200
    least: int = 100
    budget: int = 20
    total: int | None = None
    rank: Rank = "self_confidence"
    media: str | None = "media"
    media_type: str | None = "media_type"
    group: str | None = None
    show: Sequence[str] = ()
    overlap: tuple[int, int] | None = None
    priority: float = 1.0
    kept: int = 50_000
    order: Order = field(default_factory=Arrival)

    def fields(self) -> ItemFields:
        """Where an item's parts stand in its event."""
        return ItemFields(self.media, self.media_type, self.group, show=tuple(self.show))

    def job(self) -> Job[State]:
        """The job. Raises `SubmissionError` where the settings do not fit together."""
        where = f"job {self.name}"
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise SubmissionError("classes must be named once each, and at least two", where=where)
        if min(self.every, self.least, self.budget, self.kept, 1 if self.total is None else self.total) <= 0:
            raise SubmissionError("counts must be positive", where=where)
        if self.rank not in ("self_confidence", "normalised_margin"):
            raise SubmissionError("no such ranking", where=where, got=repr(self.rank))

        def step(state: State, batch: Batch) -> Effects[State]:
            return _Turn(self, state).over(batch)

        return Job(
            name=self.name,
            reads=(
                Input(self.project, fields=self.fields().asks()),
                Input(f"predictions.{self.endpoint}"),
                Input(f"labels.{self.project}"),
            ),
            writes=(Output(ASKED, f"labels.{self.project}", "label.asked.v1", key="about"),),
            step=step,
            init=State,
            state=State,
            order=self.order,
        )


label_errors = job_of(LabelErrors)
"""The job of a `LabelErrors` with the settings given."""


class _Turn:
    """One step over one batch."""

    def __init__(self, recipe: LabelErrors, state: State) -> None:
        self.recipe, self.state, self.out = recipe, state, Out()
        self.fields = recipe.fields()
        self.numbers = {name: i for i, name in enumerate(recipe.classes)}

    def over(self, batch: Batch) -> Effects[State]:
        """Step the batch's events; there are no deadlines."""
        labels = f"labels.{self.recipe.project}"
        for event in events_of(batch):
            if event.stream == self.recipe.project:
                self._judged(event.id).item = self.fields.of(event.data)
            elif event.stream == labels:
                self._label(event)
            else:
                self._prediction(event)
        return Effects(self.state, self.out.rows(), None, self.out.dead)

    def _judged(self, id: str) -> Judged:
        state = self.state
        found = state.judged.get(id)
        if found is None:
            if len(state.judged) >= self.recipe.kept:
                del state.judged[next(iter(state.judged))]
            state.turns += 1
            found = state.judged[id] = Judged(state.turns)
        return found

    def _prediction(self, event: InputEvent) -> None:
        try:
            p = probabilities(event.data, len(self.recipe.classes))
        except BadEvent as error:
            self.out.refuse(event, error)
            return
        judged = self._judged(event.data["about"])
        if judged.label < 0:
            judged.p, judged.made_by = p, f"{event.data['model']}@{event.data['version']}"

    def _label(self, event: InputEvent) -> None:
        state, value = self.state, event.data["value"]
        judged = self._judged(event.data["about"])
        number = -1 if value is None else self.numbers.get(str(value), -1)
        if number == judged.label:
            return
        judged.label = number
        if number < 0:
            return
        state.coming += 1
        if state.coming >= self.recipe.every:
            state.coming = 0
            state.rounds += 1
            self._round(event.time)

    def _round(self, time: int) -> None:
        """Look at all labels that are kept, and send the most doubtful back."""
        state, recipe = self.state, self.recipe
        whole = [(id, one) for id, one in state.judged.items() if one.label >= 0 and one.p]
        if len(whole) < recipe.least:
            return
        P, labels = np.array([one.p for _, one in whole]), np.array([one.label for _, one in whole])
        doubts = doubtful(P, labels, rank=recipe.rank)
        left = recipe.budget if recipe.total is None else min(recipe.budget, recipe.total - state.asked)
        for at in doubts.rows.tolist():
            if left <= 0:
                break
            id, one = whole[at]
            if one.item is None or one.sent == one.label:
                continue
            left -= 1
            one.sent = one.label
            state.asked += 1
            best = int(doubts.likeliest[at])
            told = {"value": recipe.classes[best], "confidence": one.p[best], "model": one.made_by}
            self.out.emit(
                ASKED,
                f"{recipe.name}/{id}/{state.rounds}",
                time,
                about=id,
                **one.item.asked(),
                priority=recipe.priority + 1.0 - float(doubts.quality[at]),
                overlap=recipe.overlap,
                skills=[],
                reason=DOUBTFUL,
                prelabel=told,
            )
