"""Removing a job: what this home keeps of it, its entry in the table of jobs, and with `purge` the topics of its own,
its rows in Redis, its spools and its unpacked code; what a running server has of these is left to it.

What others may build on stays: its predictions and other outputs, the streams it read, its model versions, and their
deltas: a server tells by the numbers in one topic where a job began anew. A job of that name that is submitted later
goes on from the progress that stays, or with `purge` begins at the log's beginning.
"""

from __future__ import annotations

import shutil

import msgspec

from connectors.redis_cache import FeatureCache
from serving.prediction_log import PredictionLog
from serving.spool import Spool
from streams import progress
from streams.state_store import FolderStore
from tidemill.errors import IncompatibleError, UnavailableError
from tidemill_app.alive import living
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
    """Forget the job; with `purge` delete its own topics, and what servers keep of it.

    Raises `IncompatibleError` where another job reads one of them; nothing is changed then. Raises `UnavailableError`
    where Redis or the brokers do not answer; the job is there still, to be removed later.
    """
    table = platform.jobs()
    if purge:
        _refuse_where_read(platform, table, what)
        _remove_served(platform, what.job)
        _remove_code(platform, table, what.job)
    FolderStore(platform.home.path / "state").clear(what.job)
    for topic in what.own if purge else ():
        platform.delete_topic(topic)
    files = JobFiles(platform.home, what.job)
    shutil.rmtree(files.folder, ignore_errors=True)
    for log in files.log.parent.glob(files.log.name + "*"):
        log.unlink(missing_ok=True)
    table.change(what.job, wanted=REMOVED, reason="")


def _remove_served(platform: Platform, name: str) -> None:
    """Its rows in Redis, and its spools: what was not sent of one is sent first, for predictions stay."""
    if platform.connection.redis.reveal():
        FeatureCache(platform.connection.redis_client(), name).forget()
    parent = platform.home.path / "spill" / name
    for folder in sorted(parent.glob("*/")):
        try:
            spool = Spool(folder)
        except UnavailableError:
            continue  # a server has it
        PredictionLog(name, platform.log, spool).drain()
        shutil.rmtree(folder)
    if parent.exists() and not any(parent.iterdir()):
        parent.rmdir()


def _remove_code(platform: Platform, table: JobTable, name: str) -> None:
    """Its newest code as it was unpacked here, unless another job runs the same; stored and signed it stays, for its
    versions to be rebuilt by."""
    digest, others = table.get(name).bundle, {wish.bundle for job, wish in table.jobs.items() if job != name}
    if digest and digest not in others and not living(platform.home, "serve"):
        shutil.rmtree(platform.home.path / "bundles" / digest, ignore_errors=True)


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
