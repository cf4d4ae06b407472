"""Waiting from outside until a running job's graph has passed a barrier."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from streams import progress
from streams.replica import UNREAD, Replica
from tidemill.errors import UnavailableError
from tidemill.job import Job
from tidemill_app.copies import parts_of
from tidemill_app.graphs import job_of
from tidemill_app.wiring import Platform

_PAUSE = 0.05


class Reached(msgspec.Struct):
    """Whether everything before the barrier `name` is in the graph that the job has committed. That was seen at
    `position`, after so many events of the job: an answer of this position or a later one is of a graph with it all."""

    job: str
    name: str
    reached: bool
    position: int


def reached(platform: Platform, job: str, name: str, wait: float = 0.0) -> Reached:
    """Whether the job has passed the barrier, waiting up to `wait` seconds for it.

    It is asked of a copy that steps through the job's own commits, as a scoring server's does, so what lies in the log
    and was not committed yet does not count. To make the copy takes as long as it takes. Raises as `job_of` does, and
    `UnavailableError` where the copy cannot be made.
    """
    made = job_of(platform, job)
    # Of a job that answers of its graph, the copy does: it learns nothing.
    copy: Job[Any] = (made.endpoint and made.endpoint.replica) or made
    replica = Replica(copy, parts_of(platform, copy))
    replica.start()
    end = time.monotonic() + wait
    try:
        while True:
            late = time.monotonic() >= end  # before the look, so that the last one is not older than the deadline
            if replica.ready:
                with replica.held() as (state, position):
                    there = state.graph.reached(name)
                if there or late:
                    return Reached(made.name, name, there, position)
            elif late and replica.stale:
                raise UnavailableError("its graph cannot be asked", where=f"job {made.name}", got=replica.problem)
            elif late and (replica.problem == UNREAD or progress.last(platform.log, made.name) is None):
                return Reached(made.name, name, False, 0)
            time.sleep(_PAUSE)
    finally:
        replica.close()
