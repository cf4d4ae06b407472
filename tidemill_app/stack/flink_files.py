"""What a Flink cluster and its clients read: jars, configuration, environment; from the package apache-flink.

Two configurations: the cluster's own, which holds what only it needs to know (where its leader is found, what it
recovers from), and the clients', which knows a REST address and nothing else, so that a job goes to the cluster of this
home the way it goes to any other.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidemill.errors import ConfigError
from tidemill_app.config import Settings
from tidemill_app.home import Home, StackRecord, write_atomically
from tidemill_app.stack import flink_loopback, jars
from tidemill_app.stack.kafka import java
from tidemill_app.stack.parts import clean_environment

VERSION = "2.2.1"
"""The release of apache-flink that is in `requirements/flink.lock`; the connector is for 2.2."""

SLOTS = 2
"""Tasks that run side by side in one TaskManager."""

TASKMANAGER_HEAP_MB = 512
TASKMANAGER_DIRECT_MB = 192

CLUSTER: dict[str, Any] = {
    # Nothing listens off loopback: these four cover RPC, blobs, metrics, data exchange and REST.
    "jobmanager.rpc.address": "127.0.0.1",
    "jobmanager.bind-host": "127.0.0.1",
    "taskmanager.host": "127.0.0.1",
    "taskmanager.bind-host": "127.0.0.1",
    "rest.address": "127.0.0.1",
    "rest.bind-address": "127.0.0.1",
    # No uploading of jars that then run inside the JobManager; a job itself comes by REST, as to any session cluster.
    "web.submit.enable": False,
    # `flink run` sends Flink's Python jar along with each job; what is changed in it must not come back that way.
    "classloader.parent-first-patterns.additional": "org.apache.beam.",
    "high-availability.type": "zookeeper",
    "high-availability.cluster-id": "/tidemill",
    # A JobManager killed with -9 is led by its successor when the dead one's session has run out.
    "high-availability.zookeeper.client.session-timeout": "6 s",
    "high-availability.zookeeper.client.connection-timeout": "10 s",
    "high-availability.zookeeper.client.retry-wait": "1 s",
    "high-availability.zookeeper.client.max-retry-attempts": 10,
    "high-availability.zookeeper.client.tolerate-suspended-connections": True,
    # A TaskManager killed with -9 is given up after two unanswered heartbeats, a silent one after the time-out.
    "heartbeat.interval": "1 s",
    "heartbeat.timeout": "20 s",
    "heartbeat.rpc-failure-threshold": 2,
    # Else a cluster that is older than five minutes fails at once a job that finds no slot; here it waits for one, and
    # a TaskManager that was killed may come back meanwhile. 240 days, in milliseconds: its timer takes 248 at most.
    "resourcemanager.standalone.start-up-time": 20_736_000_000,
    "restart-strategy.type": "exponential-delay",
    "restart-strategy.exponential-delay.initial-backoff": "500 ms",
    "restart-strategy.exponential-delay.max-backoff": "10 s",
    "state.backend.type": "hashmap",
    "execution.checkpointing.storage": "filesystem",
    "execution.checkpointing.num-retained": 3,
    "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    "parallelism.default": 1,
    "taskmanager.numberOfTaskSlots": SLOTS,
    # Started without Flink's scripts, so what they would work out from one total is said here; the heap is the sum of
    # the first two, direct memory of the next three. Managed memory is a budget that Python workers and hashmap state
    # do not allocate.
    "taskmanager.cpu.cores": 2.0,
    "taskmanager.memory.framework.heap.size": "128 mb",
    "taskmanager.memory.task.heap.size": f"{TASKMANAGER_HEAP_MB - 128} mb",
    "taskmanager.memory.framework.off-heap.size": "96 mb",
    "taskmanager.memory.task.off-heap.size": "32 mb",
    "taskmanager.memory.network.min": "64 mb",
    "taskmanager.memory.network.max": "64 mb",
    "taskmanager.memory.managed.size": "128 mb",
    "taskmanager.memory.jvm-metaspace.size": "256 mb",
    "taskmanager.memory.jvm-overhead.min": "192 mb",
    "taskmanager.memory.jvm-overhead.max": "192 mb",
    "jobmanager.memory.heap.size": "256 mb",
    "jobmanager.memory.off-heap.size": "128 mb",
    "jobmanager.memory.jvm-metaspace.size": "256 mb",
}

LOOPBACK_JAR = "beam-on-loopback.jar"
"""See `flink_loopback`; its name sorts before those of Flink's jars."""

SERVER_LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
logger.pekko.name = org.apache.pekko
logger.pekko.level = warn
logger.kafka.name = org.apache.kafka
logger.kafka.level = warn
logger.connector.name = org.apache.flink.kafka.shaded
logger.connector.level = warn
logger.checkpoints.name = org.apache.flink.runtime.checkpoint.CheckpointCoordinator
logger.checkpoints.level = warn
logger.sources.name = org.apache.flink.runtime.source.coordinator
logger.sources.level = warn
logger.zookeeper.name = org.apache.flink.shaded.zookeeper3
logger.zookeeper.level = warn
logger.curator.name = org.apache.flink.shaded.curator5
logger.curator.level = warn
"""

CLIENT_LOGGING = """\
status = error
appender.file.type = File
appender.file.name = file
appender.file.append = false
appender.file.fileName = ${sys:log.file}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""


def package() -> Path:
    """The folder of the package apache-flink, which holds Flink's own jars.

    Raises:
        ConfigError: the extra is not installed, or in another version.
    """
    # Found, not imported: importing it takes a second.
    spec = importlib.util.find_spec("pyflink")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "Flink is not installed here",
            wanted=f"apache-flink {VERSION}",
            fix="Run `make flink`, or name a cluster that is already there in TIDEMILL_FLINK.",
        )
    found = importlib.metadata.version("apache-flink")
    if found != VERSION:
        raise ConfigError("another Flink is installed", wanted=f"apache-flink {VERSION}", got=found, fix="`make flink`")
    return Path(spec.submodule_search_locations[0])


def java_options() -> list[str]:
    """What Flink's packages need to be opened in the JRE, as the package's own configuration says."""
    from ruamel.yaml import YAML

    found = YAML(typ="safe").load(package() / "conf" / "config.yaml")
    return str(found["env"]["java"]["opts"]["all"]).split()


def library(home: Home, settings: Settings, tell: Callable[[str], None] = lambda message: None) -> Path:
    """The jars of a home's cluster and clients, in its folder `flink/lib`: see `fill_library`."""
    return fill_library(home.part("flink") / "lib", settings, tell)


def fill_library(folder: Path, settings: Settings, tell: Callable[[str], None] = lambda message: None) -> Path:
    """Fill a folder with links to the package's jars, its Python runtime and the pinned Kafka connector; the folder.

    Raises:
        ConfigError: Flink is not installed.
        DigestError: the connector is not the one pinned.
        UnavailableError: the connector cannot be fetched.
    """
    source = package()

    def progress(done: int, total: int) -> None:
        tell(f"fetching Flink's Kafka connector: {done} of {total} jars")

    connector = jars.fetch(settings.cache_folder, settings.maven, progress, jars.pinned("flink"))
    wanted = {
        path.name: path for path in (*source.glob("lib/*.jar"), *source.glob("opt/flink-python*.jar"), *connector)
    }
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_symlink() and wanted.get(path.name) != path.readlink():
            path.unlink()
    for name, target in wanted.items():
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(target)
    (runtime,) = source.glob("opt/flink-python*.jar")
    ours, made = folder / LOOPBACK_JAR, flink_loopback.jar(runtime)
    if not ours.is_file() or ours.read_bytes() != made:
        write_atomically(ours, made)
    return folder


def class_path(lib: Path) -> str:
    """Every jar of the library: the changed class before the one it stands for, Flink's largest last."""
    return ":".join(str(jar) for jar in sorted(lib.glob("*.jar"), key=lambda jar: ("-dist-" in jar.name, jar.name)))


def write_cluster(home: Home, record: StackRecord) -> Path:
    """Write the cluster's configuration; the folder it is in."""
    folder = home.part("flink")
    ports = record.ports
    placed = {
        "jobmanager.rpc.port": ports["flink-rpc"],
        "high-availability.jobmanager.port": ports["flink-rpc"],
        "rest.port": ports["flink"],
        "rest.bind-port": str(ports["flink"]),
        "blob.server.port": str(ports["flink-blob"]),
        # By default any page that a browser shows may read this one.
        "web.access-control-allow-origin": record.flink,
        "high-availability.zookeeper.quorum": f"127.0.0.1:{ports['flink-zookeeper']}",
        "high-availability.storageDir": _uri(folder / "recovery"),
        "execution.checkpointing.dir": _uri(folder / "checkpoints"),
        "execution.checkpointing.savepoint-dir": _uri(folder / "savepoints"),
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
    }
    return write_configuration(folder / "cluster", CLUSTER | placed, "log4j-console.properties", SERVER_LOGGING)


def client_environment(
    home: Home, settings: Settings, url: str, tell: Callable[[str], None] = lambda message: None
) -> dict[str, str]:
    """The environment of a process that submits jobs by PyFlink to the cluster at `url`, whoever runs that cluster.

    It names jars and a configuration that are written into this home.

    Raises:
        ConfigError, DigestError, UnavailableError: as `fill_library`.
    """
    host, port = url.split("://")[1].rsplit(":", 1)
    said = {
        "execution.target": "remote",
        "rest.address": host,
        "rest.port": int(port),
        "security.ssl.rest.enabled": url.startswith("https:"),
        # A client lives for seconds: compiled quickly it takes half the processor time (6 s for 12 s).
        "env.java.opts.all": " ".join([*java_options(), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]),
    }
    lib = library(home, settings, tell)
    conf = write_configuration(home.part("flink") / "client", said, "log4j-cli.properties", CLIENT_LOGGING)
    return python_environment() | {
        "JAVA_HOME": str(java().parents[1]),
        "FLINK_CONF_DIR": str(conf),
        "FLINK_LIB_DIR": str(lib),
        "FLINK_LOG_DIR": str(conf),
    }


def python_environment() -> dict[str, str]:
    """The environment in which Python of this installation is found, as `python` and as a library inside a JVM."""
    paths = [str(Path(__file__).parents[2]), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    clean = clean_environment(PYTHONPATH=":".join(dict.fromkeys(paths)), PYTHONUNBUFFERED="1")
    return clean | {"PATH": f"{Path(sys.executable).parent}:{clean['PATH']}"}


def _uri(path: Path) -> str:
    # Flink takes what follows literally: a space is a space, a per cent sign one.
    return f"file://{path}"


def write_configuration(folder: Path, values: dict[str, Any], logging_name: str, logging: str) -> Path:
    """Write Flink's configuration and its logging's into a folder; the folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in values.items()]
    write_atomically(folder / "config.yaml", "".join(["# Written by Tidemill; changes are lost.\n", *lines]).encode())
    write_atomically(folder / logging_name, logging.encode())
    return folder
