"""`tidemill model reproduce` as people use it: on the log itself, on a copy of it, on an altered copy, and on a log of
which a part is gone."""

import json
from contextlib import closing

import pytest

from connectors.kafka import KafkaLog
from connectors.kafka_admin import KafkaAdmin
from tests.scenarios.outside import Outside
from tidemill.log import Partition, TopicSpec
from tidemill_app import config
from tidemill_app.home import Home
from tidemill_app.reading import read_all
from tidemill_app.stack import lifecycle
from tidemill_app.stack.kafka import KafkaPart

pytestmark = pytest.mark.stack

ROWS, EVERY = 400, 100
ALTERED = 150
"""The offset of the altered event: after what version 1 learned from, within what the later ones did."""

JOB = """
from streams.classifier import online_classifier


def job():
    return online_classifier(
        name="{name}",
        stream="{name}",
        endpoint="{name}-asked",
        features=["x"],
        label="y",
        positive=1,
        version_every={every},
    )
"""


@pytest.fixture
def learned(supervised, fresh, tmp_path):
    """The stack as it is seen from outside, and the name of a stream and of the job that has learned it."""
    out, name = Outside(supervised), fresh("again")
    rows = (f"2024-01-01T00:{i // 60:02}:{i % 60:02}Z,{i % 7},{int(i % 7 > 3)}\n" for i in range(ROWS))
    (tmp_path / "rows.csv").write_text("time,x,y\n" + "".join(rows))
    (tmp_path / "job.py").write_text(JOB.format(name=name, every=EVERY))
    out.tidemill("stream", "create", name, "--infer", tmp_path / "rows.csv", "--time", "time", "--no-labels")
    out.tidemill("publish", name, tmp_path / "rows.csv")
    out.tidemill("submit", tmp_path / "job.py")
    settled = out.settled(name)
    assert settled["versions"] == {name: ROWS // EVERY}
    assert settled["labels"] == settled["stepped"] > 0
    yield out, name
    out.tidemill("job", "stop", name, "--wait", "0")


@pytest.fixture
def copy(own_home):
    """The address of a second broker, empty as yet."""
    lifecycle.up(config.load(own_home), parts=(KafkaPart(),))
    return f"127.0.0.1:{Home(own_home).read().ports['kafka']}"


def copied(topic: str, origin: str, copy: str) -> None:
    """Copy a topic record by record, all at their offsets, and one of them altered."""
    with closing(KafkaLog({"bootstrap.servers": origin})) as log, closing(KafkaLog({"bootstrap.servers": copy})) as to:
        to.create(topic, TopicSpec())
        with closing(to.writer()) as writer:
            for r in read_all(log, topic):
                value = json.dumps(json.loads(r.value) | {"x": 100}).encode() if r.offset == ALTERED else r.value
                writer.send(topic, value, key=r.key, headers=r.headers, partition=r.partition)
            writer.flush()


def test_three_versions_an_altered_copy_and_a_range_that_is_gone(learned, copy):
    out, name = learned
    topic = f"data.{name}"
    digests = set()
    for version in (1, 2, 4):
        facts = out.tidemill("model", "reproduce", f"{name}@{version}")
        assert (facts["equal"], facts["records_equal"]) == (True, True), facts
        assert facts["rebuilt_digest"] == facts["content_digest"]
        digests.add(facts["content_digest"])
    assert len(digests) == 3

    copied(topic, out.bootstrap, copy)
    # What version 1 learned from is the same in the copy; what version 2 learned from is not.
    assert out.tidemill("model", "reproduce", f"{name}@1", "--log", copy)["equal"] is True
    told = out.run("model", "reproduce", f"{name}@2", "--log", copy)
    facts = json.loads(told.stdout)
    assert (told.returncode, facts["equal"], facts["records_equal"]) == (1, False, False), told.stderr

    with closing(KafkaAdmin({"bootstrap.servers": out.bootstrap})) as admin:
        admin.delete_before(Partition(topic, 0), 30)
    told = out.run("model", "reproduce", f"{name}@2")
    assert (told.returncode, told.stdout, told.stderr.count("\n")) == (1, "", 1), told.stderr
    assert f"{topic}/0" in told.stderr
    assert "are gone" in told.stderr
    assert "offsets 0 to 29" in told.stderr
