"""Topic `models` says which versions there are."""

from connectors.memory import MemoryLog
from tidemill import events
from tidemill.events import ModelAliased, ModelPublished
from tidemill.log import TopicSpec
from tidemill_app.published import TOPIC, Published


def version(number, model="m", **more):
    fixed = {"uri": "", "content_digest": f"c{number}", "version_digest": f"v{number}", "kind": "k"}
    return ModelPublished(id=f"{model}@{number}", time=0, model=model, version=str(number), **fixed | more)


def test_it_reads_on_where_it_stopped_and_steps_over_what_is_no_event():
    log = MemoryLog()
    there = Published(log)
    assert there.refresh().versions == {}
    log.create(TOPIC, TopicSpec())
    writer = log.writer()
    writer.send(TOPIC, events.encode(version(1)))
    writer.send(TOPIC, b"{")
    assert list(there.refresh().versions) == [("m", "1")]
    writer.send(TOPIC, events.encode(version(2)))
    writer.send(TOPIC, events.encode(ModelAliased(id="a", time=0, model="m", alias="champion", version="1")))
    assert list(there.refresh().versions) == [("m", "1"), ("m", "2")]
    assert there.aliases == {("m", "champion"): "1"}


def test_what_was_not_committed_is_not_there():
    log = MemoryLog()
    log.create(TOPIC, TopicSpec())
    writer = log.writer("t")
    writer.begin()
    writer.send(TOPIC, events.encode(version(1)))
    there = Published(log)
    assert there.refresh().versions == {}
    writer.abort()
    writer.begin()
    writer.send(TOPIC, events.encode(version(1, job="other")))
    writer.commit()
    assert there.refresh().versions["m", "1"].job == "other"
