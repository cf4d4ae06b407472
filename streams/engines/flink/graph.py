"""The job graph: Kafka, admission by partition, stepping by shard, Kafka.

Records come from Flink's Table connector for Kafka (`raw` format; it is the one that gives headers, partition and
offset) and are gathered to runs before they reach Python (`Gather.java`): a run crosses from Java as one message, which
is what makes the difference between ten thousand events a second and many times that. What is sent leaves the same way,
many records in a message (`Scatter.java`), into the connector's exactly-once sink.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pyflink.common import Configuration, Types
from pyflink.common.typeinfo import TypeInformation
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.data_stream import KeyedStream
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

from streams.engines.flink import idling, java
from streams.engines.flink.admission import Admission
from streams.engines.flink.flow import CHECKPOINT_TIMEOUT_MS, ENVIRONMENT, Flow
from streams.engines.flink.kept import BYTES
from streams.engines.flink.setting import Setting
from streams.engines.flink.stepping import Stepping
from tidemill.log import Partition

SOURCE = ("`topic`", "`partition`", "`offset`", "`at`", "`k`", "`v`", "`headers`")
SINK = "ROW<`topic` STRING, `k` BYTES, `v` BYTES, `headers` MAP<STRING, BYTES>>"
RUNS = Types.ROW([Types.INT(), BYTES])
"""The Flink key of a partition, and records of it."""

PARTITION_KEYS = 128
"""Flink's key groups for the admission: the most machines that can share the partitions."""


def configuration(flow: Flow, rest: str, id: str, restore: str = "") -> Configuration:
    """What `settings_of` says, as Flink takes it."""
    out = Configuration()
    for name, value in settings_of(flow, rest, id, restore).items():
        out.set_string(name, value)
    return out


def settings_of(flow: Flow, rest: str, id: str, restore: str = "") -> dict[str, str]:
    """Flink's settings for one run, on the cluster at the URL `rest`; the job's own id is `id` (32 hex digits)."""
    address = urlsplit(rest)
    settings = {
        "execution.target": "remote",
        "rest.address": address.hostname or "",
        "rest.port": str(address.port or (443 if address.scheme == "https" else 80)),
        "rest.path": address.path.strip("/"),
        "security.ssl.rest.enabled": "true" if address.scheme == "https" else "",
        # Known beforehand, so that what was submitted is found again by whoever died on the way.
        "$internal.pipeline.job-id": id,
        "execution.attached": "false",
        "pipeline.jars": ";".join(f"file://{jar}" for jar in flow.jars),
        "parallelism.default": str(flow.choices.parallelism),
        "execution.checkpointing.interval": f"{flow.choices.checkpoint_ms} ms",
        "execution.checkpointing.min-pause": f"{max(1, flow.choices.checkpoint_ms // 4)} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.timeout": f"{CHECKPOINT_TIMEOUT_MS} ms",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": "3",
        "execution.checkpointing.tolerable-failed-checkpoints": "10",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "200 ms",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
        # So many in a row and the job ends, with the reason; a minute without trouble begins a new row.
        "restart-strategy.exponential-delay.attempts-before-reset-backoff": "10",
        "restart-strategy.exponential-delay.reset-backoff-threshold": "1 min",
        "python.execution-mode": flow.choices.mode,
        # A bundle is full before that where there is anything to do (`full`); this is for what falls between.
        "python.fn-execution.bundle.time": str(max(10, flow.choices.gather_ms // 2)),
        # What crosses between tasks is a run of many records: none waits for a buffer to fill.
        "execution.buffer-timeout.interval": "0 ms",
        "pipeline.object-reuse": "true",
        # With a share of the slot's managed memory, all Python operators of a slot would run in one process: one core.
        "python.fn-execution.memory.managed": "false",
        "python.metric.enabled": "false",
        "python.operator-chaining.enabled": "true",
    }
    settings |= {"python.executable": flow.choices.executable, "python.files": ",".join(flow.files)}
    if flow.choices.archive:
        settings["python.archives"] = f"{flow.choices.archive}#{ENVIRONMENT}"
    if restore:
        settings["execution.state-recovery.path"] = restore
    return {name: value for name, value in settings.items() if value}


def environment(settings: Configuration) -> StreamExecutionEnvironment:
    """An environment whose jobs go where `settings` say. PyFlink's own getter would start a cluster in this process."""
    kind = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    return StreamExecutionEnvironment(kind(settings._j_configuration))


def build(env: StreamExecutionEnvironment, setting: Setting, flow: Flow, prefix: str, written: str) -> None:
    """Put the job into `env`; `prefix` begins the names of its sink's transactions, `written` is the regular expression
    of its topics (`flow.topics`)."""
    tables = StreamTableEnvironment.create(env)
    sources = [source.partition for source in setting.sources]
    keys = spread(len(sources), PARTITION_KEYS)
    shards = spread(setting.shards, setting.shards)
    encoded = setting.encode()
    moves = idling.topic_of(setting.job)
    read = sorted({p.topic for p in sources} | {moves})
    tables.execute_sql(source_table(read, flow, f"tidemill.{setting.job}"))
    rows = java.rows_of(tables, tables.sql_query(f"SELECT {', '.join(SOURCE)} FROM source"))
    runs = java.operator(rows, "Gather", gather(sources, keys, moves, flow), RUNS.get_java_type_info())
    admitted = (
        keyed(runs, BYTES)
        .process(Admission(encoded, keys, shards), output_type=Types.ROW([Types.INT(), BYTES]))
        .name("admission")
        .uid(uid("admission", flow))
        .set_max_parallelism(PARTITION_KEYS)
        .set_parallelism(min(flow.choices.parallelism, len(sources)))
    )
    full(admitted, 1)
    sending = (
        keyed(admitted, BYTES)
        .process(Stepping(encoded, shards), output_type=BYTES)
        .name("stepping")
        .uid(uid("stepping", flow))
        .set_max_parallelism(setting.shards)
        .set_parallelism(min(flow.choices.parallelism, setting.shards))
    )
    full(sending, max(1, setting.shards // flow.choices.parallelism))
    tables.execute_sql(sink_table(written, flow, prefix))
    records = java.operator(sending, "Scatter", [], java.row_type(SINK), apart=True)
    tables.create_temporary_view("sending", tables.from_data_stream(records))
    statements = tables.create_statement_set()
    statements.add_insert_sql("INSERT INTO sink SELECT * FROM sending")
    statements.attach_as_datastream()


def uid(operator: str, flow: Flow) -> str:
    """The name under which a Python operator's state is saved. PyFlink keeps it in another form in each mode, and would
    find none of the other's; by another name Flink refuses to start from it."""
    return operator if flow.choices.mode == "process" else f"{operator}-{flow.choices.mode}"


def keyed(stream: DataStream, value: TypeInformation) -> KeyedStream:
    """The stream of `Row(key, value)` keyed by its key. `DataStream.key_by` would take every element through Python
    once more to find the key."""
    selector = get_gateway().jvm.KeyByKeySelector()
    key = Types.ROW([Types.INT()]).get_java_type_info()
    return KeyedStream(stream._j_data_stream.keyBy(selector, key), value, stream)


def full(stream: DataStream, messages: int) -> None:
    """Let the Python operator behind `stream` begin to work when so many messages have come to it: each is many records
    already. By default PyFlink waits for 1,000 elements, or for the end of its bundle's time."""
    operator = stream._j_data_stream.getTransformation().getOperatorFactory().getOperator()
    operator.getConfiguration().setString("python.fn-execution.bundle.size", str(messages))


def spread(count: int, groups: int) -> list[int]:
    """`count` keys whose Flink key groups, of `groups`, lie evenly apart: any parallelism shares them evenly."""
    gateway = get_gateway()
    assign = gateway.jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup
    row = gateway.jvm.org.apache.flink.types.Row
    wanted = {i * groups // count if count <= groups else i % groups for i in range(count)}
    found: dict[int, list[int]] = {group: [] for group in wanted}
    each = -(-count // len(wanted))
    key = 0
    while any(len(keys) < each for keys in found.values()):
        one = row(1)
        one.setField(0, key)
        group = assign(one, groups)
        if group in found and len(found[group]) < each:
            found[group].append(key)
        key += 1
    return [key for round_ in range(each) for group in sorted(found) for key in found[group][round_ : round_ + 1]][
        :count
    ]


def source_table(topics: Sequence[str], flow: Flow, group: str) -> str:
    """DDL of the table over every topic that the job reads."""
    settings = flow.kafka | {
        "group.id": group,
        "isolation.level": "read_committed",
        "auto.offset.reset": "none",
        "max.poll.records": "5000",
    }
    options = {
        "connector": "kafka",
        "topic": ";".join(topics),
        "scan.startup.mode": "earliest-offset",
        "key.format": "raw",
        "key.fields": "k",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
    } | _kafka(settings)
    return (
        "CREATE TABLE source (`topic` STRING METADATA VIRTUAL, `partition` INT METADATA VIRTUAL, "
        "`offset` BIGINT METADATA VIRTUAL, `at` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, "
        "`headers` MAP<STRING, BYTES> METADATA VIRTUAL, `k` BYTES, `v` BYTES) " + _with(options)
    )


def gather(sources: Sequence[Partition], keys: Sequence[int], moves: str, flow: Flow) -> list[Any]:
    """What `Gather.java` is told: the Flink key of each partition and of the topic `moves`, whose partitions stand for
    those of the sources, and for how long it gathers."""
    both = [*zip(sources, keys, strict=True), *((Partition(moves, i), key) for i, key in enumerate(keys))]
    return [{f"{p.topic}/{p.number}": key for p, key in both}, moves, flow.choices.gather_ms]


def sink_table(pattern: str, flow: Flow, prefix: str) -> str:
    """DDL of the table into every topic that the job may write to, exactly once."""
    settings = flow.kafka | {
        "transaction.timeout.ms": str(flow.choices.transaction_timeout_ms),
        "compression.type": "lz4",
        "linger.ms": "5",
        "batch.size": str(256 * 1024),
        "max.request.size": str(18 * 1024 * 1024),
    }
    options = {
        "connector": "kafka",
        "topic-pattern": pattern,
        "key.format": "raw",
        "key.fields": "k",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": prefix,
    } | _kafka(settings)
    return (
        "CREATE TABLE sink (`topic` STRING METADATA, `k` BYTES, `v` BYTES, "
        "`headers` MAP<STRING, BYTES> METADATA) " + _with(options)
    )


def _kafka(settings: Mapping[str, str]) -> dict[str, str]:
    return {f"properties.{name}": value for name, value in settings.items()}


def _with(options: Mapping[str, str]) -> str:
    return "WITH (" + ", ".join(f"{_quoted(k)} = {_quoted(v)}" for k, v in options.items()) + ")"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
