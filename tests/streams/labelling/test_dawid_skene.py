"""Dawid-Skene and one-coin: crowd-kit's accuracy on four real crowds, and the model's own properties."""

import numpy as np
import pytest

from streams.labelling.dawid_skene import DIAGONAL, dawid_skene
from tests.streams.labelling.crowds import crowd

# crowd-kit 1.4.2's accuracy, of Dawid-Skene as it is and run to its end (`benchmarks.consensus` measures both), and of
# its one-coin model. On bluebirds its stopping rule ends after 2 passes, an item of 108 short of where it then stays.
PEER = {
    "bluebirds": (0.8981, 0.5833),
    "faces": (0.6404, 0.6113),
    "products": (0.9397, 0.9084),
    "rte": (0.9275, 0.925),
}


def fitted(name, **settings):
    answers, truth = crowd(name)
    items, people, classes = (sorted({a[i] for a in answers}) for i in range(3))
    number = [{id: i for i, id in enumerate(ids)} for ids in (items, people, classes)]
    codes = sorted(tuple(n[v] for n, v in zip(number, a, strict=True)) for a in answers)
    columns = (np.array(part, np.int64) for part in zip(*codes, strict=True))
    sizes = {"items": len(items), "annotators": len(people), "classes": len(classes)}
    estimate = dawid_skene(*columns, **sizes, **settings)
    found = dict(zip(items, (classes[i] for i in estimate.posterior.argmax(1)), strict=True))
    return estimate, float(np.mean([found[t] == v for t, v in truth.items()]))


@pytest.mark.parametrize("name", PEER)
def test_accuracy_is_the_peers(name):
    full, coin = PEER[name]
    assert abs(fitted(name)[1] - full) <= 0.005
    assert abs(fitted(name, one_coin=True)[1] - coin) <= 0.005


def test_dawid_skene_on_bluebirds():
    assert fitted("bluebirds")[1] >= 0.89 and fitted("bluebirds", smoothing=1.0)[1] >= 0.89


def drawn(seed, flip=0.9, items=300, annotators=12, per=5):
    """Answers of annotators of known confusion matrices; one of them mostly says the opposite."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, items)
    right = np.where(np.arange(annotators) == 0, 1 - flip, 0.85)
    item = np.repeat(np.arange(items), per)
    who = np.concatenate([rng.choice(annotators, per, replace=False) for _ in range(items)])
    value = np.where(rng.random(len(item)) < right[who], truth[item], 1 - truth[item])
    return truth, item, who, value, right


def test_it_finds_who_is_how_good():
    truth, item, who, value, right = drawn(3)
    found = dawid_skene(item, who, value, items=300, annotators=12, classes=2, smoothing=1.0)
    skill = np.einsum("akk->a", found.counts) / found.counts.sum((1, 2))
    assert np.abs(skill - right).max() < 0.12
    assert (found.posterior.argmax(1) == truth).mean() > 0.96
    assert np.allclose(found.posterior.sum(1), 1.0) and np.isclose(found.classes.sum(), 300.0)


def test_what_is_known_stays_and_teaches():
    truth, item, who, value, _ = drawn(4)
    known = np.where(np.arange(300) < 60, truth, -1)
    known[300 - 1] = 1 - truth[-1]
    found = dawid_skene(item, who, value, items=300, annotators=12, classes=2, known=known)
    assert found.posterior[299, 1 - truth[-1]] == 1.0
    assert (found.posterior[:60].argmax(1) == truth[:60]).all()


def test_an_item_without_answers_is_nothing():
    one = np.zeros(1, np.int64)
    found = dawid_skene(one, one, one, items=3, annotators=2, classes=2, known=np.array([-1, -1, 1]))
    assert found.posterior.tolist()[1:] == [[0.0, 0.0], [0.0, 1.0]]
    none = np.zeros(0, np.int64)
    assert dawid_skene(none, none, none, items=2, annotators=0, classes=2).posterior.sum() == 0.0


@pytest.mark.parametrize(("one_coin", "most"), [(False, DIAGONAL + 0.01), (True, 0.9)])
@pytest.mark.parametrize("classes", [2, 5])
def test_one_answer_is_no_certainty(one_coin, most, classes):
    """It is worth what is taken for granted of an annotator; by one accuracy alone, which it confirms itself, more."""
    one = np.zeros(1, np.int64)
    sizes = {"items": 1, "annotators": 1, "classes": classes}
    found = dawid_skene(one, one, one, **sizes, one_coin=one_coin, smoothing=1.0)
    assert DIAGONAL - 0.01 <= found.posterior[0, 0] <= most and np.isclose(found.posterior.sum(), 1.0)


@pytest.mark.parametrize(("one_coin", "most"), [(False, 0.95), (True, 0.97)])
def test_a_batch_that_begins_with_one_class_is_not_certain(one_coin, most):
    """Five items, each answered once, all by the same class: there may be others."""
    items, first = np.arange(5), np.zeros(5, np.int64)
    sizes = {"items": 5, "annotators": 5, "classes": 3}
    found = dawid_skene(items, items, first, **sizes, one_coin=one_coin, smoothing=1.0)
    assert (found.posterior[:, 0] > 0.5).all() and (found.posterior[:, 0] < most).all()
    peer = dawid_skene(items, items, first, **sizes, one_coin=one_coin, smoothing=0.0)
    assert (peer.posterior[:, 0] > 0.999).all()  # crowd-kit's, as it is


@pytest.mark.parametrize("one_coin", [False, True])
def test_smoothed_accuracy_stays_within_half_a_point(one_coin):
    for name in PEER:
        plain, smoothed = (fitted(name, one_coin=one_coin, smoothing=s)[1] for s in (0.0, 1.0))
        assert abs(plain - smoothed) <= 0.005, name
