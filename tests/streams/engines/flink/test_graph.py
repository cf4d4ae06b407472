"""What Flink is told of a job: settings and tables."""

import re

from streams.engines.flink.flow import Choices, Flow
from streams.engines.flink.graph import settings_of, sink_table, source_table, uid

KAFKA = {"bootstrap.servers": "b:9092", "sasl.jaas.config": "password='it''s'"}


def option(table, name):
    """An option of a table's DDL, its quotes undone."""
    found = re.findall(rf"'{re.escape(name)}' = '((?:[^']|'')*)'", table)
    assert len(found) == 1, table
    return found[0].replace("''", "'")


def test_what_is_read_is_committed_and_what_is_written_comes_once():
    flow = Flow(kafka=KAFKA, choices=Choices(transaction_timeout_ms=777_000))
    source, sink = source_table(["a", "b"], flow, "g"), sink_table("a|b", flow, "mine")
    assert option(source, "properties.isolation.level") == "read_committed"
    assert option(source, "topic") == "a;b"
    assert option(sink, "sink.delivery-guarantee") == "exactly-once"
    assert option(sink, "sink.transactional-id-prefix") == "mine"
    assert option(sink, "properties.transaction.timeout.ms") == "777000"
    for table in (source, sink):
        assert option(table, "properties.sasl.jaas.config") == KAFKA["sasl.jaas.config"]


def test_the_cluster_is_found_by_its_url():
    for url, said in (
        ("http://host:8081", {"rest.address": "host", "rest.port": "8081"}),
        ("https://host", {"rest.address": "host", "rest.port": "443", "security.ssl.rest.enabled": "true"}),
    ):
        found = settings_of(Flow(kafka={}), url, "0" * 32)
        assert {name: found[name] for name in found if "rest." in name} == said
    assert "execution.state-recovery.path" not in found
    assert settings_of(Flow(kafka={}), url, "0" * 32, "s3://there")["execution.state-recovery.path"] == "s3://there"


def test_what_is_ready_waits_for_nothing_else():
    found = settings_of(Flow(kafka={}), "http://h:1", "0" * 32)
    assert found["python.fn-execution.memory.managed"] == "false"  # else all Python operators of a slot share a process
    assert found["execution.buffer-timeout.interval"] == "0 ms"
    assert "python.fn-execution.bundle.size" not in found  # for all: it would overwrite what each operator has (`full`)


def test_the_mode_is_named_to_flink_and_no_state_is_taken_for_one_of_the_other():
    names = []
    for mode in ("process", "thread"):
        flow = Flow(kafka={}, choices=Choices(mode=mode))
        assert settings_of(flow, "http://h:1", "0" * 32)["python.execution-mode"] == mode
        names += [uid("admission", flow), uid("stepping", flow)]
    assert names[:2] == ["admission", "stepping"]  # as it was before there was more than one
    assert len(set(names)) == 4


def test_what_goes_along_is_named_to_flink():
    plain = settings_of(Flow(kafka={}), "http://h:1", "0" * 32)
    assert not {"python.files", "python.archives", "python.executable", "python.client.executable"} & plain.keys()
    flow = Flow(
        kafka={}, choices=Choices(archive="/a/e.zip"), files=("/a/code.zip", "/b.py"), jars=("/a.jar", "/b.jar")
    )
    found = settings_of(flow, "http://h:1", "0" * 32)
    assert found["python.files"] == "/a/code.zip,/b.py"
    assert found["python.archives"] == "/a/e.zip#environment"
    assert found["python.executable"] == "environment/bin/python"
    assert found["pipeline.jars"] == "file:///a.jar;file:///b.jar"
