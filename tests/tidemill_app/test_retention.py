"""Retention: what a version learned from outlives Kafka's own, or the manifest says what is missing."""

import pytest

from connectors.artefacts import ArtefactStore
from connectors.segments import Segments
from tidemill.errors import GoneError
from tidemill.log import Partition, TopicSpec
from tidemill.version import Lineage, Span
from tidemill_app import retention
from tidemill_app.reading import read_all
from tidemill_app.retention import Retention, forgets

pytestmark = pytest.mark.stack


@pytest.fixture
def segments(tmp_path):
    url = str(tmp_path / "artefacts")
    return Segments(url, ArtefactStore(url))


@pytest.fixture
def topic(log, name):
    log.create(name, TopicSpec(retention_ms=3_600_000))
    fill(log, name, 0, 10)
    return name


def fill(log, topic, start, stop):
    writer = log.writer()
    for i in range(start, stop):
        writer.send(topic, b"v%d" % i, key=b"k", headers=[("h", b"%d" % i)], partition=0)
    writer.flush()
    writer.close()


def lineage(topic, first, next, **changes) -> Lineage:
    read = [Span(topic, 0, first, next)]
    return Lineage(
        job="j", bundle="", file="", order="event_time", read=read, watermark=0, last=(0, "", ""), number=1, **changes
    )


def ranges(segments, topic) -> list[tuple[int, int]]:
    return [(s.first, s.next) for s in segments.segments(topic, 0)]


def test_archived_records_come_back_after_kafka_removed_them(log, topic, segments, admin, monkeypatch):
    monkeypatch.setattr(retention, "SEGMENT_RECORDS", 4)
    keeper = Retention(log, segments, lambda t: t == topic)
    pinned = keeper.pin(lineage(topic, 0, 8))
    assert ranges(segments, topic) == [(0, 4), (4, 8)]
    assert pinned.unrepeatable == ""
    before = list(read_all(log, topic))
    admin.delete_before(Partition(topic, 0), 6)
    assert log.begin(Partition(topic, 0)) == 6
    assert list(segments.read(Span(topic, 0, 0, 8))) == before[:8]
    assert list(segments.read(Span(topic, 0, 2, 5))) == before[2:5]


def test_a_later_version_archives_only_what_is_new(log, topic, segments):
    keeper = Retention(log, segments, lambda t: True)
    keeper.pin(lineage(topic, 0, 6))
    later = keeper.pin(lineage(topic, 0, 10))
    assert ranges(segments, topic) == [(0, 6), (6, 10)]
    assert keeper.pin(lineage(topic, 0, 10)) == later
    assert ranges(segments, topic) == [(0, 6), (6, 10)]


def test_what_was_gone_before_it_could_be_archived_is_named(log, topic, segments, admin):
    admin.delete_before(Partition(topic, 0), 3)
    keeper = Retention(log, segments, lambda t: True)
    pinned = keeper.pin(lineage(topic, 0, 10))
    assert pinned.unrepeatable.endswith(f"{topic}/0 offsets 0 to 2")
    assert ranges(segments, topic) == [(3, 10)]
    with pytest.raises(GoneError, match="offsets 0 to 2"):
        list(segments.read(Span(topic, 0, 0, 10)))
    assert len(list(segments.read(Span(topic, 0, 3, 10)))) == 7


def test_a_topic_that_forgets_nothing_is_not_archived(log, topic, segments):
    plain = lineage(topic, 0, 10)
    assert Retention(log, segments, lambda t: False).pin(plain) == plain
    assert segments.segments(topic, 0) == []


def test_the_files_that_a_job_began_on_are_not_looked_for_in_kafka(log, topic, segments):
    plain = lineage("history:trips", 0, 10)
    assert Retention(log, segments, lambda t: True).pin(plain) == plain


def test_the_archive_outlives_the_topic_itself(log, topic, segments, admin):
    keeper = Retention(log, segments, lambda t: True)
    keeper.pin(lineage(topic, 0, 10))
    before = list(read_all(log, topic))
    admin.delete(topic)
    assert list(segments.read(Span(topic, 0, 0, 10))) == before


def test_which_topics_forget(log, name, admin):
    assert not forgets({"retention.ms": "-1"})
    for configs in ({}, {"retention.ms": "1000"}, {"retention.ms": "-1", "cleanup.policy": "compact"}):
        assert forgets(configs)
    log.create(name, TopicSpec())
    assert not forgets(admin.configs(name))
    log.create(name + "c", TopicSpec(compacted=True))
    assert forgets(admin.configs(name + "c"))


def test_spans_are_kept_and_what_is_gone_is_named(log, topic, segments, admin):
    keeper = Retention(log, segments, lambda t: t == topic)
    assert keeper.keep([Span(topic, 0, 0, 4), Span("keeps", 0, 0, 9)]) == []
    admin.delete_before(Partition(topic, 0), 6)
    assert keeper.keep([Span(topic, 0, 2, 8)]) == [f"{topic}/0 offsets 4 to 5"]
    assert ranges(segments, topic) == [(0, 4), (6, 8)]
