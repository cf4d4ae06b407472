"""A journal repeats a run from a bounded tail and chunks kept by digest, whatever was sealed when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import journal as module
from streams.journal import Chunk, Journal, Moves, chain, decode, encode
from tests.streams.test_intake import NOW, P, record
from tidemill.errors import MalformedError
from tidemill.events import ProgressMade
from tidemill.state import digest


class Kept:
    """Objects in memory."""

    def __init__(self):
        self.objects = {}

    def put(self, data):
        self.objects[digest(data)] = data
        return digest(data)


def made(sequence, journal, *, segments=(), moved=(), time=0):
    return ProgressMade(
        id=str(sequence),
        time=time,
        job="j",
        sequence=sequence,
        offsets=[],
        watermark=0,
        last=None,
        segments=list(segments),
        emitted={},
        moved=list(moved),
        journal=journal.kept,
    )


def alternating(count):
    """Segments of two partitions in turns, and the commits that recorded them."""
    return [[("t", i % 2, i // 2 * 3, i // 2 * 3 + 3)] for i in range(count)]


@given(st.integers(0, 60), st.integers(1, 7), st.integers(0, 60))
def test_whoever_follows_the_commits_holds_what_the_run_held(count, most, since):
    """From the beginning, or from a snapshot in between."""
    kept, run, commits, snapshot = Kept(), Journal(), [], Journal()
    old, module.MOST = module.MOST, most
    try:
        for sequence, entries in enumerate(alternating(count)):
            run.add(entries, sequence, segments=True)
            run.seal(sequence, sequence, kept.put)
            commits.append(made(sequence, run, segments=entries, time=sequence))
            if sequence == since:
                snapshot = Journal(run.kept, list(run.tail), run.since)
            assert len(run.tail) < max(most, 2)
    finally:
        module.MOST = old
    follower = Journal()
    for one in commits if since >= count else commits[since + 1 :]:
        snapshot.follow(one, segments=True)
    for one in commits:
        follower.follow(one, segments=True)
    assert follower == snapshot == run
    whole = [*chain(run.kept, kept.objects.__getitem__), *run.tail]
    assert whole == [entry for entries in alternating(count) for entry in entries]


def test_segments_that_continue_each_other_are_one():
    journal = Journal()
    journal.add([("t", 0, 0, 5), ("t", 0, 5, 5), ("t", 0, 5, 9), ("t", 1, 0, 1), ("t", 0, 9, 10)], 1, segments=True)
    assert journal.tail == [("t", 0, 0, 9), ("t", 1, 0, 1), ("t", 0, 9, 10)]


def test_moves_at_one_place_are_one():
    """A partition that stays quiet while others go on is moved at every commit."""
    journal = Journal()
    for time in range(1_000):
        journal.add([("t", 0, 7, time), ("t", 1, 3, time)], time, segments=False)
    assert journal.tail == [("t", 0, 7, 999), ("t", 1, 3, 999)]
    journal.add([("t", 0, 8, 1_000)], 0, segments=False)
    assert journal.tail[-1] == ("t", 0, 8, 1_000)


def test_an_old_tail_is_kept_though_it_is_short():
    kept, journal = Kept(), Journal()
    journal.add([("t", 0, 0, 1)], 5, segments=True)
    journal.seal(1, 5 + module.OLDEST - 1, kept.put)
    assert journal.tail
    journal.seal(2, 5 + module.OLDEST, kept.put)
    assert not journal.tail
    assert decode(kept.objects[journal.kept]) == Chunk("", 2, [("t", 0, 0, 1)])
    journal.seal(3, 1 << 60, kept.put)
    assert len(kept.objects) == 1


def test_what_is_no_chunk_is_said():
    assert decode(encode(Chunk("a", 1, []))) == Chunk("a", 1, [])
    for data in (b"", b"x", encode(Chunk("a", 1, []))[:-3]):
        with pytest.raises(MalformedError):
            decode(data)


class Taken:
    """Stands for an intake: what was done, in order."""

    def __init__(self):
        self.done = []

    def take(self, partition, records):
        self.done += [r.offset for r in records]
        return len(records), []

    def move(self, partition, time):
        self.done.append(f"to {time}")


def test_moves_stand_before_the_records_at_their_offsets():
    taken, moves = Taken(), Moves([(*P, 0, 1), (*P, 3, 2), (*P, 3, 4), (*P, 9, 5), ("other", 0, 1, 6)])
    records = [record(i, NOW) for i in (0, 1, 2, 4, 5)]  # 3 is no record: a transaction's marker
    assert moves.feed(taken, P, records) == (5, [])
    assert taken.done == ["to 1", 0, 1, 2, "to 2", "to 4", 4, 5]
    moves.reach(taken, {P: 8})
    assert len(taken.done) == 8
    moves.reach(taken, {P: 9})
    assert taken.done[8:] == ["to 5"]
