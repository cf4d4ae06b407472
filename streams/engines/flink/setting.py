"""What a job's operators are told, and what they tell each other: plain data, since it crosses machines."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import socket
import sys
import threading
from typing import Any

import msgspec

from streams.engines.recovery import Positions
from streams.journal import Entry
from streams.pipeline import Counts, Source
from streams.provenance import RunningHash
from tidemill import state as states
from tidemill.block import Block
from tidemill.engine import Parts
from tidemill.errors import SubmissionError
from tidemill.job import Job
from tidemill.log import Partition
from tidemill.order import PartitionClock

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

MAX_SHARDS = 32
"""Parts that the groups of a job are dealt to: one is worked by one operator at a time."""

Loaded = tuple[Job[Any], Parts]


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one job. `worker` names a function (`module:function`) that takes `options` and gives the job and its
    parts on the machine that works it; `starts` are the offsets where the job began, `[topic, partition, offset]`."""

    job: str
    worker: str
    options: dict[str, Any]
    starts: list[tuple[str, int, int]]
    streams: list[str]
    shards: int
    mode: str = "process"
    after: int = 0
    snapshot_every: float = 10.0
    python: str = PYTHON

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @property
    def sources(self) -> list[Source]:
        """The partitions read, in the order in which they are numbered."""
        rows = zip(self.starts, self.streams, strict=True)
        return [Source(Partition(topic, number), stream) for (topic, number, _), stream in rows]

    @property
    def positions(self) -> Positions:
        return {Partition(topic, number): at for topic, number, at in self.starts}


_loading = threading.Lock()
_loaded: dict[str, tuple[bytes, tuple[Setting, Job[Any], Parts]]] = {}
"""The newest run of each job. In thread mode the process outlives it."""


def load(encoded: bytes) -> tuple[Setting, Job[Any], Parts]:
    """The setting, and the job and parts that its worker makes; once in a process, whose operators are threads.

    Raises `SubmissionError` where another Python works the job than submitted it, or in another mode than was chosen.
    """
    with _loading:
        _give_print_back()
        setting = msgspec.json.decode(encoded, type=Setting)
        before, found = _loaded.get(setting.job, (b"", None))
        if found is None or before != encoded:
            found = _load(setting)
            _loaded[setting.job] = encoded, found
        return found


def mode_in_force() -> str:
    """How this Python runs beside the JVM. In it, it has a module that only Java can give it."""
    return "thread" if "_pemja" in sys.modules else "process"


def _give_print_back() -> None:
    """PyFlink puts a method of its own for `print`, and numba, which looks every builtin up by its module, then fails
    to be imported. What is printed is logged all the same: the streams are PyFlink's too."""
    own = getattr(getattr(builtins.print, "__self__", None), "_print", None)
    if own is not None:
        builtins.print = own


def _load(setting: Setting) -> tuple[Setting, Job[Any], Parts]:
    if setting.mode != (mode := mode_in_force()):
        raise SubmissionError(
            "Python does not run as the job was told",
            where=f"job {setting.job} on {socket.gethostname()}",
            wanted=f"mode {setting.mode}",
            got=mode,
            fix="Submit it with the mode that this cluster gives it (option mode).",
        )
    if setting.python != PYTHON:
        raise SubmissionError(
            "another Python works the job than submitted it",
            where=f"job {setting.job} on {socket.gethostname()}",
            wanted=f"Python {setting.python}",
            got=f"{PYTHON} ({sys.executable})",
            fix="Name one of that version there by the option python, or bring one by archive.",
        )
    job, parts = worker_of(setting.worker)(setting.options)
    job.warm()
    return setting, job, parts


def worker_of(name: str) -> Any:
    """The function behind `module:function`. Raises `SubmissionError` where there is none."""
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise _no_worker(name, error) from None


def find_worker(name: str) -> None:
    """Raises `SubmissionError` where there is no such module; the module itself is not imported."""
    module, _, _ = name.partition(":")
    try:
        if importlib.util.find_spec(module) is None:
            raise _no_worker(name, f"no module {module!r}")
    except (ImportError, ValueError) as error:
        raise _no_worker(name, error) from None


def _no_worker(name: str, why: object) -> SubmissionError:
    return SubmissionError("no such worker", where="flink", wanted="module:function", got=f"{name}: {why}")


class Admitted(msgspec.Struct, kw_only=True):
    """What a run of one partition's records brings to one shard: events, and how the partition stands after it.

    `letters` are dead letters to send, which go to the first shard only; `moved` the moves of its clock by the engine.
    """

    source: int
    position: int
    clock: PartitionClock
    running: RunningHash
    counts: Counts
    blocks: list[Block] = []
    labels: list[tuple[int, int]] = []
    letters: list[tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]] = []
    moved: list[Entry] = []

    def encode(self) -> bytes:
        return states.encode(self)


def shard_of(groups: int, shards: int) -> list[int]:
    """The shard of each group: runs of neighbours, of sizes that differ by one at most."""
    return [group * shards // groups for group in range(groups)]
