"""Asking again what was answered of a live graph: of the same state, made anew from the log, by the same weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec

from graph.question import KINDS, Question, question
from serving.asked import answered
from serving.deltas import delta_of
from streams import progress
from streams.learners.delta import apply_delta
from streams.replica import visit
from tidemill import events
from tidemill.endpoint import Endpoint
from tidemill.errors import NotFoundError, TidemillError, UserError
from tidemill.events import ModelPublished, PredictionMade
from tidemill.job import ModelContent
from tidemill.log import Log, Partition
from tidemill_app.copies import parts_of
from tidemill_app.publisher import load_content
from tidemill_app.wiring import Platform

SHOWN = 10


class Verified(msgspec.Struct):
    """`asked` answers were asked again; `equal` have the same evidence, and the same score to a millionth of it.
    `difference` is the largest of a score, `unequal` the first ids that differ, `skipped` counts by reason."""

    endpoint: str
    asked: int = 0
    equal: int = 0
    difference: float = 0.0
    unequal: list[str] = []
    skipped: dict[str, int] = {}


def verify(platform: Platform, endpoint: Endpoint) -> Verified:
    """Ask everything in `predictions.<endpoint>` again. Raises `UserError` where the endpoint is not asked of a graph,
    `NotFoundError` where its job has not begun."""
    job = endpoint.replica
    if job is None:
        raise UserError("the endpoint is asked of no graph", where=f"endpoint {endpoint.name}")
    made = _made(platform.log, endpoint)
    committed = progress.last(platform.log, job.name)  # after them, so that their states are committed
    if committed is None:
        raise NotFoundError("the job has committed nothing yet", where=f"job {job.name}")
    out = Verified(endpoint.name)
    states = _states(platform, endpoint.model, {(p.version, p.delta) for p in made})
    at: dict[int, list[PredictionMade]] = defaultdict(list)
    for one in made:
        if (one.version, one.delta) not in states:
            _skip(out, "the weights it was answered with are gone from the log")
        elif one.position > committed.stepped:
            _skip(out, "the job has not committed its state")
        else:
            at[one.position].append(one)
    differ: list[tuple[str, float]] = []

    def visited(state: Any, position: int) -> None:
        for one in at.pop(position):
            values = {"time": one.time, **(one.asked or {})}
            asked = states[one.version, one.delta]
            try:
                again = answered(asked, state, position, values, evidence=bool(one.evidence))
            except (TidemillError, KeyError) as error:
                _skip(out, f"the job's code does not answer it: {type(error).__name__}")
                continue
            out.asked += 1
            difference = abs(float(again.outputs["score"]) - one.score)
            if difference <= 1e-6 * max(abs(one.score), 1e-9) and one.evidence in ("", again.evidence):
                out.equal += 1
                out.difference = max(out.difference, difference)
            else:
                differ.append((one.id, difference))

    erased = visit(job, parts_of(platform, job), committed, sorted(at), visited)
    if erased:
        # Which of them came before an answer is not known: what differs is no proof of anything.
        out.asked -= len(differ)
        for _ in range(len(differ) + sum(map(len, at.values()))):
            _skip(out, f"it may rest on what was erased since ({erased:,} events)")
        return out
    out.unequal = [id for id, _ in differ[:SHOWN]]
    out.difference = max([out.difference, *(difference for _, difference in differ)])
    return out


def _skip(out: Verified, reason: str) -> None:
    out.skipped[reason] = out.skipped.get(reason, 0) + 1


def _made(log: Log, endpoint: Endpoint) -> list[PredictionMade]:
    """The answers of the endpoint, and of its model over the Open Inference Protocol."""
    found = []
    for name in (endpoint.name, f"{endpoint.model}-asked"):
        for value in _values(log, f"predictions.{name}"):
            event = events.decode(value)
            if isinstance(event, PredictionMade) and event.model == endpoint.model and event.asked is not None:
                found.append(event)
    return found


def _values(log: Log, topic: str) -> list[bytes]:
    """All values of a topic; none where there is no such topic."""
    there = log.topics()
    if topic not in there:
        return []
    ends = {p: log.end(p) for p in (Partition(topic, n) for n in range(there[topic]))}
    reader = log.reader({p: log.begin(p) for p in ends})
    found: list[bytes] = []
    try:
        while any(reader.positions()[p] < end for p, end in ends.items()):
            found += [r.value for r in reader.poll(5_000, 0.1) if r.value is not None]
    finally:
        reader.close()
    return found


def _states(platform: Platform, model: str, wanted: set[tuple[str, int]]) -> Mapping[tuple[str, int], Question]:
    """The model as it was served, by version and delta: from the versions that are kept, and the deltas since. Deltas
    are numbered anew where a job begins anew, versions never.

    A server that has not heard of a version yet takes the deltas behind it all the same, and calls them those of the
    version before: what it has then is the same, for a version changes nothing.
    """
    versions = {event.version: event for event in _versions(platform, model)}
    found: dict[tuple[str, int], Question] = {}
    for event in versions.values():
        if (event.version, event.delta) in wanted and (content := _content(platform, event)) is not None:
            found[event.version, event.delta] = _question(content)
    content, before = None, -1
    row: dict[str, None] = {}  # the versions since which no delta is missing
    for delta in filter(None, map(delta_of, _values(platform.log, f"deltas.{model}"))):
        start = versions.get(delta.base)
        if delta.sequence != before + 1:
            content, row = None, {}
        if start is not None and delta.sequence == start.delta + 1:
            content, row = _content(platform, start), {**row, delta.base: None}
        before = delta.sequence
        if content is not None:
            content = ModelContent(content.kind, content.params, apply_delta(content.state, delta.changes))
            for version in row:
                if (version, delta.sequence) in wanted:
                    found[version, delta.sequence] = _question(content)
    return found


def _question(content: ModelContent) -> Question:
    asked = question(content.kind, content.params)
    asked.load_state(content.state)
    return asked


def _versions(platform: Platform, model: str) -> list[ModelPublished]:
    found = [events.decode(value) for value in _values(platform.log, "models")]
    return [e for e in found if isinstance(e, ModelPublished) and e.model == model and e.kind in KINDS]


def _content(platform: Platform, event: ModelPublished) -> ModelContent | None:
    try:
        _, files = platform.artefacts.load(event.model, event.version, event.version_digest)
        return load_content(files)
    except TidemillError:
        return None
