"""A standing job: what it commits is the reference's, and what it commits again is what it was."""

from dataclasses import replace

import pytest

from streams.engines.recovery import Recovery
from streams.engines.standing import Standing
from streams.state_store import FolderStore
from tests.streams.engines.flink.beside import Beside
from tidemill.checks.engines import check_outcome
from tidemill.log import Partition
from tidemill.order import EventTime


class Life:
    """A scenario's job on a log in memory, and its standing as it was born."""

    def __init__(self, scenario, folder, **changes):
        self.beside = Beside(scenario)
        self.job = replace(self.beside.job, **changes)
        self.parts = replace(self.beside.parts, store=FolderStore(folder))
        self.standing = self.born()

    def born(self):
        recovery = Recovery(
            self.job,
            self.parts,
            {},
            self.beside.sources,
            max_buffered=10**6,
            max_batch=10**6,
            stop=lambda: False,
        )
        return Standing(self.job, self.parts, {}, recovery.born())

    def commits(self, size):
        """Feeds a run of every partition at a time: the positions of each commit."""
        runs = [self.beside.runs(number, size) for number in range(len(self.beside.sources))]
        for turn in range(max(map(len, runs))):
            for of in runs:
                if turn < len(of):
                    run = of[turn]
                    partition = Partition(run[0].topic, run[0].partition)
                    self.standing.take(partition, run, run[-1].offset + 1)
            yield dict(self.standing.read)


@pytest.mark.parametrize("scenario", ["lateness", "partitions-and-groups", "two-streams", "repeated-across"])
def test_all_its_commits_together_are_the_reference(scenario, tmp_path):
    life = Life(scenario, tmp_path)
    for number, positions in enumerate(life.commits(13)):
        assert life.standing.due(positions)
        records, made = life.standing.step(positions)
        assert made.sequence == number
        life.beside.write([*records, life.standing.record(made)])
        life.standing.done(made, positions)
        assert not life.standing.due(positions)
    check_outcome(life.beside.scenario, life.beside.log)


def test_a_commit_that_is_made_again_sends_what_it_sent(tmp_path):
    life = Life("partitions-and-groups", tmp_path)
    sent = []
    for positions in life.commits(17):
        records, made = life.standing.step(positions)
        sent.append((records, made))
        life.standing.done(made, positions)
    life.standing = life.born()
    plain = [[(topic, value, key) for topic, value, key, _ in records] for records, _ in sent]
    assert sum(map(len, plain)) > 100
    for (_, made), before, positions in zip(sent, plain, life.commits(17), strict=True):
        assert [(topic, value, key) for topic, value, key, _ in life.standing.again(made, positions)] == before
        life.standing.done(made, positions)


def test_only_the_quiet_that_were_read_to_their_end_are_moved(tmp_path):
    life = Life("clean", tmp_path, order=EventTime(lateness=10, idle_after=0.0))
    positions = next(life.commits(10))
    standing, behind = life.standing, life.beside.sources[1].partition
    _, made = standing.step(positions)
    standing.done(made, positions)
    before = {p: clock.largest for p, clock in standing.pipeline.clocks.items()}
    standing.advance_idle(frozenset(positions), positions, lambda p: positions[p] + (p == behind))
    moved = standing.progress(positions).moved
    largest = max(before.values())
    assert {(topic, number) for topic, number, _, _ in moved} == {
        p for p, at in before.items() if p != behind and at < largest
    }
    assert {moment for *_, moment in moved} == {largest}
    assert standing.due(positions), "a move alone is committed too"
