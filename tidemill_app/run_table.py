"""What the log says of training runs: how each stands, its curves, and its lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tidemill import events
from tidemill.errors import BadEvent, NotFoundError
from tidemill.log import Log, TopicSpec
from tidemill.run_events import RunChanged, RunLogged, RunMeasured
from tidemill_app.reading import read_all

TOPIC = "runs"
LEAST = "recall (least of classes)"


def metrics_topic(run: str) -> str:
    return f"metrics.{run}"


def log_topic(run: str) -> str:
    return f"progress.{run}"


class Run(msgspec.Struct):
    """A run as its newest event says, with the first's time as `began`."""

    now: RunChanged
    began: int
    models: list[str] = []
    config: dict[str, Any] = {}

    @property
    def open(self) -> bool:
        """Whether there is something to go on from: it has not ended by itself."""
        return self.now.state != "finished"


def topics(log: Log, run: str) -> None:
    """Make the topics that a run writes."""
    for topic in (TOPIC, metrics_topic(run), log_topic(run)):
        log.create(topic, TopicSpec())


def runs(log: Log) -> dict[str, Run]:
    """Every run by its name, oldest first."""
    found: dict[str, Run] = {}
    if TOPIC not in log.topics():
        return found
    for record in read_all(log, TOPIC):
        try:
            event = events.decode(record.value or b"")
        except BadEvent:
            continue
        if isinstance(event, RunChanged):
            run = found.setdefault(event.run, Run(event, event.time))
            run.now = event
            run.config = event.config or run.config
            if event.state == "finished" and event.model and event.model not in run.models:
                run.models = [*run.models, event.model]
    return found


def find(log: Log, name: str) -> Run:
    """Raises `NotFoundError`."""
    there = runs(log)
    if name not in there:
        known = ", ".join(list(there)[-10:]) or "none yet"
        raise NotFoundError(f"no run {name!r}", wanted=f"one of: {known}", fix="See `tidemill run list`.")
    return there[name]


def free_name(log: Log, wanted: str) -> str:
    """`wanted`, or `wanted-2`, `wanted-3` ..., which no run has yet."""
    there, number = runs(log), 2
    name = wanted
    while name in there:
        name, number = f"{wanted}-{number}", number + 1
    return name


def newest(log: Log, wanted: str) -> Run | None:
    """The newest run that was begun under the name `wanted`."""
    mine = [run for name, run in runs(log).items() if name == wanted or _numbered(name, wanted)]
    return mine[-1] if mine else None


def _numbered(name: str, wanted: str) -> bool:
    return name.startswith(f"{wanted}-") and name.removeprefix(f"{wanted}-").isdecimal()


def curves(log: Log, run: str) -> dict[str, list[tuple[int, float]]]:
    """Each figure's values by step. Of a step that was measured again after a kill, the last counts."""
    found: dict[str, dict[int, float]] = {}
    for event in _read(log, metrics_topic(run)):
        if isinstance(event, RunMeasured):
            for name, value in event.values.items():
                found.setdefault(name, {})[event.step] = value
    return {name: sorted(values.items()) for name, values in sorted(found.items())}


def of_class(figure: str) -> bool:
    """Whether a figure is one class's (`test.recall.<class>`): there may be a hundred of them."""
    return figure.removeprefix("test.").startswith("recall.")


def folded(figures: Mapping[str, float]) -> dict[str, float]:
    """Figures for a person: the least recall stands for all classes'."""
    of = [value for name, value in figures.items() if of_class(name)]
    rest = {name: value for name, value in figures.items() if not of_class(name)}
    return rest | ({LEAST: min(of)} if of else {})


def lines(log: Log, run: str) -> list[RunLogged]:
    """The run's log."""
    return [event for event in _read(log, log_topic(run)) if isinstance(event, RunLogged)]


def _read(log: Log, topic: str) -> list[Any]:
    if topic not in log.topics():
        return []
    found = []
    for record in read_all(log, topic):
        try:
            found.append(events.decode(record.value or b""))
        except BadEvent:
            continue
    return found
