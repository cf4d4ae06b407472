"""A Flink cluster as where jobs run: what is looked at there before a job is taken on, and what goes along."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from connectors.kafka_settings import java_settings
from streams.engines.flink.engine import FlinkEngine, OnCluster, check_mode, check_name, decode
from streams.engines.flink.flow import Choices, Flow, choices_of, prefix_of
from streams.engines.flink.rest import Cluster, is_savepoint
from streams.engines.flink.setting import PYTHON
from streams.state_store import FolderStore
from tidemill.engine import Engine
from tidemill.errors import ConfigError, NotFoundError, SubmissionError, UnavailableError
from tidemill.events import JobChanged
from tidemill_app.bundle import SIGNED
from tidemill_app.config import Connection
from tidemill_app.engines import Host
from tidemill_app.flink_packing import code
from tidemill_app.home import write_atomically
from tidemill_app.job_table import JobFiles
from tidemill_app.stack import flink_files
from tidemill_app.wiring import Platform, open_store

NO_CLUSTER = "there is no Flink cluster"
GET_CLUSTER = "Start one here with `tidemill up --flink`, or name one in TIDEMILL_FLINK."

WORKER = "tidemill_app.flink_worker:load"

PYTHON_SECONDS = 60.0
"""How long a Python that a job names may take to say what it is."""


class FlinkHost(Host):
    """The cluster that the connection names."""

    elsewhere = True

    def check(self, platform: Platform, job: str, options: Mapping[str, str], saved: bytes | None) -> list[str]:
        """Look at the cluster, and for the jars that go there.

        Raises `SubmissionError` where another job's transactions have the names that this one's would have, or the
        option `python` names none that could work the job on this home's own cluster, or where the mode is one that
        this cluster does not do; `IncompatibleError` where the state was kept in another mode;
        `ConfigError` where there is no cluster, `UnavailableError` where it does not answer or a jar cannot be fetched,
        `IncompatibleError` where another job runs there under that name.
        """
        connection = platform.connection
        known = decode(job, saved) if saved is not None else None
        chosen = _chosen(connection, job, options, known)
        _check_prefix(platform, job, chosen)
        if not connection.flink:
            raise ConfigError(NO_CLUSTER, where=f"home {connection.home.path}", fix=GET_CLUSTER)
        _check_mode(connection, job, chosen)
        if known is not None:
            check_mode(job, known, chosen.mode)
        with closing(Cluster(connection.flink)) as cluster:
            check_name(cluster, job, known.id if known is not None else "")
        flink_files.library(connection.home, connection.settings)
        if not _is_foreign(connection) and not chosen.archive:
            _check_python(job, chosen.executable)
        if not _is_foreign(connection) or "://" in connection.artefacts:
            return []
        return [
            f"Versions are kept in the folder {connection.artefacts}, which the cluster's machines must see as well; "
            "or name a store that all reach in TIDEMILL_ARTEFACTS."
        ]

    def check_gone(self, connection: Connection, job: str) -> None:
        """As `Host`. Where there is no cluster any more, nothing runs there."""
        if connection.flink:
            with closing(Cluster(connection.flink)) as cluster:
                check_name(cluster, job)

    def check_savepoint(self, connection: Connection, path: str) -> None:
        """As `Host`. What only another machine's cluster can see is left to the cluster."""
        if not _is_foreign(connection) and not is_savepoint(path):
            raise NotFoundError(
                "no savepoint there", where=path, wanted="a folder that `tidemill job stop NAME --savepoint` has named"
            )

    def make(self, connection: Connection, wish: JobChanged) -> Engine:
        """The engine, with the jars and, for a cluster of other machines, the code that go along."""
        if not connection.flink:
            raise UnavailableError(NO_CLUSTER, where=f"home {connection.home.path}", fix=GET_CLUSTER)
        home, settings = connection.home, connection.settings
        lib = flink_files.library(home, settings)
        saved = FolderStore(home.path / "state").load(wish.job)
        known = None if saved is None else decode(wish.job, saved[1])
        foreign, choices = _is_foreign(connection), _chosen(connection, wish.job, wish.options, known)
        _check_mode(connection, wish.job, choices)
        flow = Flow(
            kafka=java_settings(connection.confluent()),
            choices=choices,
            jars=tuple(str(jar.resolve()) for jar in lib.glob("flink-sql-connector-kafka-*.jar")),
            files=(str(_code(connection, wish)),) if foreign else (),
        )
        options: dict[str, Any] = {
            "home": "" if foreign else str(home.path.resolve()),
            "environment": _told(connection),
            **{name: getattr(wish, name) for name in ("job", "bundle", "file", "engine", "options")},
        }
        environment = flink_files.client_environment(home, settings, connection.flink)
        return FlinkEngine(connection.flink, flow, WORKER, options, environment | connection.environment())


def _chosen(connection: Connection, job: str, options: Mapping[str, str], known: OnCluster | None) -> Choices:
    """The choices behind the options. Where none names a mode, that is the one in which the job's state is kept, and of
    a new one thread mode wherever it can be: it was the faster in every measurement (decision 0011)."""
    chosen = choices_of(job, options)
    if "mode" in options or _is_foreign(connection) or chosen.archive or chosen.python:
        return chosen
    return msgspec.structs.replace(chosen, mode="thread" if known is None else known.mode)


def _check_prefix(platform: Platform, job: str, chosen: Choices) -> None:
    mine = prefix_of(job, chosen)
    for other in platform.jobs().jobs.values():
        if other.engine != FlinkEngine.name or other.job == job:
            continue
        if prefix_of(other.job, choices_of(other.job, other.options)) == mine:
            raise SubmissionError(
                "another job's: each would end what the other has written and not yet committed",
                where=f"job {job}",
                wanted="a transactional_id_prefix of its own",
                got=f"{mine}, which job {other.job} has",
            )


def _check_mode(connection: Connection, job: str, chosen: Choices) -> None:
    """One interpreter in a TaskManager works all that comes in thread mode, and goes on with the code it loaded first:
    where each job brings Tidemill's along, the second would run on the first one's."""
    if chosen.mode == "thread" and _is_foreign(connection):
        raise SubmissionError(
            "thread mode is for the cluster that `tidemill up --flink` starts, where all jobs run the code installed",
            where=f"job {job}, option mode",
            field="mode",
            wanted="process",
            got="thread",
        )


def _check_python(job: str, python: str) -> None:
    if not python:
        return
    ask = "import sys, pyflink; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [python, "-c", ask],
            env=flink_files.python_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PYTHON_SECONDS,
            check=False,
        )
        said = (done.stdout or done.stderr).decode(errors="replace").strip().rpartition("\n")[2]
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if said != PYTHON:
        raise SubmissionError(
            "not a Python that can work the job",
            where=f"job {job}, option python",
            wanted=f"Python {PYTHON} with what Tidemill needs, as here: {sys.executable}",
            got=f"{python}, which says: {said[:200] or 'nothing'}",
        )


def _is_foreign(connection: Connection) -> bool:
    """Whether the cluster is one that this home has not started: its machines need not have what is here."""
    return bool(connection.settings.flink)


def _code(connection: Connection, wish: JobChanged) -> Path:
    """The file of code that goes along to another cluster."""
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
