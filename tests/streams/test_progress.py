"""The newest progress is found past any tail of aborted transactions; segments join where they continue."""

from connectors.memory import MemoryLog
from streams import progress
from tidemill import events
from tidemill.events import ProgressMade


def made(sequence):
    return events.encode(
        ProgressMade(
            id=str(sequence),
            time=0,
            job="j",
            sequence=sequence,
            offsets=[],
            watermark=0,
            last=None,
            segments=[("t", 0, sequence, sequence + 1)],
            emitted={},
        )
    )


def log_with(commits, aborts):
    log = MemoryLog()
    log.create("progress.j", progress.TOPIC)
    writer = log.writer("w")
    for i in range(commits + aborts):
        writer.begin()
        writer.send("progress.j", made(i))
        writer.commit() if i < commits else writer.abort()
    return log


def test_the_last_and_those_since():
    log = log_with(300, 40)
    assert progress.last(log, "j").sequence == 299
    for after in (-1, 0, 150, 298, 299):
        assert [e.sequence for e in progress.since(log, "j", after)] == list(range(after + 1, 300))
    p = progress.topic_of("j")
    assert [e.sequence for e in progress.between(log, p, 10, 21)] == [5, 6, 7, 8, 9, 10]


def test_none_before_the_first_commit():
    assert progress.last(MemoryLog(), "j") is None
    assert progress.last(log_with(0, 3), "j") is None
    assert progress.last(log_with(0, 0), "j") is None


def test_what_compaction_took_is_not_since():
    log = log_with(50, 0)
    log.delete_before(progress.topic_of("j"), 41)
    assert [e.sequence for e in progress.since(log, "j", 3)] == list(range(21, 50))


def test_segments_join():
    runs = [("a", 0, 0, 3), ("a", 0, 3, 5), ("b", 0, 0, 0), ("b", 0, 0, 2), ("a", 0, 6, 7)]
    joined = [("a", 0, 0, 5), ("b", 0, 0, 2), ("a", 0, 6, 7)]
    assert progress.merged(runs) == joined
