"""What the log has lost comes from the archive, in pieces, and then the log goes on; what neither has is named.

The log's suite (`tests/conformance/test_logs.py`) checks the rest.
"""

import pytest

from connectors.memory import MemoryLog
from streams import archived
from streams.archived import ArchivedLog
from tidemill.errors import GoneError
from tidemill.log import Partition, TopicSpec
from tidemill.version import Span

P = Partition("t", 0)


class World:
    """A log of 20 records with a transaction's marker among them, its archive, and what was asked of that."""

    def __init__(self, lost):
        self.log, self.asked = MemoryLog(), []
        self.log.create("t", TopicSpec())
        writer = self.log.writer("w")
        for part in (range(10), range(10, 20)):
            writer.begin()
            for i in part:
                writer.send("t", b"%d" % i)
            writer.commit()
        self.records = self.log.reader({P: 0}).poll(100, 0.0)
        self.log.delete_before(P, lost)

    def archive(self, span):
        self.asked.append((span.first, span.next))
        return [r for r in self.records if span.first <= r.offset < span.next]

    def read(self, span, most=7):
        log = ArchivedLog(self.log, [span], self.archive)
        reader, out = log.reader({P: span.first}), []
        while reader.positions()[P] < span.next:
            out += reader.poll(most, 0.01)
        return [r.offset for r in out if r.offset < span.next]


ALL = [*range(10), *range(11, 21)]


@pytest.mark.parametrize("lost", [0, 1, 9, 10, 11, 15, 22])
def test_it_reads_as_if_nothing_were_lost(monkeypatch, lost):
    monkeypatch.setattr(archived, "PIECE", 4)
    world = World(lost)
    assert world.read(Span("t", 0, 0, 21)) == ALL
    assert max([stop - first for first, stop in world.asked], default=0) <= 4
    assert max([stop for _, stop in world.asked], default=0) <= lost
    assert world.read(Span("t", 0, 3, 8)) == [3, 4, 5, 6, 7]


def test_what_neither_has_is_named():
    world = World(5)
    with pytest.raises(GoneError, match=r"t/0.*offsets 2 to 4"):
        ArchivedLog(world.log, [Span("t", 0, 2, 10)], None)
    with pytest.raises(GoneError, match=r"t/0.*offsets 22 to 29"):
        ArchivedLog(world.log, [Span("t", 0, 7, 30)], world.archive)
    assert ArchivedLog(world.log, [Span("t", 0, 5, 10)], None).held == {}


def test_a_hole_in_the_archive_is_named_with_all_that_is_missed(monkeypatch):
    monkeypatch.setattr(archived, "PIECE", 4)
    world = World(15)

    def holed(span):
        if span.next > 6:
            raise GoneError("no archive holds these offsets", got=f"nothing of offsets 6 to {span.next - 1}")
        return world.archive(span)

    reader = ArchivedLog(world.log, [Span("t", 0, 0, 21)], holed).reader({P: 0})
    assert [r.offset for r in reader.poll(100, 0.0)] == [0, 1, 2, 3]
    with pytest.raises(GoneError, match=r"t/0.*offsets 4 to 14; got nothing of offsets 6 to 7"):
        reader.poll(100, 0.0)


def test_a_topic_that_is_no_more_is_all_archived():
    world = World(0)
    world.log.delete("t")
    assert world.read(Span("t", 0, 0, 21)) == ALL
    log = ArchivedLog(world.log, [Span("t", 0, 0, 21)], world.archive)
    assert (log.topics(), log.begin(P), log.end(P)) == ({"t": 1}, 0, 21)
