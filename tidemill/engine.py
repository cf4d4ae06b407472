"""The engine protocol: what runs a job, and what it provides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tidemill.block import Column
from tidemill.decode import ArrowDecoder
from tidemill.errors import SubmissionError
from tidemill.job import NEEDS, Job, VersionCut, needs_of
from tidemill.log import Log, Record
from tidemill.state import StateStore
from tidemill.stream import StreamSpec
from tidemill.time import Clock
from tidemill.version import Lineage, Span

ArrowEncoder = Callable[[Mapping[str, Column]], bytes]
"""Bytes of an Arrow IPC stream of one record batch (`connectors.arrow.encode`)."""


class Publisher(Protocol):
    """Keeps model versions. `connectors.artefacts` is behind the one that the roof hands in."""

    def publish(self, cut: VersionCut, lineage: Lineage, delta: int) -> Mapping[str, Any]:
        """Store the version and return the fields of its `ModelPublished` event. It counts once that is committed:
        of what was stored and never committed nothing follows, and the same number may be stored again, otherwise.

        Of what is published already the same fields again, where the same job publishes the same content: an engine
        may not know whether it did. Raises `IncompatibleError` where the number is published with anything else."""
        ...

    def newest(self, job: str, models: Collection[str]) -> int:
        """The highest version number there is of what `job` published, and of `models`; 0 for none."""
        ...


class Objects(Protocol):
    """Bytes kept by digest; the artefact store is one."""

    def put(self, content: bytes) -> str:
        """Keep them; the SHA-256 digest to get them by."""
        ...

    def get(self, digest: str) -> bytes:
        """Raises `NotFoundError`, or `DigestError` where what is kept is something else."""
        ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the roof hands an engine. `history` gives the log over an input's history files; `objects` keep what grows
    without end of the record of a run's order (without them it stays in memory); `archive` gives the records of a range
    that the log has removed since a version was learned from them."""

    log: Log
    store: StateStore
    clock: Clock
    streams: Mapping[str, StreamSpec]
    publisher: Publisher | None = None
    objects: Objects | None = None
    arrow_decode: ArrowDecoder | None = None
    arrow_encode: ArrowEncoder | None = None
    history: Callable[[str, StreamSpec], Log] | None = None
    archive: Callable[[Span], Sequence[Record]] | None = None
    bundle: str = ""
    file: str = ""
    report: Callable[[dict[str, Any]], None] = lambda status: None


class EngineKind(Protocol):
    """An engine as it is known before it is made: `provides` names what of `tidemill.job.NEEDS` it can do, `options`
    what a submission may set. An engine that is a subclass takes over what is not its own."""

    @property
    def name(self) -> str: ...

    @property
    def provides(self) -> frozenset[str]: ...

    @property
    def options(self) -> frozenset[str]: ...

    @staticmethod
    def check_options(job: str, options: Mapping[str, str]) -> None:
        """Raises `SubmissionError` where the value of one of its `options` can never work, or would lose data."""
        return None

    @staticmethod
    def topics(job: str) -> list[str]:
        """The topics in which it keeps what it knows of a job, beside the job's progress."""
        return []

    @staticmethod
    def saved(job: str, log: Log, store: StateStore) -> tuple[int, bytes] | None:
        """The newest state kept of a job, and its sequence."""
        return store.load(job)

    @staticmethod
    def check_saved(job: Job[Any], saved: bytes) -> None:
        """Raises `IncompatibleError`, naming what differs, where what was `saved` is of a job that `job` cannot go on
        from."""
        ...


class Engine(EngineKind, Protocol):
    """Runs jobs."""

    def run(self, job: Job[Any], parts: Parts, stop: Callable[[], bool]) -> None:
        """Run until `stop()` says so (checked at least every commit), then commit, snapshot and return.

        Raises what the user must see; a restart goes on exactly where the last commit stood.
        """
        ...


def refuse_unless_fit(job: Job[Any], engine: EngineKind, engines: Sequence[EngineKind]) -> None:
    """Raises `SubmissionError`, saying what is missing and which engines would do, where `engine` cannot run `job`."""
    needs = needs_of(job)
    if unknown := needs - NEEDS.keys():
        raise SubmissionError(
            "needs what no engine knows", where=f"job {job.name}", wanted=f"some of {sorted(NEEDS)}", got=str(unknown)
        )
    if missing := sorted(needs - engine.provides):
        able = [e.name for e in engines if needs <= e.provides]
        raise SubmissionError(
            f"engine {engine.name} does not provide {', '.join(missing)}",
            where=f"job {job.name}",
            fix=f"Engines that would do: {', '.join(able) or 'none'}.",
        )
