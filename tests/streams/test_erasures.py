"""What was erased is taken as absent, row by row, up to where the topic was read and no further."""

import numpy as np

from connectors.memory import MemoryLog
from streams.erasures import TOPIC, Erasures
from tests.streams.engines.helpers import SPEC
from tests.streams.test_intake import NOW, P, record
from tidemill import events
from tidemill.block import Block
from tidemill.decode import Bad, Decoder
from tidemill.errors import MalformedError
from tidemill.events import RecordErased
from tidemill.log import Partition, Record, TopicSpec
from tidemill.version import Span


def log_of(*offsets):
    log = MemoryLog()
    log.create(TOPIC, TopicSpec())
    for offset in offsets:
        erase(log, offset)
    return log


def erase(log, offset, row=0, topic=P.topic):
    event = RecordErased(id="", time=0, topic=topic, partition=0, offset=offset, row=row)
    log.writer().send(TOPIC, events.encode(event))


def offsets(items):
    return [o for item in items for o in (item.offset.tolist() if isinstance(item, Block) else [item.place.offset])]


def test_erased_events_are_absent_and_counted():
    items = Decoder(SPEC).decode([record(i, NOW) for i in range(5)])
    erasures = Erasures()
    erasures.read(log_of(1, 3))
    assert offsets(erasures.absent(P, items)) == [0, 2, 4]
    assert (erasures.met, len(erasures)) == (2, 2)
    assert offsets(erasures.absent(Partition("elsewhere", 0), items)) == [0, 1, 2, 3, 4]


def test_a_block_of_which_nothing_is_left_is_no_block():
    items = Decoder(SPEC).decode([record(0, NOW), record(1, NOW)])
    erasures = Erasures()
    erasures.read(log_of(0, 1))
    assert list(erasures.absent(P, items)) == []


def test_one_row_of_an_arrow_block_goes_alone():
    (block,) = Decoder(SPEC).decode([record(0, NOW), record(1, NOW)])
    block.offset, block.row = np.array([7, 7]), np.array([0, 1], np.int32)
    log = log_of()
    erase(log, 7, row=1)
    erasures = Erasures()
    erasures.read(log)
    (left,) = erasures.absent(P, [block])
    assert left.row.tolist() == [0]


def test_a_bad_event_that_was_erased_is_no_dead_letter():
    (bad,) = Decoder(SPEC).decode([Record(P.topic, 0, 4, None, b"{", (), NOW)])
    assert isinstance(bad, Bad) and isinstance(bad.error, MalformedError)
    erasures = Erasures()
    erasures.read(log_of(4))
    assert list(erasures.absent(P, [bad])) == []


def test_it_knows_no_more_than_up_to_where_it_read():
    """A silent replay must see what the first run saw."""
    log = log_of(1)
    until = Erasures.end(log)
    erase(log, 2)
    erasures = Erasures()
    erasures.read(log, until)
    items = Decoder(SPEC).decode([record(i, NOW) for i in range(3)])
    assert offsets(erasures.absent(P, items)) == [0, 2]
    erasures.read(log)
    assert offsets(erasures.absent(P, items)) == [0]


def test_what_is_no_erasure_is_stepped_over():
    log = log_of()
    for value in (b"{", None, events.encode(events.JobChanged(id="", time=0, job="j", wanted="running"))):
        log.writer().send(TOPIC, value)
    erase(log, 0)
    erasures = Erasures()
    erasures.read(log)
    assert (len(erasures), erasures.position) == (1, 4)
    erasures = Erasures()
    erasures.read(MemoryLog())
    assert (len(erasures), Erasures.end(MemoryLog())) == (0, 0)


def test_the_places_erased_within_ranges_are_told():
    erasures = Erasures()
    erasures.read(log_of(1, 3, 7))
    assert {p.offset for p in erasures.within([Span(P.topic, P.number, 2, 7)])} == {3}
    assert {p.offset for p in erasures.within([Span(P.topic, P.number, 0, 2), Span("x", 0, 0, 9)])} == {1}
