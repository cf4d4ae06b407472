"""What is fed depends on the records, not on how they come in."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from streams.erasures import Erasures
from streams.intake import Intake
from streams.pipeline import Pipeline, Source
from tests.streams.engines.helpers import SPEC, make_job
from tidemill import events
from tidemill.cloudevents import headers_of
from tidemill.events import TimeAdvanced
from tidemill.log import Partition, Record
from tidemill.order import EventTime
from tidemill.time import DAY

P = Partition(SPEC.topic, 0)
NOW = 20_000 * DAY


def record(offset, at, appended=NOW):
    value = json.dumps({"id": f"e{offset}", "at": at, "km": 1.0, "who": "w"}).encode()
    return Record(P.topic, P.number, offset, None, value, (), appended)


def advance(offset, time, promise=False):
    event = TimeAdvanced(id=f"a{offset}", time=time, promise=promise)
    return Record(P.topic, P.number, offset, None, events.encode(event), headers_of(event), NOW)


def take(records, cuts=()):
    """The offsets rejected as early, those of the others, and the clock."""
    job = make_job(order=EventTime(lateness=0, max_ahead=10 * DAY, idle_after=None))
    sources = [Source(P, "trips")]
    pipeline = Pipeline(job, {"trips": SPEC}, sources)
    intake = Intake(job, {"trips": SPEC}, sources, pipeline, Erasures())
    early, edges = [], [0, *sorted(min(c, len(records)) for c in cuts), len(records)]
    for a, b in itertools.pairwise(edges):
        if a < b:
            rows, rejected = intake.take(P, records[a:b])
            assert rows == b - a
            early += [(r.place.offset, type(r.error).__name__) for r in rejected]
    return early, pipeline.clocks[P]


FAR = 40_000 * DAY


def test_a_first_event_from_the_far_future_poisons_nothing():
    early, clock = take([record(0, FAR), record(1, NOW - DAY), record(2, NOW)])
    assert early == [(0, "EarlyError")] and clock.largest == NOW


def test_a_first_event_is_judged_by_its_own_append_time():
    later = NOW + 15 * DAY
    early, clock = take([record(0, later), record(1, later, appended=later)])
    assert early == [(0, "EarlyError")] and clock.largest == later


def test_a_clock_set_to_the_far_future_poisons_nothing():
    for promise in (False, True):
        early, clock = take([record(0, NOW), advance(1, FAR, promise), record(2, NOW + 5)])
        assert early == [(1, "EarlyError")] and (clock.largest, clock.promised < NOW) == (NOW + 5, True)
        early, clock = take([advance(0, FAR, promise), record(1, NOW)])
        assert early == [(0, "EarlyError")] and clock.largest == NOW


def test_a_promise_long_after_the_last_event_of_a_quiet_partition_stands():
    early, clock = take([record(0, 5 * DAY), advance(1, 900 * DAY, True)])
    assert early == [] and clock.floor(0) == 900 * DAY


TIMES = st.sampled_from([0, NOW - 30 * DAY, NOW, NOW + 9 * DAY, NOW + 11 * DAY, NOW + 25 * DAY, FAR])
ROWS = st.lists(st.tuples(TIMES, TIMES, st.sampled_from(["event", "moved", "promised"])), max_size=12)


@given(ROWS, st.lists(st.integers(0, 12), max_size=4))
def test_it_is_the_same_for_every_split(rows, cuts):
    records = [
        record(i, at, max(appended, 1)) if kind == "event" else advance(i, at, kind == "promised")
        for i, (at, appended, kind) in enumerate(rows)
    ]
    assert take(records, cuts) == take(records)
