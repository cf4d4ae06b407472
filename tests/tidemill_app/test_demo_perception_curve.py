"""What the log tells is told rightly: money, labels, accuracy, and how soon an answer was in the model."""

import msgspec
import pytest

from streams.learners.delta import delta_since
from tests.examples.examples import example
from tidemill.events import DeltaPublished, LabelGiven
from tidemill.label_events import AnswerGiven, LabelSettled
from tidemill_app.demo_annotators import simulated
from tidemill_app.demo_digits import digits
from tidemill_app.demo_perception import COST, Answered, Seen
from tidemill_app.demo_perception_curve import Point, at_money, by_chance, curve, stretches, ways

MS = 1_000


@pytest.fixture(scope="module")
def there():
    return digits(limit=120), example("digits")


def told(id, by, time):
    answer = AnswerGiven(id=f"{id}{by}", time=time, about=id, by=by, value="3", cost=COST)
    settled = LabelSettled(id=f"s{id}", time=time, about=id, value="3", confidence=1.0)
    given = LabelGiven(id="g", time=time, about=id, value="3")
    return [(time + 5 * MS, answer), (time + 50 * MS, settled), (time + 50 * MS, given)]


def delta(sequence, labelled, changes=None):
    empty = {"arrays": {}, "plain": {}, "gone": []}
    facts = {"id": str(sequence), "time": 0, "model": "m", "base": "0", "sequence": sequence, "labels": sequence}
    return DeltaPublished(**facts, changes=changes or empty, labelled=labelled)


def test_from_the_answer_to_the_first_answer_that_covers_it():
    labels = [*told("a", "x", 1_000 * MS), *told("b", "x", 2_000 * MS)]
    deltas = [(1_100 * MS, delta(1, 1_050 * MS)), (2_100 * MS, delta(2, 2_050 * MS))]
    answers = {"a/x": Answered(990 * MS, 1_010 * MS), "b/x": Answered(1_990 * MS, 2_010 * MS)}
    seen = [Seen(at * MS, d, 1.0) for at, d in ((900, 0), (1_090, 0), (1_130, 1), (2_090, 1), (2_200, 2), (2_300, 2))]
    found = ways(labels, deltas, answers, seen)
    assert [way.whole for way in found] == [140.0, 210.0]
    assert found[1].hops() == {"read": 10.0, "kept": 5.0, "settled": 45.0, "learned": 50.0, "visible": 100.0}
    assert stretches(found, 1.0) == {"read": 10.0, "kept": 5.0, "settled": 45.0, "learned": 50.0, "visible": 100.0}
    # When the first was sent, nobody answered yet.
    assert [way.whole for way in ways(labels, deltas, answers, seen[1:])] == [210.0]
    # One that another item's answer settled, and one whose answer nobody of ours sent, say nothing.
    late = msgspec.structs.replace(labels[1][1], time=7)
    assert ways([labels[0], (labels[1][0], late), labels[2]], deltas, answers, seen) == []
    assert ways(labels, deltas, {}, seen) == [] and ways(labels, deltas, answers, []) == []
    assert stretches([], 0.5) == {}


def test_the_curve_follows_the_deltas(there):
    found, module = there
    job = module.job()
    state = job.init().learner
    before = state.content().state
    state.learn_block(found.embeddings, found.labels.astype(float))
    after = state.content().state
    labels = [*told("a", "x", 1_000 * MS), *told("b", "y", 5_000 * MS)]
    points = curve(labels, [(2_000 * MS, delta(1, 0, delta_since(before, after)))], job, found)
    assert [(p.spent, p.labels) for p in points] == [(0.0, 0), (COST, 1)]
    assert points[0].accuracy < 0.2 < 0.6 < points[1].accuracy


def test_chance_spends_the_budget_and_learns(there, tmp_path):
    found, module = there
    points = by_chance(module.job(), module.agree(), found, simulated(tmp_path, 10, 5), 4.0)
    assert 4.0 - COST <= points[-1].spent <= 4.0 + 1e-9 and points[-1].labels > 12
    assert points[-1].accuracy > 0.3 and [p.spent for p in points] == sorted(p.spent for p in points)
    assert at_money(points, 0.0) == points[0].accuracy and at_money(points, 99.0) == points[-1].accuracy


def test_money():
    points = [Point(0, 0, 0.1), Point(1, 1, 0.5), Point(2, 2, 0.6)]
    assert [at_money(points, m) for m in (0.5, 1, 3)] == [0.1, 0.5, 0.6]
