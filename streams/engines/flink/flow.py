"""How a job runs on a Flink cluster, and which settings would lose data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from streams import progress
from tidemill.errors import SubmissionError
from tidemill.job import Job

CHECKPOINT_TIMEOUT_MS = 300_000
"""A checkpoint waits for the step that is running, and one step may be over all that a log holds."""
RESTART_MS = 120_000
"""What a restart may take: until then the brokers must keep what a checkpoint has pre-committed."""


ENVIRONMENT = "environment"
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


class Choices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What whoever submits a job may choose.

    `gather_ms` is for how long records are gathered to a run, `checkpoint_ms` how often results become visible,
    `transaction_timeout_ms` for how long the brokers keep a transaction that no one ends, `savepoint` what to start
    from, once. `mode` is how Python runs beside the JVM: in a process for each operator, or in threads of the JVM.
    `savepoint_asked` tells one asking for a savepoint from another.

    `archive` is a file of whoever submits that is unpacked for the job on each machine, into the folder `environment`;
    `python` is the Python there that works the job: a path on those machines, or one that begins with `environment/`.
    """

    parallelism: int = 1
    gather_ms: int = 20
    checkpoint_ms: int = 1000
    transaction_timeout_ms: int = 600_000
    delivery_guarantee: str = "exactly-once"
    transactional_id_prefix: str = ""
    mode: Literal["process", "thread"] = "process"
    savepoint: str = ""
    savepoint_asked: str = ""
    archive: str = ""
    python: str = ""

    @property
    def executable(self) -> str:
        """The Python that works the job; empty for the cluster's own."""
        return self.python or (f"{ENVIRONMENT}/bin/python" if self.archive else "")

    @property
    def given(self) -> str:
        """The savepoint that is asked for, and which asking that is."""
        return f"{self.savepoint} {self.savepoint_asked}".strip()


def prefix_of(job: str, choices: Choices) -> str:
    """What the names of the job's transactions begin with. Of two jobs with the same, each would end what the other has
    written and not yet committed."""
    return choices.transactional_id_prefix or f"tidemill.{job}.flink"


def topics(job: Job[Any]) -> str:
    """A regular expression of the topics that the job may write to."""
    fixed = [o.topic for o in job.writes] + [f"dead.{job.name}", f"features.{job.name}", "models"]
    names = [re.escape(name) for name in [*fixed, progress.topic_of(job.name).topic]]
    return "|".join([*sorted(set(names)), r"deltas\..+"])


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """A job's choices, and what the roof knows: settings of Kafka's Java client, jars to ship, Python files to ship
    (`.py`, or `.zip` of packages), the folder of savepoints (empty: the cluster's own)."""

    kafka: dict[str, str]
    choices: Choices = Choices()
    jars: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    savepoints: str = ""
    longest_transaction_ms: int = 900_000


def choices_of(job: str, options: Mapping[str, str]) -> Choices:
    """The choices behind a job's options. Raises `SubmissionError`, naming the option, for one that there is not or
    that cannot be used."""
    try:
        return msgspec.convert(dict(options), Choices, strict=False)
    except msgspec.ValidationError as error:
        names = ", ".join(Choices.__struct_fields__)
        raise SubmissionError("an option cannot be used", where=f"job {job}", wanted=names, got=str(error)) from None


def check(job: str, flow: Flow) -> None:
    """Raises `SubmissionError`, naming the setting, for what would lose data or can never work."""
    chosen = flow.choices
    refuse = partial(_refuse, job)

    if chosen.delivery_guarantee != "exactly-once":
        refuse(
            "delivery_guarantee",
            "loses or doubles events when a machine dies",
            "exactly-once",
            chosen.delivery_guarantee,
        )
    least = chosen.checkpoint_ms + CHECKPOINT_TIMEOUT_MS + RESTART_MS
    if chosen.transaction_timeout_ms < least:
        refuse(
            "transaction_timeout_ms",
            "shorter than a checkpoint plus a restart: the brokers would throw away what was committed",
            f"at least {least}",
            chosen.transaction_timeout_ms,
        )
    if chosen.transaction_timeout_ms > flow.longest_transaction_ms:
        refuse(
            "transaction_timeout_ms",
            "longer than the brokers allow (transaction.max.timeout.ms)",
            f"at most {flow.longest_transaction_ms}",
            chosen.transaction_timeout_ms,
        )
    for field, least, most in (("parallelism", 1, 1024), ("gather_ms", 5, 10_000), ("checkpoint_ms", 50, 3_600_000)):
        value = getattr(chosen, field)
        if not least <= value <= most:
            refuse(field, "out of range", f"{least} to {most}", value)
    _check_python(job, chosen)


def _check_python(job: str, chosen: Choices) -> None:
    # The interpreter in a TaskManager is there before the job comes, and has its packages.
    if chosen.mode == "thread" and (chosen.archive or chosen.python):
        field = "archive" if chosen.archive else "python"
        _refuse(
            job, field, "in thread mode the TaskManager's own Python works every job", "none, or mode=process", "both"
        )
    # In Flink's settings a comma begins the next file, and a # the name of the folder.
    if (file := chosen.archive) and not (
        Path(file).is_absolute() and Path(file).is_file() and file.endswith(ARCHIVES) and not set(file) & set(",#")
    ):
        wanted = f"the absolute path of a file here that ends in {', '.join(ARCHIVES)}, with no comma or # in it"
        _refuse(job, "archive", "no archive that could be sent along", wanted, file)
    # Flink's runner gives it to a shell.
    if chosen.python and not re.fullmatch(r"[\w./+-]+", chosen.python):
        _refuse(job, "python", "no Python's path", "letters, digits and . / _ + - only", chosen.python)
    if chosen.python.startswith(f"{ENVIRONMENT}/") and not chosen.archive:
        _refuse(job, "python", "there is no environment without an archive", "the option archive", chosen.python)


def _refuse(job: str, field: str, message: str, wanted: str, got: object) -> None:
    raise SubmissionError(message, where=f"job {job}, option {field}", field=field, wanted=wanted, got=str(got))
