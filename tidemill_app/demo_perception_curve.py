"""What the demo's log says afterwards: accuracy against money, how soon labels were live; and labelling at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.learners.delta import apply_delta
from tidemill import events
from tidemill.errors import BadEvent
from tidemill.events import DeltaPublished, LabelGiven
from tidemill.job import Job
from tidemill.label_events import AnswerGiven, LabelAsked, LabelSettled
from tidemill.log import Log, Partition
from tidemill.stream import answer_stream, label_stream
from tidemill_app.demo_annotators import Simulated
from tidemill_app.demo_digits import CLASSES, Digits
from tidemill_app.demo_perception import COST, HEAD, OVERLAP, PROJECT, SURE, Answered, Seen
from tidemill_app.report import quantile
from tidemill_app.stepping import Stepped


class Point(msgspec.Struct, array_like=True):
    """Money spent, labels learned, and accuracy on the digits that nobody labels."""

    spent: float
    labels: int
    accuracy: float


class Way(msgspec.Struct, frozen=True, array_like=True):
    """A label's way from a person to the live model, by when (UTC µs) its answer was sent; read by the labelling
    service; appended to the log; settled (the label's own append); learned (the delta's append); and visible in a
    scoring answer. An append's time is the writer's: how long a reader waits for it is part of the next stretch."""

    sent: int
    read: int
    kept: int
    settled: int
    learned: int
    visible: int

    @property
    def whole(self) -> float:
        """Milliseconds from the sending to the scoring answer."""
        return (self.visible - self.sent) / 1e3

    def hops(self) -> dict[str, float]:
        """Milliseconds of each stretch, by where it leads to."""
        names = self.__struct_fields__
        at = [getattr(self, name) for name in names]
        return {name: (b - a) / 1e3 for name, a, b in zip(names[1:], at[:-1], at[1:], strict=True)}


class Story(msgspec.Struct, kw_only=True):
    """What the log tells: the learning curve; the way of each label that one answer settled, from sending that answer
    to the first scoring answer of a model that has learned it; how many labels were right; why items were asked for."""

    curve: list[Point]
    ways: list[Way]
    answers: int
    settled: int
    right: int
    reasons: dict[str, int]
    doubtful: list[tuple[str, str, float]]


def records(log: Log, topic: str) -> list[tuple[int, Any]]:
    """The events of a topic of one partition, each with the time (µs) it was appended at."""
    at = Partition(topic, 0)
    if topic not in log.topics():
        return []
    end, found = log.end(at), []
    reader = log.reader({at: log.begin(at)})
    try:
        while reader.positions()[at] < end:
            for record in reader.poll(5_000, 0.1):
                try:
                    found.append((record.timestamp, events.decode(record.value or b"")))
                except BadEvent:
                    continue
    finally:
        reader.close()
    return found


def story(log: Log, job: Job[Any], digits: Digits, answers: dict[str, Answered], seen: Sequence[Seen]) -> Story:
    """Read the labels' topic and the deltas, and tell."""
    labels = records(log, f"labels.{PROJECT}")
    deltas = [(at, e) for at, e in records(log, f"deltas.{HEAD}") if isinstance(e, DeltaPublished)]
    truth = dict(zip(digits.ids, digits.labels.tolist(), strict=True))
    given = {e.about: str(e.value) for _, e in labels if isinstance(e, LabelGiven)}
    asked = [e for _, e in labels if isinstance(e, LabelAsked)]
    reasons: dict[str, int] = {}
    for ask in asked:
        reasons[ask.reason] = reasons.get(ask.reason, 0) + 1
    return Story(
        curve=curve(labels, deltas, job, digits),
        ways=ways(labels, deltas, answers, seen),
        answers=sum(isinstance(e, AnswerGiven) for _, e in labels),
        settled=len(given),
        right=sum(CLASSES[truth[id]] == value for id, value in given.items() if id in truth),
        reasons=reasons,
        doubtful=[
            (ask.about, str(ask.prelabel["value"]), float(ask.prelabel["confidence"])) for ask in asked if ask.prelabel
        ],
    )


def curve(
    labels: Sequence[tuple[int, Any]], deltas: Sequence[tuple[int, DeltaPublished]], job: Job[Any], digits: Digits
) -> list[Point]:
    """After each delta: what had been spent when it was published, and how good the model then was."""
    paid = [(at, e.cost) for at, e in labels if isinstance(e, AnswerGiven)]
    state = dict(job.init().learner.content().state)
    points, spent, i = [Point(0.0, 0, _accuracy(state, digits))], 0.0, 0
    for at, delta in deltas:
        state = apply_delta(state, delta.changes)
        while i < len(paid) and paid[i][0] <= at:
            spent += paid[i][1]
            i += 1
        points.append(Point(spent, delta.labels, _accuracy(state, digits)))
    return points


def ways(
    labels: Sequence[tuple[int, Any]],
    deltas: Sequence[tuple[int, DeltaPublished]],
    answers: Mapping[str, Answered],
    seen: Sequence[Seen],
) -> list[Way]:
    """The way of each label that an answer settled at once: from the sending of that answer (`answers`, by item and
    annotator) to the first scoring answer whose delta covers the label. One settled by what others said elsewhere has
    no such answer."""
    found = []
    newest: dict[str, tuple[int, AnswerGiven]] = {}
    settling: dict[str, tuple[int, AnswerGiven]] = {}
    for appended, event in labels:
        if isinstance(event, AnswerGiven):
            newest[event.about] = (appended, event)
        elif isinstance(event, LabelSettled) and event.about in newest and newest[event.about][1].time == event.time:
            settling[event.about] = newest[event.about]
        elif isinstance(event, LabelGiven) and event.about in settling:
            kept, answer = settling.pop(event.about)
            sent = answers.get(f"{answer.about}/{answer.by}")
            learned, covers = next(((at, d.sequence) for at, d in deltas if d.labelled >= appended), (0, None))
            at = next((s.at for s in seen if covers is not None and s.delta >= covers), None)
            # Before the scoring server has its first version, there is nobody to answer.
            if sent is not None and at is not None and sent.sent >= seen[0].at:
                found.append(Way(sent.sent, answer.time, kept, appended, learned, at))
    return found


def by_chance(
    head: Job[Any],
    agree: Job[Any],
    digits: Digits,
    people: Sequence[Simulated],
    budget: float,
    seed: int = 0,
) -> list[Point]:
    """The same two jobs, stepped in this process, on digits drawn at random: who labels, what an answer costs, when a
    label is settled and how it is learned are as in the demo; only the choice is chance."""
    heads = Stepped(head, {PROJECT: digits.spec(), f"labels.{PROJECT}": label_stream(PROJECT)})
    agrees = Stepped(agree, {f"answers.{PROJECT}": answer_stream(PROJECT)})
    now = 1_700_000_000_000_000
    classes = [{"id": c, "name": c} for c in CLASSES]
    schema = {"kind": "single", "medium": "image", "classes": classes}
    project: dict[str, Any] = {"type": "project.changed.v1", "schema": schema, "overlap": list(OVERLAP), "sure": SURE}
    agrees.step(f"answers.{PROJECT}", "project", now, **project)
    for id, vector in zip(digits.ids, digits.embeddings.round(4).tolist(), strict=True):
        heads.step(PROJECT, id, now, embedding=vector)
    rng = np.random.default_rng(seed)
    points = [Point(0.0, 0, _accuracy(heads.state.learner.content().state, digits))]
    spent, learned = 0.0, 0
    for at in rng.permutation(len(digits.ids)).tolist():
        id, settled = digits.ids[at], False
        for i in rng.permutation(len(people)).tolist():
            if settled or spent + COST > budget + 1e-9:
                break
            spent += COST
            now += 50_000
            value = CLASSES[people[i].answer(id, int(digits.labels[at]))]
            answer = {"type": "answer.given.v1", "about": id, "by": people[i].name, "value": value, "schema": 1}
            rows = agrees.step(f"answers.{PROJECT}", f"{id}/{people[i].name}", now, **answer)
            settled = any(row["output"] == "settled" and row["about"] == id for row in rows)
            for n, row in enumerate(row for row in rows if row["output"] == "given"):
                heads.step(f"labels.{PROJECT}", f"{now}/{n}", now, about=row["about"], value=row["value"])
                learned += 1
        points.append(Point(spent, learned, _accuracy(heads.state.learner.content().state, digits)))
        if spent + COST > budget + 1e-9:
            break
    return points


def _accuracy(state: dict[str, NDArray[np.float64]], digits: Digits) -> float:
    logits = digits.test.embeddings @ state["weight"].T + state["bias"]
    return float((logits.argmax(axis=1) == digits.test.labels).mean())


def stretches(found: Sequence[Way], share: float) -> dict[str, float]:
    """The quantile `share` of each stretch of the ways, in milliseconds."""
    hops = [way.hops() for way in found]
    return {name: quantile([hop[name] for hop in hops], share) for name in hops[0]} if hops else {}


def at_money(points: Sequence[Point], money: float) -> float:
    """The accuracy of the last point that cost no more."""
    return next((p.accuracy for p in reversed(points) if p.spent <= money + 1e-9), float("nan"))
