"""The engines: which there are, which are installed here, and one made ready to run a job."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tidemill.engine import Engine, EngineKind
from tidemill.errors import ConfigError, NotFoundError, SubmissionError, UnavailableError
from tidemill.events import JobChanged
from tidemill_app.config import Connection
from tidemill_app.home import write_atomically
from tidemill_app.job_table import JobFiles
from tidemill_app.measuring import MEASURES

EXTRAS = {"faust": "faust", "flink": "pyflink"}
"""Engines that need a package which not everybody has, and that package."""

NO_CLUSTER = "there is no Flink cluster"
GET_CLUSTER = "Start one here with `tidemill up --flink`, or name one in TIDEMILL_FLINK."

WORKER = "tidemill_app.flink_worker:load"


def engines() -> dict[str, EngineKind]:
    """The engines that there are here, by name."""
    from streams.engines.faust import FaustEngine
    from streams.engines.flink.engine import FlinkEngine
    from streams.engines.local import LocalEngine

    every: list[EngineKind] = [LocalEngine, FaustEngine, FlinkEngine]
    return {e.name: e for e in every if e.name not in EXTRAS or _installed(EXTRAS[e.name])}


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
    if engine == "flink":
        from streams.engines.flink.flow import Flow, check, choices_of

        check(job, Flow(kafka={}, choices=choices_of(job, options)))


def check_prefix(job: str, options: Mapping[str, str], others: Iterable[JobChanged]) -> None:
    """Raises `SubmissionError` where another job's transactions on Flink have the names that this one's would have."""
    from streams.engines.flink.flow import choices_of, prefix_of

    mine = prefix_of(job, choices_of(job, options))
    for other in others:
        if other.engine != "flink" or other.job == job:
            continue
        if prefix_of(other.job, choices_of(other.job, other.options)) == mine:
            raise SubmissionError(
                "another job's: each would end what the other has written and not yet committed",
                where=f"job {job}",
                wanted="a transactional_id_prefix of its own",
                got=f"{mine}, which job {other.job} has",
            )


def check_cluster(connection: Connection, job: str, saved: bytes | None) -> None:
    """Look at the Flink cluster, and for the jars that go there, before anything is recorded; `saved` is what was kept
    of the job.

    Raises `ConfigError` where there is none, `UnavailableError` where it does not answer or a jar cannot be fetched,
    `IncompatibleError` where another job runs there under that name.
    """
    from streams.engines.flink.engine import check_name, decode
    from streams.engines.flink.rest import Cluster
    from tidemill_app.stack import flink_files

    if not connection.flink:
        raise ConfigError(NO_CLUSTER, where=f"home {connection.home.path}", fix=GET_CLUSTER)
    with closing(Cluster(connection.flink)) as cluster:
        check_name(cluster, job, decode(job, saved).id if saved is not None else "")
    flink_files.library(connection.home, connection.settings)


def check_gone(connection: Connection, job: str) -> None:
    """Raises `IncompatibleError` where the job runs on the Flink cluster, `UnavailableError` where that cannot be seen.
    Where there is no cluster any more, nothing runs there."""
    from streams.engines.flink.engine import check_name
    from streams.engines.flink.rest import Cluster

    if connection.flink:
        with closing(Cluster(connection.flink)) as cluster:
            check_name(cluster, job)


def check_savepoint(connection: Connection, path: str) -> None:
    """Raises `NotFoundError` where there is no savepoint at `path`. What only another machine's cluster can see is left
    to the cluster."""
    from streams.engines.flink.rest import is_savepoint

    if not connection.settings.flink and not is_savepoint(path):
        raise NotFoundError(
            "no savepoint there", where=path, wanted="a folder that `tidemill job stop NAME --savepoint` has named"
        )


MAX_OPTION = 1000


def engine_for(connection: Connection, wish: JobChanged) -> Engine:
    """The engine that `wish` names, ready to run its job. Raises as `kind_of` and `check_options`, and
    `UnavailableError` where there is no cluster to run it on."""
    check_options(wish.engine, wish.job, {k: v for k, v in wish.options.items() if k != MEASURES})
    if wish.engine == "flink":
        return _flink(connection, wish)
    from streams.engines.faust import FaustEngine
    from streams.engines.local import LocalEngine

    return FaustEngine(connection.confluent()) if wish.engine == "faust" else LocalEngine()


def is_elsewhere(connection: Connection) -> bool:
    """Whether the Flink cluster is one that this home has not started: its machines need not have what is here."""
    return bool(connection.settings.flink)


def _code(connection: Connection, wish: JobChanged) -> Path:
    """The file of code that goes along to another cluster."""
    from tidemill_app.bundle import SIGNED
    from tidemill_app.flink_packing import code
    from tidemill_app.wiring import open_store

    folder = JobFiles(connection.home, wish.job).folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / "code.zip"
    write_atomically(file, code(open_store(connection).get_signed(SIGNED, wish.bundle)))
    return file.resolve()


def _told(connection: Connection) -> dict[str, str]:
    """The environment of the operators, without secrets: where the log and the artefacts are. The home is another."""
    store = connection.artefacts
    shown = {name: value for name, value in connection.shown().items() if name != "TIDEMILL_HOME"}
    return shown | {
        "TIDEMILL_BOOTSTRAP": connection.bootstrap,
        "TIDEMILL_ARTEFACTS": store if "://" in store else str(Path(store).resolve()),
    }


def _flink(connection: Connection, wish: JobChanged) -> Engine:
    from connectors.kafka_settings import java_settings
    from streams.engines.flink.engine import FlinkEngine
    from streams.engines.flink.flow import Flow, choices_of
    from tidemill_app.stack import flink_files

    if not connection.flink:
        raise UnavailableError(NO_CLUSTER, where=f"home {connection.home.path}", fix=GET_CLUSTER)
    home, settings = connection.home, connection.settings
    lib = flink_files.library(home, settings)
    elsewhere = is_elsewhere(connection)
    flow = Flow(
        kafka=java_settings(connection.confluent()),
        choices=choices_of(wish.job, wish.options),
        jars=tuple(str(jar.resolve()) for jar in lib.glob("flink-sql-connector-kafka-*.jar")),
        files=(str(_code(connection, wish)),) if elsewhere else (),
    )
    options: dict[str, Any] = {
        "home": "" if elsewhere else str(home.path.resolve()),
        "environment": _told(connection),
        "job": wish.job,
        "bundle": wish.bundle,
        "file": wish.file,
        "engine": wish.engine,
        "options": dict(wish.options),
    }
    environment = flink_files.client_environment(home, settings, connection.flink)
    # The client makes the job too, to see its topics and groups: it reads what this process reads.
    return FlinkEngine(connection.flink, flow, WORKER, options, environment | connection.environment())
