"""A job whose graph is asked what nobody learns: its endpoint, and the one version that says what is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from graph.question import content_of
from tidemill.endpoint import Endpoint
from tidemill.errors import SubmissionError
from tidemill.job import Effects, Job, VersionCut
from tidemill.order import Batch

S = TypeVar("S")


def asked_job(job: Job[S], question: Any, *, stream: str, field: str, endpoint: str) -> Job[S]:
    """`job` with an endpoint that asks `question` about the node that `field` of an event of `stream` names, as its
    input `node`, of a copy that steps as `job` does.

    The job's state has `version`, 0 until the version is cut, which is after the first event, and `after`, the highest
    number there was before. Raises `SubmissionError` where job and endpoint have one name.
    """
    if endpoint == job.name:
        raise SubmissionError("job and endpoint have one name", where=f"job {job.name}", fix="Name one otherwise")
    content = content_of(question)

    def asked(event: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"node": event[field]}

    def step(state: Any, batch: Batch) -> Effects[S]:
        effects = job.step(state, batch)
        if len(batch) and not state.version:
            state.version = max(1, state.after + 1)
            block, row = batch.blocks[batch.streams[batch.kind[0]]], int(batch.row[0])
            last = (int(batch.time[0]), str(block.sources[row]), str(block.ids[row]))
            effects.versions.append(VersionCut(job.name, state.version, last, content, {}))
        return effects

    return replace(
        job,
        step=step,
        needs=frozenset({"versions", "deltas"}),
        live=replace(job.live, models=lambda state: {job.name: content}),
        endpoint=Endpoint(
            name=endpoint,
            stream=stream,
            model=job.name,
            job=job.name,
            needs=frozenset({field}),
            asked=asked,
            asked_from={"node": field},
            replica=replace(job, writes=()),
        ),
        versions_after=lambda state, number: setattr(state, "after", number),
    )
