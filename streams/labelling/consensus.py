"""The recipe of a consensus job: people's answers about a project's items become labels, answer by answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from streams.labelling.categorical import METHODS
from streams.labelling.project import Project, Settings
from streams.labelling.telling import Page, outputs
from streams.recipe import job_of
from tidemill.errors import BadEvent, SubmissionError
from tidemill.job import DeadRow, Effects, Input, Job, events_of
from tidemill.order import Arrival, Batch, Order
from tidemill.time import SECOND


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """A job that settles the labels of project `project` by `method` (default name: `<project>-consensus`).

    It reads `answers.<project>`, and writes onto `labels.<project>`: a `label.estimated.v1` after every answer, and
    `label.settled.v1`, `label.revised.v1` and `label.given.v1` (by `consensus:<method>`) where they fall due. What they
    mean stands in `tidemill.label_events`, when an item is settled in `streams.labelling.settling`.

    `method` is `majority`, `weighted` (by agreement with the majority), `one-coin` or `dawid-skene`; `smoothing` the
    pseudo-answers of the last two. After `every` changes, and at least a share `growth` of the answers that stand,
    everything is estimated anew, and what moved is published; after `quiet` seconds of event time without a change, and
    on `estimation.asked.v1`, whatever differs is. What is published then last is a function of the answers that stand:
    not of their order, nor of how often they came. Every estimation writes a `metrics.measured.v1` onto
    `metrics.<name>`: how many answers, items, annotators and labels there are, and the calibration of the posterior on
    items whose label is known (`streams.labelling.calibration`).

    Raises `SubmissionError` where the settings do not fit together.
    """

    project: str
    name: str = ""
    method: str = "dawid-skene"
    smoothing: float = 1.0
    every: int = 100
    growth: float = 0.1
    quiet: float = 60.0
    order: Order = field(default_factory=Arrival)
    commit_every: float = 0.1

    def job(self) -> Job[Project]:
        """The job. Raises `SubmissionError` where the settings do not fit together."""
        self._check()
        stream, name = f"answers.{self.project}", self.name or f"{self.project}-consensus"
        settings = Settings(
            name=name,
            method=self.method,
            smoothing=float(self.smoothing),
            every=self.every,
            growth=float(self.growth),
            quiet=round(self.quiet * SECOND),
        )

        def init() -> Project:
            return Project(**msgspec.structs.asdict(settings))

        return Job(
            name=name,
            reads=(Input(stream),),
            step=step,
            init=init,
            state=Project,
            writes=outputs(self.project, name),
            order=self.order,
            commit_every=self.commit_every,
        )

    def _check(self) -> None:
        def refuse(message: str, got: object, wanted: str) -> None:
            raise SubmissionError(message, where=f"job {self.name or self.project}", got=str(got), wanted=wanted)

        if self.method not in METHODS:
            refuse("unknown method", self.method, f"one of {', '.join(METHODS)}")
        if not (self.smoothing >= 0 and self.growth >= 0 and self.every >= 1):
            refuse("settings out of range", f"{self.smoothing}, {self.growth}, {self.every}", "≥ 0, ≥ 0, ≥ 1")
        if round(self.quiet * SECOND) < 1:
            refuse("quiet must last", self.quiet, "a microsecond or more")


def step(state: Project, batch: Batch) -> Effects[Project]:
    """The step of the job: events one by one, what they bring in runs."""
    page, effects = Page(), Effects(state)
    for event in events_of(batch):
        state.serve(event.time, page)
        try:
            state.take(event.data, event.id, event.time, page)
        except BadEvent as error:
            effects.dead.append(DeadRow(event.place, error))
    if batch.wake is not None:
        state.serve(batch.wake, page)
    state.flush(page)
    effects.emit, effects.wake_at = page.emit(), state.deadline
    return effects


consensus = job_of(Consensus)
"""The job of a `Consensus` with the settings given."""
