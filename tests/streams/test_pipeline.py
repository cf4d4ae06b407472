"""What is stepped depends on what was fed, not on how; and a saved pipeline goes on as if nothing had happened."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.pipeline import Pipeline, Saved, Source
from tests.streams.engines.helpers import SPEC
from tidemill import state as states
from tidemill.checks.inputs import adversarial, stream
from tidemill.checks.reference import interpret_records
from tidemill.checks.witness import witness
from tidemill.decode import Decoder
from tidemill.log import Partition, Record
from tidemill.order import EventTime

SPEC2 = stream("threes", 3)
JOB = witness("w", ["threes"], 3, EventTime(lateness=30))
SENDINGS = adversarial([SPEC2], 150, 40, 9)
APPENDED = 1_000_000
PARTS = [Partition(SPEC2.topic, n) for n in range(3)]
RECORDS = {
    p: [
        Record(p.topic, p.number, i, None, value, headers, APPENDED)
        for i, (_, _, value, headers) in enumerate(s for s in SENDINGS if s[1] == p.number)
    ]
    for p in PARTS
}
WANT = interpret_records(JOB, {"threes": SPEC2}, [("threes", p, RECORDS[p]) for p in PARTS])


def fed(choices, saving):
    decoder = Decoder(SPEC2, max_event_bytes=JOB.max_event_bytes)
    sources = [Source(p, "threes") for p in PARTS]
    pipeline, at, dead = Pipeline(JOB, {"threes": SPEC2}, sources), dict.fromkeys(PARTS, 0), []
    for which, most, step in [*choices, *[(i, 10_000, True) for i in range(3)]]:
        p = PARTS[which]
        records = RECORDS[p][at[p] : at[p] + most]
        at[p] += len(records)
        rejected = pipeline.feed(p, decoder.decode(records), APPENDED)
        dead += [
            (r.place.topic, r.place.partition, r.place.offset, r.place.row, type(r.error).__name__) for r in rejected
        ]
        if step:
            stepped = pipeline.step()
            dead += [
                (d.place.topic, d.place.partition, d.place.offset, d.place.row, type(d.error).__name__)
                for d in stepped.dead
            ]
            if saving:
                data = states.encode(pipeline.snapshot())
                pipeline = Pipeline(JOB, {"threes": SPEC2}, sources)
                pipeline.restore(states.decode(data, Saved))
    return pipeline, dead


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40), st.booleans()), max_size=15), st.booleans())
def test_any_interleaving_and_any_restart_give_the_same(choices, saving):
    pipeline, dead = fed(choices, saving)
    assert {g: states.encode(s) for g, s in pipeline.states.items()} == WANT.states
    assert sorted(dead) == sorted(WANT.dead)
    counts = pipeline.counts
    assert (counts.stepped, counts.duplicates) == (WANT.stepped, WANT.duplicates)
    assert counts.emitted == {"seen": len(WANT.of("seen")), "due": len(WANT.of("due"))}
    assert counts.dead == len(dead)
    assert pipeline.watermark == WANT.watermark
    assert pipeline.buffered == 0


def test_history_ends_where_the_stream_goes_on():
    from tests.streams.engines.helpers import make_job, row
    from tidemill.job import Input

    past, live = Partition("history:trips", 0), Partition(SPEC.topic, 0)
    job = make_job(reads=(Input("trips", history="x.csv"),), order=EventTime())
    pipeline = Pipeline(job, {"trips": SPEC}, [Source(past, "trips", True), Source(live, "trips")])
    assert (pipeline.active(past), pipeline.active(live)) == (True, False)

    def records(p, numbers):
        return [
            Record(p.topic, 0, n, None, msgspec.json.encode(row(i) | {"at": i}), (), 0) for n, i in enumerate(numbers)
        ]

    decoder = Decoder(SPEC)
    pipeline.feed(past, decoder.decode(records(past, range(10))))
    pipeline.finish_history("trips")
    assert (pipeline.active(past), pipeline.active(live)) == (False, True)
    pipeline.step()
    assert pipeline.counts.stepped == 9
    pipeline.feed(live, decoder.decode(records(live, [3, 8, 9, 9, 10, 11, 12])))
    pipeline.step()
    counts = pipeline.counts
    assert (counts.stepped, counts.in_history, counts.duplicates, counts.late) == (12, 2, 2, 0)


def test_how_late_and_how_early_is_said_as_people_read_it():
    from tests.streams.engines.helpers import make_job

    p, second = Partition(SPEC.topic, 0), 1_000_000
    order = EventTime(lateness=90 * second, max_ahead=36 * 3600 * second)
    pipeline = Pipeline(make_job(order=order), {"trips": SPEC}, [Source(p, "trips")])
    times = ("2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z")
    values = [f'{{"id": "{at}", "at": "{at}", "km": 1.0, "who": "w"}}'.encode() for at in times]
    records = [Record(p.topic, 0, i, None, value, (), 0) for i, value in enumerate(values)]
    late, early = (str(r.error) for r in pipeline.feed(p, Decoder(SPEC).decode(records)))
    assert "wanted at most 1 min 30 s;" in late
    assert "wanted at most 1 d 12 h ahead" in early
