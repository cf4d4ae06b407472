"""Votes counted by hand, and crowd-kit's accuracy on four real crowds."""

import numpy as np
import pytest

from streams.labelling.voting import majority, weighted_majority
from tests.streams.labelling.crowds import crowd

# crowd-kit 1.4.2, a tie counted as a share: which class its `idxmax` takes depends on the order of pandas' columns.
PEER = {"bluebirds": (0.7593, 0.7593), "faces": (0.6367, 0.6301), "products": (0.8966, 0.8966), "rte": (0.8969, 0.9187)}
ITEM, WHO, VALUE = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 0, 1, 2]), np.array([1, 1, 0, 0, 0, 1])
SIZES = {"items": 4, "annotators": 3, "classes": 2}


def test_shares_of_votes():
    found = majority(ITEM, WHO, VALUE, **SIZES)
    assert np.allclose(found.posterior, [[1 / 3, 2 / 3], [1, 0], [0, 1], [0, 0]])
    assert found.counts[2].tolist() == [[0, 0], [1, 1]] and found.classes.tolist() == [1, 2]


def test_shares_of_skill():
    # The third annotator agrees with the majority once of twice, the others always.
    found = weighted_majority(ITEM, WHO, VALUE, **SIZES)
    assert np.allclose(found.posterior[0], [0.5 / 2.5, 2 / 2.5])
    found = weighted_majority(ITEM, WHO, VALUE, **SIZES, known=np.array([0, -1, -1, 1]))
    assert found.posterior[0].tolist() == [1.0, 0.0] and found.posterior[3].tolist() == [0.0, 1.0]
    assert np.allclose(np.einsum("akk->a", found.counts), [1, 1, 2])


def test_no_skill_at_all_leaves_the_votes():
    one = np.zeros(1, np.int64)
    found = weighted_majority(one, one, one + 1, items=1, annotators=1, classes=2, known=np.array([-1]))
    assert found.posterior.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("name", PEER)
def test_accuracy_is_the_peers(name):
    answers, truth = crowd(name)
    items, people, classes = (sorted({a[i] for a in answers}) for i in range(3))
    columns = coded(answers, items, people, classes)
    sizes = {"items": len(items), "annotators": len(people), "classes": len(classes)}
    for method, want in zip((majority, weighted_majority), PEER[name], strict=True):
        posterior = method(*columns, **sizes).posterior
        best = np.isclose(posterior, posterior.max(1, keepdims=True), rtol=0, atol=1e-9)
        share = dict(zip(items, best / best.sum(1, keepdims=True), strict=True))
        got = np.mean([share[item][classes.index(value)] for item, value in truth.items()])
        assert abs(got - want) <= 0.005, method


def coded(answers, *ids):
    numbers = [{id: i for i, id in enumerate(part)} for part in ids]
    return [np.array([number[a[i]] for a in answers]) for i, number in enumerate(numbers)]
