"""Items that are in a project's stream already: found by id, and by filters."""

import pytest

from connectors.memory import MemoryLog
from serving.labelling.streamed import Streamed
from serving.labelling.uploads import stream_of
from tidemill.errors import ConfigError
from tidemill.events import LabelGiven, RecordErased
from tidemill.log import TopicSpec
from tidemill.stream import RECORD_TIME, Field, StreamSpec
from tidemill_app import stream_items
from tidemill_app.stream_items import find, matching
from tidemill_app.telling import tell

SPEC = stream_of("pets")


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr(stream_items, "_CHUNK", 4)
    made = MemoryLog()
    for topic, partitions in (("data.pets", 2), ("labels.pets", 1), ("erasures", 1)):
        made.create(topic, TopicSpec(partitions=partitions))
    writer = made.writer()
    for i in range(20):
        value = b'{"id":"e%d","time":%d,"media":"d%d","media_type":"image/png","width":%d,"group":"g"}' % (i, i, i, i)
        writer.send(SPEC.topic, value, partition=i % 2)
    writer.send(SPEC.topic, b"no event", partition=0)
    writer.close()
    return made


def test_events_are_found_by_their_ids(log):
    found = find(log, SPEC, {"e0", "e1", "e19", "nosuch"})
    assert sorted(found) == ["e0", "e1", "e19"]
    assert found["e19"] == Streamed(media="d19", media_type="image/png", group="g", shown={"width": 19})
    assert found["e0"].shown == {}


def test_what_was_erased_is_not_found(log):
    erased = RecordErased(id="x", time=0, topic=SPEC.topic, partition=0, offset=0, row=0)
    tell(log, "erasures", erased, "x")
    assert sorted(find(log, SPEC, {"e0", "e2"})) == ["e2"]
    assert "e0" not in dict(matching(log, SPEC, []))


def test_filters_choose_by_fields_and_by_labels(log):
    assert [id for id, _ in matching(log, SPEC, [])] == [f"e{i}" for i in (*range(0, 20, 2), *range(1, 20, 2))]
    assert {id for id, _ in matching(log, SPEC, ["width >= 5", "width < 8"])} == {"e5", "e6", "e7"}
    for i in range(18):
        tell(log, "labels.pets", LabelGiven(id=f"l{i}", time=0, about=f"e{i}", value="cat"), f"e{i}")
    assert {id for id, _ in matching(log, SPEC, ["@label = null"])} == {"e18", "e19"}
    assert {id for id, _ in matching(log, SPEC, ["@label = cat", "@id = e3"])} == {"e3"}
    for wrong in ("wide > 1", "width"):
        with pytest.raises(ConfigError):
            list(matching(log, SPEC, [wrong]))
    with pytest.raises(ConfigError, match="no id field"):
        list(matching(log, StreamSpec(name="plain", fields=(Field("n", "int"),), time=RECORD_TIME), []))
