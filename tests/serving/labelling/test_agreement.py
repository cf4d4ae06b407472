"""Agreement beyond chance, against the figures of those who wrote the formulas."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from serving.labelling.agreement import cohen, confusion, fleiss, krippendorff

# Fleiss 1971 as it is reprinted everywhere: 10 subjects, 14 raters, 5 categories; kappa 0.210.
FLEISS = [
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
]  # fmt: skip
# Krippendorff 2011, section C: 4 observers, 12 units, with gaps; nominal alpha 0.743, interval 0.849.
_ = None
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]


def test_fleiss_own_example():
    units = [[c for c, n in enumerate(row) for _ in range(n)] for row in FLEISS]
    assert fleiss(units) == pytest.approx(0.20993, abs=1e-5)


def test_krippendorffs_own_example():
    units = [[o[i] for o in OBSERVERS if o[i] is not None] for i in range(12)]
    assert krippendorff(units) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff(units, lambda a, b: float((a - b) ** 2)) == pytest.approx(0.849, abs=5e-4)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_cohen_and_confusion_are_scikit_learns(pairs):
    a, b = zip(*pairs, strict=True)
    mine = cohen(pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = cohen_kappa_score(a, b, labels=[0, 1, 2, 3])
    assert (mine is None) == bool(np.isnan(theirs))
    assert mine is None or mine == pytest.approx(theirs)
    named = [(str(x), str(y)) for x, y in pairs]
    assert confusion(named, list("0123")) == confusion_matrix(a, b, labels=[0, 1, 2, 3]).tolist()


def test_where_there_is_nothing_to_say_nothing_is_said():
    assert cohen([]) is None and cohen([(1, 1)]) is None
    assert fleiss([]) is None and fleiss([[1, 1]]) is None and fleiss([[1, 1], [1, 1]]) is None
    assert krippendorff([]) is None and krippendorff([[1], [2]]) is None and krippendorff([[1, 1], [1, 1]]) is None
    assert krippendorff([[[1, 2], [1, 2]], [[3], [3]]]) == 1.0
    assert confusion([("a", "x"), ("y", "a")], ["a"]) == [[0]]
