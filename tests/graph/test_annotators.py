"""What the labels say of annotators: as a plain reference says it, and, on real answers, as the truth says it."""

import csv
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from graph.annotators import DIAGONAL, FEATURES, STRENGTH, Annotators
from graph.relation import Relation
from graph.store import TemporalGraph
from tidemill.errors import ConfigError, IncompatibleError, UserError
from tidemill.state import decode, encode

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "crowd"
COLUMN = {name: i for i, name in enumerate(FEATURES)}


class Reference:
    """Dawid and Skene's model label by label, with dicts, from the formulas."""

    def __init__(self, classes):
        self.k = classes
        self.answers: dict[int, dict[int, int]] = {}
        self.posterior: dict[int, np.ndarray] = {}
        self.weighted: dict[tuple[int, int], float | None] = {}

    def counts(self, without=None):
        """Of each annotator classes × labels, and the classes, from all tasks but one."""
        confusion: dict[int, np.ndarray] = {}
        classes = np.zeros(self.k)
        for task, answers in self.answers.items():
            if task != without:
                classes += self.posterior[task]
                for who, label in answers.items():
                    confusion.setdefault(who, np.zeros((self.k, self.k)))[:, label] += self.posterior[task]
        return confusion, classes

    def likelihood(self, confusion, who, label):
        prior = np.full((self.k, self.k), (1 - DIAGONAL) / (self.k - 1))
        np.fill_diagonal(prior, DIAGONAL)
        own = confusion.get(who, np.zeros((self.k, self.k))) + STRENGTH * prior
        return own[:, label] / own.sum(1)

    def learn(self, who, task, label):
        confusion, classes = self.counts(without=task)
        answers = self.answers.setdefault(task, {})
        answers[who] = label
        self.posterior[task] = self.normal(
            (classes + 1) * np.prod([self.likelihood(confusion, *one) for one in answers.items()], axis=0)
        )
        for one in answers:
            rest = [self.likelihood(confusion, *other) for other in answers.items() if other[0] != one]
            self.weighted[task, one] = (
                self.normal((classes + 1) * np.prod(rest, axis=0))[answers[one]] if rest else None
            )

    @staticmethod
    def normal(p):
        return p / p.sum()

    def agreed(self, who):
        pairs = [
            label == answers[who]
            for answers in self.answers.values()
            if who in answers
            for other, label in answers.items()
            if other != who
        ]
        return sum(pairs), len(pairs)


def labels(rng, n, annotators=6, tasks=9, classes=3):
    truth = rng.integers(0, classes, tasks)
    skill = rng.uniform(0.2, 1.0, annotators)
    a, t = rng.integers(0, annotators, n), rng.integers(0, tasks, n)
    given = np.where(rng.random(n) < skill[a], truth[t], rng.integers(0, classes, n))
    return a, t, given


def test_they_are_what_the_formulas_say_with_corrections_and_however_cut():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        a, t, given = labels(rng, int(rng.integers(5, 90)))
        times = np.cumsum(rng.integers(0, 50, len(a))).astype(float)
        cut, whole, reference = Annotators(3), Annotators(3), Reference(3)
        whole.learn(a, t, given, times)
        for low, high in pairwise([0, *np.sort(rng.integers(0, len(a), 4)), len(a)]):
            cut.learn(a[low:high], t[low:high], given[low:high], times[low:high])
        for name, array in whole.state().items():
            np.testing.assert_array_equal(array, cut.state()[name])
        for one in zip(a.tolist(), t.tolist(), given.tolist(), strict=True):
            reference.learn(*one)
        found, posterior = whole.features(), whole.truth()
        for task, p in reference.posterior.items():
            np.testing.assert_allclose(posterior[task], p, atol=1e-9)
        confusion, _ = reference.counts()
        n = {who: sum(who in answers for answers in reference.answers.values()) for who in confusion}
        right = {who: np.trace(c) for who, c in confusion.items()}
        everyone = sum(right.values()) / sum(n.values())
        pairs = {who: reference.agreed(who) for who in confusion}
        equal = sum(p[0] for p in pairs.values()) / max(sum(p[1] for p in pairs.values()), 1)
        for who in confusion:
            row = found[who]
            assert row[COLUMN["labels"]] == n[who]
            assert row[COLUMN["accuracy"]] == pytest.approx((right[who] + STRENGTH * everyone) / (n[who] + STRENGTH))
            agreed, count = pairs[who]
            assert row[COLUMN["agreement"]] == pytest.approx((agreed + STRENGTH * equal) / (count + STRENGTH))
            assert row[COLUMN["overlap"]] == pytest.approx(count / n[who])
            gaps = np.log1p(np.diff(times[a == who]))
            np.testing.assert_allclose(row[COLUMN["gap"]], gaps.mean() if len(gaps) else np.nan)
        values = {who: [w for (_, one), w in reference.weighted.items() if one == who and w is not None] for who in n}
        mean = sum(sum(v) for v in values.values()) / max(sum(map(len, values.values())), 1)
        for who, v in values.items():
            wanted = (sum(v) + STRENGTH * mean) / (len(v) + STRENGTH)
            assert found[who, COLUMN["weighted_agreement"]] == pytest.approx(wanted)


def test_who_gives_always_one_label_says_nothing_whatever_the_share_of_right_ones():
    rng = np.random.default_rng(0)
    truth = (rng.random(400) < 0.1).astype(int)
    columns = [np.where(rng.random(400) < 0.9, truth, 1 - truth) for _ in range(4)] + [np.zeros(400, int)]
    model = Annotators(2)
    model.learn(np.tile(np.arange(5), 400), np.repeat(np.arange(400), 5), np.stack(columns, axis=1).ravel())
    found = model.features()
    information = found[:, COLUMN["information"]]
    assert information[4] < 0.02 < 0.1 < information[:4].min()
    assert found[4, COLUMN["entropy"]] < 0.05 and found[4, COLUMN["accuracy"]] > 0.85
    np.testing.assert_allclose(found[:4, COLUMN["accuracy"]], [(c == truth).mean() for c in columns[:4]], atol=0.03)


def test_they_are_of_what_stands_in_a_graph_as_of_a_moment():
    rng = np.random.default_rng(7)
    a, t, given = labels(rng, 60)
    graph = TemporalGraph(["annotator", "task"], [Relation("gave", "annotator", "task", ("value",))])
    graph.make("annotator", np.arange(6))
    graph.make("task", np.arange(9))
    times = np.arange(60) * 1_000_000
    order = rng.permutation(60)  # labels that come late
    graph.add("gave", a[order], t[order], times[order], given[order, None])
    graph.judge("gave", 3, int(t[a == 3][0]), 50_000_000, "forbid")
    for before, stands in ((40_000_000, times < 40_000_000), (99_000_000, (a != 3) | (t != t[a == 3][0]))):
        wanted = Annotators(3)
        wanted.learn(a[stands], t[stands], given[stands], times[stands] / 1e6)
        for name, array in Annotators.of(graph, "gave", before, classes=3).state().items():
            np.testing.assert_array_equal(array, wanted.state()[name])
    bare = TemporalGraph(["annotator", "task"], [Relation("gave", "annotator", "task")])
    with pytest.raises(UserError, match="without labels"):
        Annotators.of(bare, "gave", 1, classes=2)


def test_a_saved_state_goes_on_as_it_would_have():
    a, t, given = labels(np.random.default_rng(3), 80)
    whole, first, second = (Annotators(3) for _ in range(3))
    whole.learn(a, t, given)
    first.learn(a[:50], t[:50], given[:50])
    second.load_state(decode(encode(first.state()), dict))
    second.learn(a[50:], t[50:], given[50:])
    for name, array in whole.state().items():
        np.testing.assert_array_equal(array, second.state()[name])
    with pytest.raises(IncompatibleError, match="not a state of annotators"):
        Annotators(2).load_state(whole.state())


def test_what_cannot_be_a_label_is_refused_and_nothing_is_taken_in():
    model = Annotators(2)
    model.learn([0], [0], [1])
    before = encode(model.state())
    for text, call in (
        ("no class", lambda: model.learn([0, 1], [0, 1], [1, 2])),
        ("no class", lambda: model.learn([0], [0], [0.5])),
        ("no class", lambda: model.learn([0], [0], [float("nan")])),
        ("no number of a node", lambda: model.learn([-1], [0], [1])),
        ("lengths differ", lambda: model.learn([0], [0, 1], [1, 0])),
        ("lengths differ", lambda: model.learn([0], [0], [1], [1.0, 2.0])),
    ):
        with pytest.raises(UserError, match=text):
            call()
    assert encode(model.state()) == before
    with pytest.raises(ConfigError, match="one class"):
        Annotators(1)
    assert Annotators(2).features().shape == (0, len(FEATURES))


@pytest.mark.parametrize(
    ("name", "least", "gain"), [("bluebirds", 0.93, 0.1), ("products", 0.8, 0.05), ("rte", 0.8, 0.0)]
)
def test_on_real_answers_poorness_ranks_annotators_as_the_truth_does_and_better_than_the_majority(name, least, gain):
    if not DATA.is_dir():
        pytest.skip("no crowd data here: set TIDEMILL_DATA")
    from scipy.stats import spearmanr

    with (DATA / f"{name}.answers.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (DATA / f"{name}.truth.csv").open() as file:
        truth = {row["task"]: int(row["truth"]) for row in csv.DictReader(file)}
    who, tasks = ({key: i for i, key in enumerate(dict.fromkeys(r[c] for r in rows))} for c in ("worker", "task"))
    a, t = (np.array([ids[r[c]] for r in rows]) for ids, c in ((who, "worker"), (tasks, "task")))
    given = np.array([int(r["answer"]) for r in rows])
    model = Annotators(int(given.max()) + 1)
    model.learn(a, t, given)
    gold = np.array([truth.get(key, -1) for key in tasks])
    votes = np.zeros((len(tasks), model.classes))
    np.add.at(votes, (t, given), 1)
    right, majority = (np.bincount(a, given == it[t]) / np.bincount(a) for it in (gold, votes.argmax(1)))
    many = np.bincount(a, gold[t] >= 0) >= 10
    ours = -spearmanr(model.poorness()[many], right[many]).statistic
    theirs = spearmanr(majority[many], right[many]).statistic
    assert ours > least and ours > theirs + gain
    known = gold >= 0
    assert (model.truth().argmax(1) == gold)[known].mean() > (votes.argmax(1) == gold)[known].mean()
