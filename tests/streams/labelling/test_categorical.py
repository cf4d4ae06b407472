"""The online form of voting and Dawid-Skene: its votes are the batch's at every step, its estimate the batch's."""

import numpy as np
import pytest

from streams.labelling.answers import Answers
from streams.labelling.categorical import METHODS, Categorical
from streams.labelling.dawid_skene import dawid_skene
from streams.labelling.voting import majority, weighted_majority
from tests.streams.labelling.test_dawid_skene import drawn
from tidemill import state as states
from tidemill.errors import IncompatibleError


class Crowd:
    """Answers kept as the job keeps them, and the model of them."""

    def __init__(self, method, classes=2, layers=1):
        self.answers, self.classes = Answers(), classes
        self.model = Categorical(method=method, layers=layers, classes=classes, smoothing=1.0)

    def put(self, item, by, value, time):
        code = self.answers.item_of(f"t{item:03}")
        row = self.answers.put(code, f"w{by:02}", value, (time, ""))
        if row is None:
            return None
        values = np.array([[-1 if value is None else value]] * self.model.layers)
        return self.model.apply([row], [code], [self.answers.who[row]], values)

    def batch(self, function, **settings):
        order = self.answers.order()
        value = np.array([self.answers.value[row] for row in order.rows.tolist()], np.int64)
        sizes = {"items": len(order.items), "annotators": len(order.annotators), "classes": self.classes}
        found = function(order.item, order.who, value, **sizes, **settings)
        posterior, counts = np.zeros_like(found.posterior), np.zeros_like(found.counts)
        posterior[order.items], counts[order.annotators] = found.posterior, found.counts
        return posterior, counts, found.classes


def fed(method, seed=1, items=60, changes=True):
    _, item, who, value, _ = drawn(seed, items=items)
    crowd, rng = Crowd(method), np.random.default_rng(seed)
    for time, i in enumerate(rng.permutation(len(item)).tolist()):
        crowd.put(int(item[i]), int(who[i]), int(value[i]), time)
        if changes and i % 9 == 0:
            crowd.put(int(item[i]), int(who[i]), [None, 0, 1][i % 3], time + 0.5)
    return crowd


@pytest.mark.parametrize("method", ["majority", "weighted"])
def test_votes_are_the_batchs_after_every_answer(method):
    crowd = fed(method)
    want, counts, classes = crowd.batch(majority)
    assert np.allclose(crowd.model.counts()[0], counts) and np.allclose(crowd.model.totals[0], classes)
    if method == "majority":
        assert np.allclose(crowd.model.posterior()[0], want)


@pytest.mark.parametrize(
    ("method", "function", "settings"),
    [
        ("majority", majority, {}),
        ("weighted", weighted_majority, {}),
        ("one-coin", dawid_skene, {"one_coin": True, "smoothing": 1.0}),
        ("dawid-skene", dawid_skene, {"smoothing": 1.0}),
    ],
)
def test_the_estimate_is_the_batchs_to_the_last_bit(method, function, settings):
    crowd = fed(method)
    crowd.model.estimate(crowd.answers.order())
    posterior, counts, classes = crowd.batch(function, **settings)
    assert crowd.model.posterior()[0].tobytes() == posterior.tobytes()
    assert crowd.model.counts()[0].tobytes() == counts.tobytes()
    assert crowd.model.totals[0].tobytes() == classes.tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_expected_counts_move_with_what_is_believed(method):
    """However answers came and went, the counts are the sums of what is believed of the answers that stand."""
    crowd = fed(method, seed=8)
    crowd.model.estimate(crowd.answers.order())
    for time in range(200):
        crowd.put(time % 60, time % 7, [0, 1, None][time % 3], 10_000 + time)
    belief, want = crowd.model.state()["belief"][0], np.zeros_like(crowd.model.counts()[0])
    for item, who, value in zip(crowd.answers.item, crowd.answers.who, crowd.answers.value, strict=True):
        if value is not None:
            want[who, :, value] += belief[item]
    assert np.allclose(crowd.model.counts()[0], want) and np.allclose(crowd.model.totals[0], belief.sum(0))


def test_online_dawid_skene_is_near_the_batch_before_any_estimate():
    truth, *_ = drawn(1, items=300)
    crowd = fed("dawid-skene", items=300, changes=False)
    order = np.argsort(crowd.answers.items)
    online = crowd.model.posterior()[0].argmax(1)[order]
    crowd.model.estimate(crowd.answers.order())
    batch = crowd.model.posterior()[0].argmax(1)[order]
    assert (online == truth).mean() > 0.9 and (batch == truth).mean() > 0.95
    assert (online == batch).mean() > 0.93


def test_what_is_known_is_believed_and_taken_back():
    crowd = fed("dawid-skene")
    (before, _), item = crowd.put(0, 11, 1, 99_999), crowd.answers.item_of("t000")
    known, _ = crowd.model.apply([-1], [item], [-1], np.array([[0]]))
    assert known[0, 0].tolist() == [1.0, 0.0]
    after, _ = crowd.model.apply([-1], [item], [-1], np.array([[-1]]))
    assert np.allclose(after, before)


@pytest.mark.parametrize("method", METHODS)
def test_saved_and_read_back_it_goes_on_alike(method):
    crowd = fed(method)
    data = states.encode(crowd.model)
    again = states.decode(data, Categorical)
    assert states.encode(again) == data
    for model in (crowd.model, again):
        model.apply([5, 900], [2, 70], [3, 30], np.array([[1, 0]]))
    assert states.encode(again) == states.encode(crowd.model)


def test_a_state_of_other_classes_is_refused():
    with pytest.raises(IncompatibleError):
        Categorical(method="majority", layers=1, classes=3, smoothing=1.0).load_state(fed("majority").model.state())
