"""How a job runs on a Flink cluster, and which settings would lose data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from tidemill.errors import SubmissionError

CHECKPOINT_TIMEOUT_MS = 60_000
RESTART_MS = 120_000
"""What a restart may take: until then the brokers must keep what a checkpoint has pre-committed."""


class Choices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What whoever submits a job may choose.

    `gather_ms` is for how long records are gathered to a run, `checkpoint_ms` how often results become visible,
    `transaction_timeout_ms` for how long the brokers keep a transaction that no one ends, `savepoint` what to start
    from, once. `mode` is how Python runs beside the JVM; only `process` is right: in thread mode PyFlink 2.2.1 fails on
    an empty state of bytes, and gives one row again and again where an array of rows comes from Java. `savepoint_asked`
    tells one asking for a savepoint from another.
    """

    parallelism: int = 1
    gather_ms: int = 100
    checkpoint_ms: int = 1000
    transaction_timeout_ms: int = 600_000
    delivery_guarantee: str = "exactly-once"
    transactional_id_prefix: str = ""
    mode: Literal["process"] = "process"
    savepoint: str = ""
    savepoint_asked: str = ""

    @property
    def given(self) -> str:
        """The savepoint that is asked for, and which asking that is."""
        return f"{self.savepoint} {self.savepoint_asked}".strip()


def prefix_of(job: str, choices: Choices) -> str:
    """What the names of the job's transactions begin with. Of two jobs with the same, each would end what the other has
    written and not yet committed."""
    return choices.transactional_id_prefix or f"tidemill.{job}.flink"


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """A job's choices, and what the roof knows: settings of Kafka's Java client, jars to ship, the folder of savepoints
    (empty: the cluster's own).

    `python`, `files` and `archives` are for clusters whose machines do not have the project installed (Flink's
    `python.executable`, `python.files`, `python.archives`).
    """

    kafka: dict[str, str]
    choices: Choices = Choices()
    jars: tuple[str, ...] = ()
    python: str = ""
    files: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
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

    def refuse(field: str, message: str, wanted: str, got: object) -> None:
        raise SubmissionError(message, where=f"job {job}", field=field, wanted=wanted, got=str(got))

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
