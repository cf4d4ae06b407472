"""The suite sees each kind of broken log. A suite that cannot fail proves nothing."""

import pytest

from connectors import memory
from connectors.memory import MemoryLog, MemoryReader, MemoryWriter
from tidemill.checks import log_subject
from tidemill.checks.logs import CHECKS, Subject, unmet
from tidemill.errors import TidemillError, UserError
from tidemill.log import Partition


class Reads(MemoryLog):
    """A log whose readers are of another kind."""

    kind = MemoryReader

    def reader(self, positions):
        return self.kind(self, positions)


class Writes(MemoryLog):
    """A log whose writers change what they are given, or do something else with it."""

    def writer(self, transactional_id=""):
        writer = super().writer(transactional_id)
        self.change(writer)
        return writer

    def change(self, writer):
        raise NotImplementedError


class HidesUnknownTopics(MemoryLog):
    def partitions(self, topic):
        return super().partitions(topic) if topic in self._specs else []


class StopsShort(Reads):
    class kind(MemoryReader):
        def positions(self):
            return {p: max(at - 1, 0) for p, at in super().positions().items()}


class SharesPositions(Reads):
    def __init__(self):
        super().__init__()
        self.shared = {}

    def reader(self, positions):
        reader = super().reader(positions)
        for partition, at in positions.items():
            self.shared.setdefault(partition, at)
        reader._positions = self.shared
        return reader


class GivesTooMany(Reads):
    class kind(MemoryReader):
        def poll(self, max_records, timeout):
            return super().poll(max_records * 10, timeout)


class ForgetsWhereItBegan(Reads):
    def reader(self, positions):
        return super().reader(dict.fromkeys(positions, 0))


class ClampsPositions(Reads):
    def reader(self, positions):
        return super().reader({p: min(max(at, self.begin(p)), self.end(p)) for p, at in positions.items()})


class MakesTopicsTwice(MemoryLog):
    def create(self, topic, spec):
        self._specs.pop(topic, None)
        return super().create(topic, spec)


class SwapsRecords(Reads):
    class kind(MemoryReader):
        def poll(self, max_records, timeout):
            return super().poll(max_records, timeout)[::-1]


class KeysByLength(Writes):
    def change(self, writer):
        send = writer.send

        def by_length(topic, value, *, key=None, headers=(), partition=-1):
            if partition < 0 and key is not None:
                partition = len(key) % len(self.partitions(topic))
            send(topic, value, key=key, headers=headers, partition=partition)

        writer.send = by_length


class EmptiesNulls(Writes):
    def change(self, writer):
        send = writer.send
        writer.send = lambda topic, value, **more: send(topic, value or b"", **more)


class MergesHeaders(Writes):
    def change(self, writer):
        send = writer.send

        def merged(topic, value, *, headers=(), **more):
            send(topic, value, headers=list(dict(headers).items()), **more)

        writer.send = merged


class CountsMilliseconds(MemoryLog):
    def __init__(self):
        super().__init__(clock=lambda: 1_700_000_000_000)


class SeesWhatWasThere(Reads):
    class kind(MemoryReader):
        def __init__(self, log, positions):
            super().__init__(log, positions)
            self.ends = {p: log.end(p) for p in positions}

        def poll(self, max_records, timeout):
            return super().poll(max_records, 0) if self._positions != self.ends else []


class TakesAnySize(MemoryLog):
    def writer(self, transactional_id=""):
        return AnySize(self, transactional_id)


class AnySize(MemoryWriter):
    def send(self, topic, value, *, key=None, headers=(), partition=-1):
        with self._log._changed:
            self._log._append(Partition(topic, max(partition, 0)), key, value, headers, None)


class DropsLargeOnes(Writes):
    def change(self, writer):
        send = writer.send

        def drop(topic, value, **more):
            try:
                send(topic, value, **more)
            except memory.TooLargeError:
                pass

        writer.send = drop


class SkipsTheGap(Reads):
    def reader(self, positions):
        return super().reader({p: max(at, self.begin(p)) for p, at in positions.items()})


class BeginsAnything(Writes):
    def change(self, writer):
        writer.begin = lambda: None


class ReadsUncommitted(MemoryLog):
    def end(self, partition):
        return self._at(partition).next


class ReadsAborted(Reads):
    class kind(MemoryReader):
        def _take(self, partition, most):
            kept = self._log._at(partition)
            kept.records = [(r, None) for r, _ in kept.records]
            return super()._take(partition, most)


class StopsAtMarkers(Reads):
    class kind(MemoryReader):
        def positions(self):
            out = dict(self._positions)
            for p, at in out.items():
                records = self._log._at(p).records
                while at and at == len(records) and records[at - 1][0] is None:
                    at -= 1
                out[p] = at
            return out


class NeverFences(MemoryLog):
    def writer(self, transactional_id=""):
        self._writers.clear()
        return super().writer(transactional_id)


class CommitsWhenClosed(Writes):
    def change(self, writer):
        close = writer.close

        def commit_and_close():
            if writer._open is not None and not writer._fenced:
                writer.commit()
            close()

        writer.close = commit_and_close


class CommitsOffsetsAtOnce(Writes):
    def change(self, writer):
        abort = writer.abort

        def commit_offsets_and_abort():
            for offsets in self._committed.values():
                for partition in offsets:
                    offsets[partition] += 1
            abort()

        writer.abort = commit_offsets_and_abort


class ReusesOpenTransactions(Writes):
    def change(self, writer):
        begin = writer.begin
        writer.begin = lambda: None if writer._open is not None else begin()


class ClaimsToBeReadOnly(MemoryLog):
    pass


BROKEN = {
    "topics": [HidesUnknownTopics],
    "read_to_the_end": [StopsShort],
    "reading_again_is_the_same": [SharesPositions, GivesTooMany],
    "reading_on": [ForgetsWhereItBegan],
    "past_the_end": [ClampsPositions],
    "read_only": [ClaimsToBeReadOnly],
    "create": [MakesTopicsTwice],
    "order": [SwapsRecords],
    "keys": [KeysByLength],
    "bytes": [EmptiesNulls, MergesHeaders],
    "append_time": [CountsMilliseconds],
    "waiting": [SeesWhatWasThere],
    "large_records": [TakesAnySize, DropsLargeOnes],
    "failures_are_raised": [TakesAnySize, DropsLargeOnes],
    "removed_records": [SkipsTheGap],
    "misuse_of_writers": [BeginsAnything],
    "invisible_until_commit": [ReadsUncommitted],
    "aborted_is_never_seen": [ReadsAborted],
    "positions_pass_control_records": [StopsAtMarkers],
    "fencing": [NeverFences],
    "abandoned_writer": [CommitsWhenClosed],
    "failed_commit": [DropsLargeOnes],
    "offsets_in_transactions": [CommitsOffsetsAtOnce],
    "misuse_of_transactions": [ReusesOpenTransactions],
}
NAMES = {check.__name__.removeprefix("check_"): check for check in CHECKS}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in BROKEN.items() for kind in kinds])
def test_a_broken_log_is_seen(name, kind, monkeypatch):
    monkeypatch.setattr(log_subject, "DEADLINE", 0.3)
    monkeypatch.setattr("tidemill.checks.log_reading.DEADLINE", 0.3)
    monkeypatch.setattr("tidemill.checks.log_writing.DEADLINE", 0.3)
    log = kind()
    subject = Subject("broken", open=lambda: log, trim=log.delete_before, committed=log.committed)
    with pytest.raises((AssertionError, TidemillError)):
        NAMES[name](subject)


def test_every_check_has_been_seen_to_fail():
    assert set(BROKEN) == set(NAMES)


def test_what_a_subject_cannot_do_is_named():
    readonly = Subject("a file", open=MemoryLog, can=frozenset())
    assert unmet(NAMES["fencing"], readonly) == "a file has no: transactions, write"
    assert unmet(NAMES["read_only"], readonly) == ""
    assert unmet(NAMES["topics"], readonly) == ""
    writable = Subject("memory", open=MemoryLog)
    assert unmet(NAMES["removed_records"], writable) == "memory has no: trim"
    assert unmet(NAMES["read_only"], writable) == "memory has no: read only"


def test_a_read_only_log_is_checked_by_what_it_holds():
    class ReadOnly(MemoryLog):
        sealed = False

        def create(self, topic, spec):
            if self.sealed:
                raise UserError("this log is read-only", where=topic)
            return super().create(topic, spec)

        def writer(self, transactional_id=""):
            if self.sealed:
                raise UserError("this log is read-only")
            return super().writer(transactional_id)

    log = ReadOnly()
    log.create("data.x", memory.TopicSpec(partitions=2))
    writer = log.writer()
    for i in range(20):
        writer.send("data.x", b"%d" % i)
    log.sealed = True
    subject = Subject("sealed", open=lambda: log, can=frozenset())
    applied = [check for check in CHECKS if not unmet(check, subject)]
    assert len(applied) == 6
    for check in applied:
        check(subject)
