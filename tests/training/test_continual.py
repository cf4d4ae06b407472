"""Continual mode: stopped anywhere it goes on to the same bits, each use counts once, the order is written down."""

import os
import random
import signal
from collections import Counter

import msgspec
import pytest

torch = pytest.importorskip("torch")

from tests.training.test_loop import lives, used  # noqa: E402
from tests.training.toy_continual import EXAMPLES, SETTINGS, Listed, continual_parts  # noqa: E402
from tests.training.toy_run import configuration, same  # noqa: E402
from tidemill import block  # noqa: E402
from tidemill.version import Span  # noqa: E402
from training import continual, durable  # noqa: E402
from training.checkpoint import Checkpoints  # noqa: E402
from training.config import Continual  # noqa: E402
from training.ledger import Ledger  # noqa: E402
from training.loop import Loop  # noqa: E402
from training.report import Silent  # noqa: E402
from training.tensors import from_bytes  # noqa: E402


def run(folder, source=None, stop=lambda: False, reporter=None, **changes):
    training = configuration(**SETTINGS | changes)
    return Loop(training, continual_parts(training, folder, None, source, stop, reporter)).run(stop)


def test_stopped_at_every_step_it_ends_as_one_that_was_not(tmp_path):
    whole = run(tmp_path / "whole")
    assert (whole.state, whole.step) == ("finished", 13)  # the last of 4 labels
    cut = None
    for _ in range(20):
        seen = iter(range(2))
        cut = run(tmp_path / "cut", stop=lambda seen=seen: next(seen, None) is None)
        if cut.state == "finished":
            break
    assert cut.step == 13 and same(cut.weights, whole.weights)
    for name, outcome in (("whole", whole), ("cut", cut)):
        uses = Counter(map(tuple, Ledger(tmp_path / name / "ledger", outcome.checkpoint.ledger).uses().tolist()))
        assert set(uses.values()) == {1} and len(uses) == outcome.checkpoint.uses == 100 + 12 * 8
        numbers = Counter(number for number, _ in uses)
        assert all((n, u) in uses for n, count in numbers.items() for u in range(count)) and len(numbers) == 100


def life(folder, seed):
    """A run in a process of its own that kills itself (SIGKILL) at a random step or within a checkpoint, or ends; the
    status of the process."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    try:
        chance = random.Random(seed)
        asked, within = iter(range(chance.randint(4, 14))), chance.random() < 0.3

        def die(*paths):
            os.kill(os.getpid(), signal.SIGKILL)

        def stop():
            if next(asked, None) is None:
                if not within:
                    die()
                durable.os.rename = die  # all of the next checkpoint is written, and it is not committed
            return False

        run(folder, stop=stop)
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.slow
def test_killed_at_random_steps_it_ends_with_the_bits_of_one_that_was_not(tmp_path):
    whole, kills = run(tmp_path / "whole"), 0
    for number in range(4):
        while (status := life(tmp_path / f"{number}", f"{number}/{kills}")) != 0:
            assert status == signal.SIGKILL
            kills += 1
        cut = run(tmp_path / f"{number}")  # over already: what it left
        assert cut.step == 13 and same(cut.weights, whole.weights) and cut.figures == whole.figures
        assert cut.checkpoint.segments == whole.checkpoint.segments
        ledgers = [(tmp_path / "whole", whole), (tmp_path / f"{number}", cut)]
        one, other = (sorted(Ledger(at / "ledger", o.checkpoint.ledger).uses().tolist()) for at, o in ledgers)
        assert one == other
    assert kills >= 8


def test_two_workers_use_what_one_uses_and_killed_they_end_with_the_bits_of_two_that_were_not(tmp_path):
    whole = run(tmp_path / "whole")
    outcome = lives(tmp_path / "killed", workers=2, kills=3, seed=5, epochs=0)
    alone = Ledger(tmp_path / "whole" / "ledger", whole.checkpoint.ledger).uses().tolist()
    assert used(tmp_path / "killed", outcome) == Counter(map(tuple, alone)) and outcome["step"] == whole.step
    lives(tmp_path / "two", workers=2, kills=0, seed=0, epochs=0)
    got, wanted = (from_bytes((tmp_path / name / "weights.safetensors").read_bytes()) for name in ("killed", "two"))
    assert same(got, wanted)


def test_the_checkpoint_says_what_was_read_in_which_order(tmp_path):
    outcome = run(tmp_path)
    segments = outcome.checkpoint.segments
    assert [(s.partition, s.next - s.first) for s in segments[:3]] == [(0, 7), (1, 7), (0, 7)]
    assert sum(s.next - s.first for s in segments) == 100
    assert outcome.checkpoint.offsets == [
        Span("labels.digits", 0, 0, 51),
        Span("labels.digits", 1, 0, 49),
        Span("data.digits", 0, 0, 100),
    ]


def test_where_the_items_stand_is_said_in_the_order_of_their_labels(tmp_path):
    def places(outcome):
        return [n for partition, first, next in outcome.checkpoint.items for n in range(first, next)]

    listed = Listed()
    listed.labels[1], listed.labels[9] = (
        msgspec.structs.replace(listed.labels[i], example=EXAMPLES[j]) for i, j in ((1, 9), (9, 1))
    )
    seen = iter(range(2))
    run(tmp_path, listed, stop=lambda: next(seen, None) is None)
    whole = run(tmp_path, listed)
    assert places(whole) == [0, 9, *range(2, 9), 1, *range(10, 100)]
    assert whole.checkpoint.items == [(0, 0, 1), (0, 9, 10), (0, 2, 9), (0, 1, 2), (0, 10, 100)]


def test_a_checkpoint_of_an_earlier_build_says_nowhere_where_the_items_stand(tmp_path):
    """For it would say it of the later labels alone."""
    was = {"came": 0, "draws": 0, "kept": [], "segments": [], "data": []}
    for state, stands in ((b"", [(0, 0, 8)]), (msgspec.msgpack.encode(was), [])):
        feed = continual_parts(configuration(**SETTINGS), tmp_path).feed
        next(feed.from_step(0, state))
        assert feed.standing(1).items == stands and len(feed.standing(1).segments) == 2


ERASED = [block.Place("labels.digits", 0, 3), block.Place("data.digits", 0, 3)]


@pytest.mark.parametrize("place", ERASED, ids=["label", "item"])
def test_what_was_erased_is_in_no_step_and_no_checkpoint_from_then_on(tmp_path, place):
    """Erased behind the first step, or while the run was stopped."""

    def used(name, source, **how):
        outcome = run(tmp_path / name, source, data=data, **how)
        uses = Ledger(tmp_path / name / "ledger", outcome.checkpoint.ledger).uses().tolist()
        feed = msgspec.msgpack.decode(Checkpoints(tmp_path / name / "checkpoints").newest()[1]["source.bin"])
        mine = {use for number, use in uses if number == 3}
        return outcome.state, mine, 3 in {kept["number"] for kept in feed["kept"]}

    data = Continual(project="digits", fresh=8, replay=8, kept=100)
    assert used("whole", Listed()) == ("finished", {0, 1, 2, 3}, True)
    once = iter([{place}])
    assert used("on", Listed(erased=lambda at: next(once, None) if at > 8 else None)) == ("finished", {0}, False)
    seen, anew = iter(range(2)), iter([{place}])
    assert used("cut", Listed(), stop=lambda: next(seen, None) is None) == ("stopped", {0}, True)
    assert used("cut", Listed(erased=lambda at: next(anew, None))) == ("finished", {0}, False)


@pytest.mark.parametrize("place", ERASED, ids=["label", "item"])
def test_what_was_erased_while_it_waited_for_a_step_is_never_learned(tmp_path, monkeypatch, place):
    monkeypatch.setattr(continual, "PATIENCE", 0.0)
    told = []

    def erased(at):
        return None if at < 4 or told else told.append(1) or {place}

    outcome = run(tmp_path, Listed(there=lambda: 100 if told else 4, erased=erased))
    assert outcome.checkpoint.segments[:2] == [Span("labels.digits", 0, 0, 3), Span("labels.digits", 0, 4, 7)]
    assert sum(s.next - s.first for s in outcome.checkpoint.segments) == 99


def test_it_waits_for_a_whole_step_and_is_asked_to_stop_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr(continual, "PATIENCE", 0.0)
    asked = iter(range(40))
    outcome = run(tmp_path, Listed(there=lambda: 20, ends=False), stop=lambda: next(asked, None) is None)
    assert (outcome.state, outcome.step) == ("stopped", 2)
    again = run(tmp_path, Listed())
    assert (again.state, again.step) == ("finished", 13)
    assert same(again.weights, run(tmp_path / "whole").weights)


def test_forgetting_is_measured_and_steps_may_end_it(tmp_path):
    class Noting(Silent):
        """Keeps what was measured."""

        def __init__(self):
            self.seen = []

        def measured(self, step, epoch, values):
            self.seen.append(values["test.forgetting"])

    data = Continual(project="digits", fresh=8, replay=8, kept=40, steps=9)
    noting = Noting()
    outcome = run(tmp_path, data=data, reporter=noting)
    assert (outcome.state, outcome.step) == ("finished", 9)
    assert len(noting.seen) == 3 and noting.seen[0] == 0.0 and min(noting.seen) >= 0.0
