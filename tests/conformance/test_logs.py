"""Every log that ships keeps the log protocol; both Kafka clients, the memory and every data set by one suite."""

import json
from collections.abc import Callable

import pytest

from connectors.datasets import catalogue
from connectors.files import FileLog
from connectors.kafka import KafkaLog
from connectors.kafka_admin import KafkaAdmin
from connectors.kafka_plain import PlainKafka
from connectors.memory import MemoryLog
from streams.archived import ArchivedLog
from tidemill.checks.logs import CHECKS, Subject, unmet
from tidemill.log import Partition, TopicSpec
from tidemill.stream import Field, StreamSpec
from tidemill.version import Span


def memory(request) -> Subject:
    log = MemoryLog()
    return Subject("memory", open=lambda: log, trim=log.delete_before, committed=log.committed)


def confluent(request) -> Subject:
    return _kafka(request, "confluent-kafka", KafkaLog)


def plain(request) -> Subject:
    return _kafka(request, "kafka-python", PlainKafka)


def _kafka(request, name: str, log: Callable) -> Subject:
    settings = {"bootstrap.servers": request.getfixturevalue("kafka")}
    admin = KafkaAdmin(settings)
    request.addfinalizer(admin.close)
    return Subject(name, open=lambda: log(settings), trim=admin.delete_before, committed=admin.committed)


ROWS = b"""id,time,x
a,2024-01-01T00:00:00Z,1.5
b,2024-01-01T00:00:02Z,2.5
c,2024-01-01T00:00:01Z,wrong
d,2024-01-01T00:00:01Z,0.5
"""
SPEC = StreamSpec(
    name="rows",
    fields=(Field(name="id", type="string"), Field(name="time", type="time"), Field(name="x", type="float")),
    id="id",
    time="time",
)


def csv_file(request) -> Subject:
    return _file(request, "rows.csv", ROWS)


def json_lines(request) -> Subject:
    header, *rows = (line.split(",") for line in ROWS.decode().splitlines())
    lines = [json.dumps(dict(zip(header, row, strict=True))) for row in rows]
    return _file(request, "rows.jsonl", "\n".join([*lines, "no json"]).encode())


def _file(request, name: str, content: bytes) -> Subject:
    path = request.getfixturevalue("tmp_path_factory").mktemp("files") / name
    path.write_bytes(content)
    return Subject(name, open=lambda: FileLog(str(path), SPEC), can=frozenset())


def data_set(request) -> Subject:
    stream = catalogue.load("digits").streams[0]
    return Subject("data set", open=stream.log, can=frozenset())


def archived(request) -> Subject:
    """A log that has lost most of one partition and a whole topic, with an archive of both."""
    log, kept = MemoryLog(), {}
    for topic, partitions in (("some", 2), ("lost", 1)):
        log.create(topic, TopicSpec(partitions=partitions))
        writer = log.writer()
        for i in range(20):
            writer.send(topic, b"%d" % i, partition=i % partitions)
    spans = [Span("some", 0, 2, 10), Span("some", 1, 0, 10), Span("lost", 0, 0, 20)]
    for span in spans:
        kept[span.topic, span.partition] = log.reader({Partition(span.topic, span.partition): 0}).poll(100, 0.0)
    log.delete_before(Partition("some", 0), 7)
    log.delete("lost")

    def archive(span: Span):
        return [r for r in kept[span.topic, span.partition] if span.first <= r.offset < span.next]

    return Subject("archived", open=lambda: ArchivedLog(log, spans, archive), can=frozenset())


LOGS = [
    memory,
    archived,
    csv_file,
    json_lines,
    data_set,
    pytest.param(confluent, marks=pytest.mark.stack),
    pytest.param(plain, marks=pytest.mark.stack),
]


@pytest.fixture(scope="module")
def subject(request) -> Subject:
    return request.param(request)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("subject", LOGS, indirect=True)
def test_log(subject, check):
    if why := unmet(check, subject):
        pytest.skip(why)
    check(subject)
