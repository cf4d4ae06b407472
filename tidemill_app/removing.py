"""Removing a job: what this home keeps of it, its entry in the table of jobs, and with `purge` the topics of its own.

What others may build on stays: its predictions and other outputs, the streams it read, its model versions, and their
deltas: a server tells by the numbers in one topic where a job began anew. A job of that name that is submitted later
goes on from the progress that stays, or with `purge` begins at the log's beginning.
"""

from __future__ import annotations

import shutil

import msgspec

from streams import progress
from streams.state_store import FolderStore
from tidemill.errors import IncompatibleError
from tidemill_app.job_table import REMOVED, JobFiles, JobTable
from tidemill_app.submission import check_at_rest, kept_by_engines
from tidemill_app.wiring import Platform


class Plan(msgspec.Struct, frozen=True):
    """What there is of a job in the log: topics that are its own, and those it wrote that others may build on."""

    job: str
    own: list[str]
    kept: list[str]


def plan(platform: Platform, name: str) -> Plan:
    """What removing the job would come to. Raises `NotFoundError`, `IncompatibleError` where it may be running."""
    table = platform.jobs()
    table.get(name)
    check_at_rest(platform, name, table)
    made = progress.last(platform.log, name)
    models = sorted(made.deltas) if made is not None else []
    there = platform.log.topics()
    # The progress goes last: what is cut short before that can be done again.
    own = [
        f"metrics.{name}",
        f"features.{name}",
        f"dead.{name}",
        f"replayed.{name}",
        *kept_by_engines(name),
        progress.topic_of(name).topic,
    ]
    kept = [f"predictions.{name}", *(f"deltas.{model}" for model in models), "models"]
    return Plan(name, [t for t in own if t in there], [t for t in kept if t in there])


def remove(platform: Platform, what: Plan, *, purge: bool) -> None:
    """Forget the job; with `purge` delete its own topics.

    Raises `IncompatibleError` where another job reads one of them; nothing is changed then.
    """
    table = platform.jobs()
    if purge:
        _refuse_where_read(platform, table, what)
    FolderStore(platform.home.path / "state").clear(what.job)
    for topic in what.own if purge else ():
        platform.delete_topic(topic)
    files = JobFiles(platform.home, what.job)
    shutil.rmtree(files.folder, ignore_errors=True)
    for log in files.log.parent.glob(files.log.name + "*"):
        log.unlink(missing_ok=True)
    table.change(what.job, wanted=REMOVED, reason="")


def _refuse_where_read(platform: Platform, table: JobTable, what: Plan) -> None:
    for other in sorted(table.jobs.keys() - {what.job}):
        made = progress.last(platform.log, other)
        read = {topic for topic, _, _ in made.offsets} if made is not None else set()
        if shared := sorted(read.intersection(what.own)):
            raise IncompatibleError(
                "another job reads what would be deleted",
                where=f"job {what.job}",
                got=f"job {other} reads {', '.join(shared)}",
                fix="Remove that job first, or remove this one without --purge.",
            )
