"""The engines: which there are, which are installed here, and where the jobs of each run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tidemill.engine import Engine, EngineKind
from tidemill.errors import NotFoundError, SubmissionError
from tidemill.events import JobChanged

if TYPE_CHECKING:
    from tidemill_app.config import Connection
    from tidemill_app.wiring import Platform

EXTRAS = {"faust": "faust", "flink": "pyflink"}
"""Engines that need a package which not everybody has, and that package."""

MAX_OPTION = 1000


class Host:
    """Where the jobs of an engine run, as this home sees it; here: in processes of its own. `elsewhere` says that a job
    runs on when its process ends, and has stopped only where its process says so."""

    elsewhere = False

    def check(self, platform: Platform, job: str, options: Mapping[str, str], saved: bytes | None) -> list[str]:
        """Refuse a job that cannot be taken on there, before anything is recorded; what is to be known of it beside, in
        sentences. `saved` is what is kept of it."""
        return []

    def check_gone(self, connection: Connection, job: str) -> None:
        """Raises `IncompatibleError` where the job runs there, `UnavailableError` where that cannot be seen."""

    def check_savepoint(self, connection: Connection, path: str) -> None:
        """Raises `NotFoundError` where there is no savepoint at `path`."""

    def make(self, connection: Connection, wish: JobChanged) -> Engine:
        """The engine, ready to run the job of `wish`. Raises `UnavailableError` where it cannot be made now."""
        from streams.engines.local import LocalEngine

        return LocalEngine()


class _FaustHost(Host):
    def make(self, connection: Connection, wish: JobChanged) -> Engine:
        from streams.engines.faust import FaustEngine

        return FaustEngine(connection.confluent())


def every() -> dict[str, EngineKind]:
    """The engines that there are, installed here or not, by name."""
    from streams.engines.faust import FaustEngine
    from streams.engines.flink.engine import FlinkEngine
    from streams.engines.local import LocalEngine

    kinds: list[EngineKind] = [LocalEngine, FaustEngine, FlinkEngine]
    return {kind.name: kind for kind in kinds}


def host_of(engine: str) -> Host:
    """Where that engine's jobs run."""
    if engine == "flink":
        from tidemill_app.flink_host import FlinkHost

        return FlinkHost()
    return _FaustHost() if engine == "faust" else Host()


def engines() -> dict[str, EngineKind]:
    """The engines that there are here, by name."""
    return {name: kind for name, kind in every().items() if name not in EXTRAS or _installed(EXTRAS[name])}


def _installed(package: str) -> bool:
    # Faust takes its own place when it is loaded, and has no spec from then on.
    return package in sys.modules or find_spec(package) is not None


def kind_of(name: str) -> EngineKind:
    """The engine of that name. Raises `NotFoundError`, saying how to get it where it is one that can be had."""
    there = engines()
    if name not in there:
        fix = f"Install what it needs: make {name}, or pip install 'tidemill[{name}]'." if name in EXTRAS else ""
        raise NotFoundError(f"no engine {name!r} here", wanted=f"one of {', '.join(sorted(there))}", fix=fix)
    return there[name]


def check_options(engine: str, job: str, options: Mapping[str, str]) -> None:
    """Refuse options that the engine does not take, or that would lose data: by an allow-list, whatever they would mean
    to the engine's own settings. Raises `NotFoundError` for an unknown engine, else `SubmissionError`."""
    kind = kind_of(engine)
    for name, value in options.items():
        if name not in kind.options:
            raise SubmissionError(
                "no such option",
                where=f"engine {engine}",
                wanted=f"one of {', '.join(sorted(kind.options))}" if kind.options else "none: it takes no options",
                got=repr(name)[:100],
            )
        if not value.isprintable() or len(value) > MAX_OPTION:
            raise SubmissionError(
                "not an option's value", where=name, wanted=f"at most {MAX_OPTION} printable characters"
            )
    kind.check_options(job, options)
