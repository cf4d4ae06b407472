"""A copy of a job's state is that state at every commit, whatever the order, the engine's moves and the cuts; and what
was asked of it at a position can be asked again."""

import json
import threading
from collections import defaultdict
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import msgspec
import pytest

from connectors.files import FileLog
from connectors.memory import MemoryLog
from streams import progress, replica
from streams.engines.local import LocalEngine
from streams.erasures import TOPIC as ERASURES
from streams.replica import SLICE, Copied, Replica, recovered, visit
from streams.sources import Segments
from streams.state_store import FolderStore
from tests.serving.helpers import until
from tests.streams.engines.helpers import SPEC, Learned, make_job, publish, row, rows_of, run, step
from tests.streams.engines.test_recovery import IDLE, one_sided, send, until_emitted
from tests.streams.test_intake import NOW, record
from tidemill import events
from tidemill import state as states
from tidemill.checks.faults import Crash, FaultyLog, crash_at
from tidemill.decode import Decoder
from tidemill.engine import Parts
from tidemill.errors import IntegrityError, SubmissionError, UnavailableError
from tidemill.events import RecordErased
from tidemill.job import DeadRow, Input
from tidemill.log import Partition, TopicSpec
from tidemill.order import Arrival, Batch, EventTime
from tidemill.state import NO_STATES
from tidemill.time import SystemClock

ORDERS = {"event_time": EventTime(lateness=20, idle_after=None), "arrival": Arrival()}


def parts_on(log, **more):
    return Parts(**{"log": log, "store": NO_STATES, "clock": SystemClock(), "streams": {"trips": SPEC}} | more)


def watched(job, seen):
    """The job, of which `seen` gets the state after each step, by the events stepped."""

    def stepped(state, batch):
        effects = step(state, batch)
        seen[effects.state.n] = states.encode(effects.state)
        return effects

    return replace(job, step=stepped)


@contextmanager
def following(job, log, **more):
    made = Replica(job, parts_on(log, **more))
    made.start()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def unbroken(caplog):
    """The copy goes on from commit to commit: it is never made anew, which would mend what went wrong."""
    caplog.set_level("INFO", "tidemill.replica")
    yield
    told = [r.getMessage() for r in caplog.get_records("call") if r.name == "tidemill.replica"]
    assert told == []


def is_at(log, copy):
    """Whether the copy has taken the job's last commit."""
    return copy.ready and copy.sequence == progress.last(log, copy.name).sequence


def commits(log, job="sums"):
    at = progress.topic_of(job)
    return list(progress.between(log, at, log.begin(at), log.end(at)))


def by_hand(log, upto=None):
    """The state that the first events make, in the order in which the job emitted: without its step."""
    made = Learned()
    for told in rows_of(log, "data.sums")[:upto]:
        one = row(int(told["id"].removeprefix("e")))
        made.n += 1
        made.weights[int(one["km"] * 7) % 8] += one["km"] * 0.1 + made.weights.sum() * 1e-3
        made.rides.count += 1
        made.rides.km[one["who"]] = made.rides.km.get(one["who"], 0.0) + one["km"]
        made.rides.changed_at[one["who"]] = made.rides.count
    return states.encode(made)


def state_of(copy):
    with copy.held() as (state, position):
        assert position == state.n == copy.position
        return states.encode(state)


def interleaved(log, store, job, first, count, size):
    """A run of the job over more rows in both partitions, in turns of `size`."""
    publish(log, [row(i) for i in range(first, first + count)])
    run(job, log, store, engine=LocalEngine(max_batch=size, snapshot_every=0.05))


@pytest.mark.parametrize("order", ORDERS)
def test_it_is_the_jobs_own_state_at_every_commit(tmp_path, order, unbroken):
    log, store, own, copied = MemoryLog(), FolderStore(tmp_path), {}, {}
    job = make_job(order=ORDERS[order])
    interleaved(log, store, watched(job, own), 0, 300, 7)
    begun = progress.last(log, "sums").sequence
    with following(watched(job, copied), log) as copy:
        for first, size in ((300, 3), (370, 11), (470, 50)):
            interleaved(log, store, watched(job, own), first, 100, size)
            until(lambda: is_at(log, copy))
            assert state_of(copy) == own[copy.position]
    made = commits(log)
    live = [one for one in made if one.sequence > begun]
    assert len(live) > 5 and len({one.stepped for one in live}) > 5
    both = {one.stepped for one in live} & copied.keys()
    assert len(both) > 5 and all(copied[n] == own[n] for n in both)
    if order == "arrival":
        assert {len({t[1] for t in one.segments}) for one in made} >= {1, 2}, "partitions took no turns"
    # Each commit, not only those that came while it followed, leads to the state that the job had there.
    for one in made[1::5]:
        found = recovered(job, parts_on(log), one, lambda: False)
        if one.stepped:
            assert states.encode(found.pipeline.states[0]) == own[one.stepped]


@pytest.mark.parametrize("batch", [30, 50_000])
@pytest.mark.parametrize("order", ORDERS)
def test_commits_that_came_meanwhile_are_taken_at_once(order, batch, tmp_path, unbroken, monkeypatch):
    monkeypatch.setattr(replica, "_BATCH", batch)
    log, store, own, copied = MemoryLog(), FolderStore(tmp_path), {}, {}
    job = make_job(order=ORDERS[order])
    interleaved(log, store, watched(job, own), 0, 100, 7)
    with following(watched(job, copied), log) as copy:
        until(lambda: is_at(log, copy))
        begun = copy.sequence
        with copy.held():  # so it cannot go on
            for first in range(100, 300, 20):
                interleaved(log, store, watched(job, own), first, 20, 3)
        until(lambda: is_at(log, copy))
        assert state_of(copy) == own[copy.position]
    live = {one.stepped for one in commits(log) if one.sequence > begun}
    both = live & copied.keys()
    assert len(live) > 10 and len(both) < len(live) - 5
    assert all(copied[n] == own[n] for n in both) and (len(both) > 5) is (batch == 30)


def test_commits_that_do_not_say_in_which_order_they_read_are_followed(tmp_path):
    log, store, own = MemoryLog(), FolderStore(tmp_path), {}
    job = make_job(order=ORDERS["event_time"])
    interleaved(log, store, watched(job, own), 0, 200, 7)
    made = [msgspec.structs.replace(one, segments=[]) for one in commits(log)]  # as the Flink engine writes them
    copied = Copied(job, lambda *_: SLICE)
    found = recovered(copied.job, parts_on(log), made[5], lambda: False)
    begun, segments = copied.position, Segments(log, {})
    for one in made[6:]:
        replica._apply(found, [one], segments)
    assert begun < copied.position == made[-1].stepped and states.encode(copied.state) == own[copied.position]


@pytest.mark.parametrize("meanwhile", [False, True])
def test_it_is_the_jobs_own_state_where_the_engine_moves_quiet_partitions(tmp_path, meanwhile, unbroken):
    log, store, own, copied = MemoryLog(), FolderStore(tmp_path), {}, {}
    job = make_job(order=IDLE)
    send(log, one_sided(0, 60))
    run(watched(job, own), log, store, done=until_emitted(log, 60))
    with following(watched(job, copied), log) as copy:
        until(lambda: is_at(log, copy))
        with copy.held() if meanwhile else nullcontext():
            # What comes late in the partition that was moved is late for the copy too.
            send(log, [(row(10), 1), (row(200), 1), *one_sided(130, 60)])
            run(watched(job, own), log, store, done=until_emitted(log, 121))
            begun = sum(len(one.moved) for one in commits(log))
            send(log, one_sided(300, 40))
            run(watched(job, own), log, store, done=until_emitted(log, 161))
        until(lambda: is_at(log, copy))
        assert copy.position == 161 and state_of(copy) == own[161] == by_hand(log)
    made = commits(log)
    assert sum(len(one.moved) for one in made) > begun > 1, "none were moved while it followed"
    assert made[-1].dead == 1
    both = {one.stepped for one in made if one.stepped > 60} & copied.keys()
    assert both and all(copied[n] == own[n] for n in both)


@pytest.mark.parametrize("point", ["before commit", "after commit"])
def test_it_follows_what_is_committed_and_nothing_else(tmp_path, point, unbroken):
    """Under `arrival` the life after a crash reads in other turns than the one that crashed before it committed."""
    log, store, own, ahead = MemoryLog(), FolderStore(tmp_path), {}, []
    job = make_job(order=Arrival())

    def committed_first(state, batch):
        if state.n + len(batch) > progress.last(log, "sums").stepped:
            ahead.append(state.n)
        return step(state, batch)

    interleaved(log, store, job, 0, 100, 40)
    with following(replace(job, step=committed_first), log) as copy:
        until(lambda: is_at(log, copy))
        publish(log, [row(i) for i in range(100, 300)])
        with pytest.raises(Crash):
            engine = LocalEngine(max_batch=40, snapshot_every=0)
            run(job, FaultyLog(log, crash_at(point, 2)), store, engine=engine, done=lambda: False)
        run(watched(job, own), log, store, engine=LocalEngine(max_batch=3, snapshot_every=0))
        until(lambda: is_at(log, copy))
        assert copy.position == 300 and state_of(copy) == own[300]
    assert not ahead


def test_a_job_begun_anew_is_copied_anew(tmp_path):
    log, store = MemoryLog(), FolderStore(tmp_path)
    job = make_job()
    publish(log, [row(i) for i in range(200)])
    run(job, log, store)
    with following(job, log) as copy:
        until(lambda: is_at(log, copy))
        before = copy.position
        # What `tidemill submit --reset` forgets; and the log has lost its beginning meanwhile.
        store.clear(job.name)
        log.delete(f"progress.{job.name}")
        log.delete(job.writes[0].topic)
        log._committed.clear()
        for p in log.partitions(SPEC.topic):
            log.delete_before(p, 40)
        run(job, log, store)
        until(lambda: copy.position == before - 80 and is_at(log, copy))
        assert state_of(copy) == by_hand(log)
        publish(log, [row(i) for i in range(200, 260)])
        run(job, log, store)
        until(lambda: copy.position > before - 80 and is_at(log, copy))
        assert state_of(copy) == by_hand(log)


class Compacted:
    """A log whose commit `sequence` is gone for whoever comes to it while following."""

    def __init__(self, log, sequence):
        self._log, self.sequence = log, sequence

    def __getattr__(self, name):
        return getattr(self._log, name)

    def reader(self, positions):
        made = self._log.reader(positions)
        (one, *_) = positions
        first, poll = positions[one], made.poll

        def without(most, timeout):
            found = poll(most, timeout)
            if one.topic.startswith("progress.") and first:
                return [r for r in found if events.decode(r.value).sequence != self.sequence]
            return found

        made.poll = without
        return made


def test_it_is_made_anew_where_a_commit_is_gone(tmp_path, caplog):
    caplog.set_level("INFO", "tidemill.replica")
    log, store, begun = MemoryLog(), FolderStore(tmp_path), []
    job = make_job()
    publish(log, [row(i) for i in range(100)])
    run(job, log, store)
    lossy = Compacted(log, progress.last(log, "sums").sequence + 2)

    def init():
        begun.append(1)
        return Learned()

    with following(replace(job, init=init), lossy) as copy:
        until(lambda: is_at(log, copy))
        once = len(begun)
        interleaved(log, store, job, 100, 150, 5)
        until(lambda: is_at(log, copy))
        assert state_of(copy) == by_hand(log)
    assert progress.last(log, "sums").sequence > lossy.sequence
    assert len(begun) > once
    told = {(r.levelname, r.getMessage()) for r in caplog.records if r.name == "tidemill.replica"}
    assert told == {("INFO", "copy of job sums: it began anew, or commits are gone: copying anew")}


@pytest.mark.parametrize("order", ORDERS)
def test_it_begins_with_a_snapshot_of_the_job_where_there_is_one(tmp_path, order):
    log, store, stepped = MemoryLog(), FolderStore(tmp_path), []
    job = make_job(order=ORDERS[order])
    publish(log, [row(i) for i in range(100)])
    run(job, log, store)
    publish(log, [row(i) for i in range(100, 150)])
    run(job, log, NO_STATES)  # the snapshot is of the first part

    def counted(state, batch):
        stepped.append(len(batch))
        return job.step(state, batch)

    with following(replace(job, step=counted), log, store=store) as copy:
        until(lambda: is_at(log, copy))
        with copy.held() as (state, position):
            kept = states.encode(state)
        assert position == progress.last(log, "sums").stepped
    assert 0 < sum(stepped) <= 60, "it read what the snapshot holds"
    with following(job, log) as other:
        until(lambda: is_at(log, other))
        assert state_of(other) == kept
    # One of another job does not fit: it is made from the beginning.
    stepped.clear()
    with following(replace(job, step=counted, version=2), log, store=store) as copy:
        until(lambda: is_at(log, copy))
        assert copy.position == position and sum(stepped) == position


def test_a_copy_that_does_not_stand_where_the_job_stood_is_refused(tmp_path):
    """A step that is no function of its input: some events are dead for the copy, and were not for the job."""
    log, job = MemoryLog(), make_job()
    publish(log, [row(i) for i in range(100)])
    run(job, log, FolderStore(tmp_path))

    def moody(state, batch):
        effects = step(state, batch)
        block = next(iter(batch.blocks.values()), None)
        if block is not None and state.n > 30:
            effects.dead.append(DeadRow(block.place(0), SubmissionError("not today")))
        return effects

    wrong = replace(job, step=moody)
    with pytest.raises(IntegrityError, match=r"the copy is not where commit \d+ stood.*not deterministic"):
        recovered(Copied(wrong, lambda *_: SLICE).job, parts_on(log), progress.last(log, "sums"), lambda: False)
    with pytest.raises(IntegrityError, match="the copy is not where"):
        visit(wrong, parts_on(log), progress.last(log, "sums"), [1], lambda state, position: None)
    with following(wrong, log) as copy:
        until(lambda: "the copy is not where" in copy.problem)
        assert not copy.ready and copy.stale > 0
        with pytest.raises(UnavailableError, match="the copy is not where"), copy.held():
            pass
    with following(job, log) as copy:  # the job as it is
        until(lambda: is_at(log, copy))
        assert copy.problem == "" and copy.stale == 0


def test_it_cannot_be_asked_before_it_is_where_the_job_stood(tmp_path):
    log, job = MemoryLog(), make_job()
    log.create(SPEC.topic, SPEC.topic_spec())
    copy = Replica(job, parts_on(log))
    with pytest.raises(UnavailableError, match="not read the log yet"), copy.held():
        pass
    copy.start()
    publish(log, [row(i) for i in range(50)])
    run(job, log, FolderStore(tmp_path))
    until(lambda: is_at(log, copy))
    copy.close()
    assert state_of(copy) == by_hand(log), "and what it has it keeps"


def batch_of(count):
    (block,) = Decoder(SPEC).decode([record(i, NOW) for i in range(count)])
    return Batch.sort([block], 5_000)


def test_whoever_asks_waits_for_a_slice_at_most():
    """The state is free between slices, and only then; a wake comes once, with the last of them."""
    sizes, wakes, between = [], [], []

    def counted(state, batch):
        assert copied._lock.locked() and copied.position == state.n
        sizes.append(len(batch))
        wakes.append(batch.wake)
        effects = step(state, batch)
        return replace(effects, wake_at=state.n, dead=[state.n])

    def asked(state, position, following):
        assert not copied._lock.locked() and position == state.n
        between.append((position, following))
        return SLICE

    copied = Copied(make_job(step=counted), asked)
    effects = copied.job.step(Learned(), batch_of(1_030))
    assert sizes == [SLICE] * 5 + [30]
    assert between == [(at, 1_030 - at) for at in range(0, 1_030, SLICE)]
    assert wakes == [None] * 5 + [5_000]
    assert (effects.wake_at, effects.dead, effects.emit) == (1_030, [*range(200, 1_001, 200), 1_030], [])
    assert copied.position == effects.state.n == 1_030 and copied.state is effects.state
    whole = step(Learned(), batch_of(1_030)).state
    assert states.encode(whole) == states.encode(effects.state)
    # A wake alone is a slice of nothing.
    copied.job.step(effects.state, Batch.empty(6_000))
    assert (sizes[-1], wakes[-1], copied.position) == (0, 6_000, 1_030)


def test_a_copy_is_asked_while_it_goes_on(tmp_path, monkeypatch, unbroken):
    """Someone who asks all the time finds the state whole, at ever later positions."""
    monkeypatch.setattr(replica, "SLICE", 10)
    log, store, job = MemoryLog(), FolderStore(tmp_path), make_job()
    publish(log, [row(i) for i in range(40)])
    run(job, log, store)
    found, sizes, ended = [], [], threading.Event()

    def measured(state, batch):
        sizes.append(len(batch))
        return step(state, batch)

    with following(replace(job, step=measured), log) as copy:
        until(lambda: is_at(log, copy))

        def ask():
            while not ended.is_set():
                with copy.held() as (state, position):
                    found.append((position, state.n, float(state.weights.sum())))

        asking = threading.Thread(target=ask)
        asking.start()
        interleaved(log, store, job, 40, 1_500, 400)
        until(lambda: is_at(log, copy))
        ended.set()
        asking.join()
    assert max(sizes) == 10, "more than a slice at a time"
    positions = [position for position, _, _ in found]
    assert {*positions} - {one.stepped for one in commits(log)}, "asked between commits only"
    assert positions == sorted(positions) and all(position == n for position, n, _ in found)
    sums = {told["id"]: told["sum"] for told in rows_of(log, "data.sums")}
    after = [0.0, *sums.values()]
    assert all(total == after[position] for position, _, total in found)


@pytest.mark.parametrize("order", ORDERS)
def test_visits_see_the_state_at_exactly_the_positions_asked(tmp_path, order):
    log, store = MemoryLog(), FolderStore(tmp_path)
    job = make_job(order=ORDERS[order])
    for first, size in ((0, 9), (200, 40)):
        interleaved(log, store, job, first, 200, size)
    committed = progress.last(log, "sums")
    last = committed.stepped
    found = defaultdict(list)
    asked = [0, 1, 17, 17, 64, 65, 66, 250, last - 1, last]

    def visited(state, position):
        found[position].append(states.encode(state))

    visit(job, parts_on(log), committed, asked, visited)
    assert list(found) == sorted(set(asked)) and len(found[17]) == 2
    for position, seen in found.items():
        assert set(seen) == {by_hand(log, position)}, position
    assert len({seen[0] for seen in found.values()}) == len(found)
    # An earlier commit does not lead as far.
    earlier = next(one for one in commits(log) if 0 < one.stepped < 250)
    for beyond, one in ((last + 1, committed), (earlier.stepped + 1, earlier)):
        with pytest.raises(IntegrityError, match=rf"not reached.*wanted at most {one.stepped}; got {beyond}"):
            visit(job, parts_on(log), one, [1, beyond], visited)


def test_a_visit_of_a_job_that_has_stepped_nothing_sees_its_beginning(tmp_path):
    log, job, found = MemoryLog(), make_job(), []
    publish(log, [row(0)])
    run(job, log, FolderStore(tmp_path))
    visit(
        job, parts_on(log), progress.last(log, "sums"), [0], lambda state, position: found.append((state.n, position))
    )
    assert found == [(0, 0)]
    visit(job, parts_on(log), progress.last(log, "sums"), [0], lambda *_: pytest.fail("stopped"), lambda: True)


def test_a_job_that_began_on_files_is_copied_once_it_has_read_them(tmp_path, unbroken):
    (tmp_path / "past.jsonl").write_text("".join(json.dumps(row(i)) + "\n" for i in range(120)))
    log, store, history = MemoryLog(), FolderStore(tmp_path / "state"), FileLog
    job = make_job(reads=(Input("trips", history=str(tmp_path / "past.jsonl")),))
    log.create(SPEC.topic, SPEC.topic_spec())
    engine = LocalEngine(max_batch=10, snapshot_every=0)
    run(job, log, store, engine=engine, history=history, done=iter([False] * 6 + [True]).__next__)
    assert 0 < progress.last(log, "sums").stepped < 100, "the history was at its end"
    with following(job, log, history=history) as copy:
        until(lambda: "has not read the files" in copy.problem)
        assert not copy.ready
        publish(log, [row(i) for i in range(120, 200)])
        done = until_emitted(log, 180)
        run(job, log, store, engine=engine, history=history, done=done)
        until(lambda: is_at(log, copy))
        assert copy.position >= 180 and state_of(copy) == by_hand(log)
        publish(log, [row(i) for i in range(200, 300)])
        run(job, log, store, engine=engine, history=history, done=until_emitted(log, 280))
        until(lambda: is_at(log, copy))
        assert copy.position >= 280 and state_of(copy) == by_hand(log)
    seen = []
    visit(
        job,
        parts_on(log, history=history),
        progress.last(log, "sums"),
        [60, 150],
        lambda state, position: seen.append(states.encode(state)),
    )
    assert seen == [by_hand(log, 60), by_hand(log, 150)]


def test_a_job_of_several_groups_has_no_one_state():
    with pytest.raises(SubmissionError, match="a copy is of one state; got 4 groups"):
        Replica(make_job(groups=4), parts_on(MemoryLog()))


def test_what_was_erased_is_absent_from_a_copy_made_after(tmp_path, unbroken):
    """It cannot be compared with where the job stood then, so it is not; what comes after goes on."""
    log, store, job = MemoryLog(), FolderStore(tmp_path), make_job()
    publish(log, [row(i) for i in range(100)])
    run(job, log, store)
    log.create(ERASURES, TopicSpec())
    gone = RecordErased(id="", time=0, topic=SPEC.topic, partition=1, offset=3, row=0)
    log.writer().send(ERASURES, events.encode(gone))
    assert Partition(SPEC.topic, 1) in log.partitions(SPEC.topic)
    with following(job, log) as copy:
        until(lambda: is_at(log, copy))
        before = progress.last(log, "sums").stepped
        assert copy.position == before - 1
        with copy.held() as (state, _):
            km = dict(state.rides.km)
        publish(log, [row(i) for i in range(100, 160)])
        run(job, log, store)
        until(lambda: is_at(log, copy) and copy.position > before)
        assert copy.position == progress.last(log, "sums").stepped - 1
    told = [row(int(r["id"][1:])) for r in rows_of(log, "data.sums")][:before]
    rides = defaultdict(float)
    for one in told:
        if one["id"] != "e7":  # the fourth of partition 1
            rides[one["who"]] += one["km"]
    assert km == rides


def test_a_copy_does_not_stay_where_its_job_has_heeded_an_erasure(tmp_path):
    log, store, own = MemoryLog(), FolderStore(tmp_path), {}
    job = make_job(order=ORDERS["event_time"])
    publish(log, [row(i) for i in range(100)])
    run(job, log, store)
    with following(job, log) as copy:
        until(lambda: is_at(log, copy))
        log.create(ERASURES, TopicSpec())
        erased = RecordErased(id="", time=0, topic=SPEC.topic, partition=1, offset=55, row=0)
        log.writer().send(ERASURES, events.encode(erased))
        run(job, log, store)  # from its next snapshot on the job heeds it
        publish(log, [row(i) for i in range(100, 160)])
        run(watched(job, own), log, store)
        until(lambda: is_at(log, copy) and copy.position == progress.last(log, "sums").stepped)
        assert copy.position < 160 and state_of(copy) == own[copy.position]
