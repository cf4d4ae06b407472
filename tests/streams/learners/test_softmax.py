"""The softmax learner keeps the laws with several classes, learns digits, and unlearns what is learned again."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from streams.learners.softmax import Softmax, SoftmaxHead
from tidemill.checks.learners import check_learner
from tidemill.errors import ConfigError, IncompatibleError, NotFiniteError, WrongTypeError

NAMES = [f"x{i}" for i in range(64)]
CLASSES = [str(i) for i in range(10)]


def digits():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return X[order], y[order].astype(float)


def test_lawful_with_ten_classes():
    X, y = digits()
    check_learner(lambda: Softmax(NAMES, classes=CLASSES, kept=60), X[:200], y[:200])


def test_digits_beside_the_batch_solution():
    """Each label once, as it comes, within 3 points of scikit-learn's optimum over all of them."""
    X, y = digits()
    ours = Softmax(NAMES, classes=CLASSES)
    ours.learn_block(X[:600], y[:600])
    theirs = LogisticRegression(max_iter=500, C=0.1).fit(X[:600] / 8, y[:600])
    p = ours.probabilities(X[600:])
    right = float((p.argmax(1) == y[600:]).mean())
    assert right > float((theirs.predict(X[600:] / 8) == y[600:]).mean()) - 0.03 > 0.9
    assert np.allclose(p.sum(1), 1) and (p[:, -1] == ours.predict_block(X[600:])).all()


def test_what_is_served_gives_the_same_bits():
    X, y = digits()
    ours = Softmax(NAMES, classes=CLASSES)
    ours.learn_block(X[:100], y[:100])
    content = ours.content()
    head = SoftmaxHead(**content.params)
    head.load_state(content.state)
    assert (head.probabilities(X[100:200]) == ours.probabilities(X[100:200])).all()
    assert head.predict_one(X[0]) == ours.predict_one(X[0]) and head.classes == tuple(CLASSES)
    ours.learn_block(X[100:110], y[100:110])
    assert (head.state()["weight"] == content.state["weight"]).all()


def test_a_row_learned_again_takes_its_own_place():
    """Beside one that keeps both: the wrong label would be rehearsed for ever."""
    X, y = digits()
    ours = Softmax(NAMES, classes=CLASSES, kept=2_000)
    wrong = (y[:60] + 1) % 10
    ours.learn_block(X[:60], wrong)
    ours.learn_block(X[:300], y[:300])
    state = ours.state()
    assert len(state["labels"]) == 300 and (state["labels"] == y[:300]).all()
    assert (ours.probabilities(X[:60]).argmax(1) == y[:60]).mean() > 0.95


@pytest.mark.parametrize(
    "settings", [{"classes": ["a"]}, {"classes": ["a", "a"]}, {"lr": 0}, {"l2": 1}, {"replay": -1}, {"kept": 0}]
)
def test_settings_that_cannot_be(settings):
    with pytest.raises(ConfigError):
        Softmax(["x"], **settings)


def test_what_cannot_be_learned_is_refused():
    ours = Softmax(["x"], classes=["a", "b", "c"])
    for bad in (3.0, -1.0, 0.5, float("nan")):
        with pytest.raises(WrongTypeError):
            ours.learn_one(np.array([1.0]), bad)
    with pytest.raises(NotFiniteError):
        ours.learn_one(np.array([np.inf]), 1.0)
    with pytest.raises(ConfigError):
        ours.learn_one(np.array([1.0]), 1.0, 2.0)
    assert not ours.state()["counts"].any()
    with pytest.raises(IncompatibleError):
        ours.load_state(Softmax(["x"]).state())
    with pytest.raises(IncompatibleError):
        SoftmaxHead(["x"], ["a", "b"]).load_state({"weight": np.zeros((2, 1))})
