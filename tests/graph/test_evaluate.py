"""The evaluation of links: metrics against scikit-learn, negatives, and that no one sees the future."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from graph.baselines import EdgeBank, Popularity, RecencyMix
from graph.evaluate import auc, average_precision, evaluate, historical, quality, ranks, seeded, split, stream, table
from tidemill.errors import ConfigError

few = st.lists(st.integers(-3, 3), min_size=1, max_size=40)
SECONDS = dict.fromkeys(("fit_seconds", "fit_processor_seconds", "test_seconds"), 0.0)
NAMED = {"model": "m", "protocol": "stale", "negatives": "seeded", **SECONDS}


def random_stream(n: int = 600, nodes: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    src, dst = np.random.default_rng(5).integers(0, nodes, (2, n))
    return src, dst, np.arange(n) * 10.0


@settings(deadline=None)
@given(few, few)
def test_ap_and_auc_equal_scikit_learn(true: list[int], false: list[int]) -> None:
    y = [1] * len(true) + [0] * len(false)
    assert auc(true, false) == pytest.approx(roc_auc_score(y, true + false))
    assert average_precision(true, false) == pytest.approx(average_precision_score(y, true + false))


def test_metrics_by_hand() -> None:
    scores = np.array([[3.0, 1, 2], [1.0, 1, 0], [0.0, 1, 1], [2.0, 2, 2]])
    assert ranks(scores).tolist() == [1, 1.5, 3, 2]
    found = quality(scores, **NAMED)
    assert found.mrr == pytest.approx((1 + 2 / 3 + 1 / 3 + 1 / 2) / 4)
    assert (found.hits_1, found.hits_10) == (0.25, 1.0)
    with pytest.raises(ConfigError):
        ranks([[np.nan, 1.0]])


def test_a_model_of_one_score_for_all_gets_the_mean_rank() -> None:
    assert ranks(np.zeros((5, 101))).tolist() == [51.0] * 5


def test_seeded_negatives_are_uniform_without_the_true_one() -> None:
    dst = np.full(2_000, 3)
    drawn = seeded(dst, [1, 2, 3, 4, 4], seed=2, count=30)
    assert (np.unique(drawn, return_counts=True)[1] / drawn.size) == pytest.approx([1 / 3] * 3, abs=0.01)
    assert set(np.unique(drawn)) == {1, 2, 4}
    assert (drawn == seeded(dst, [1, 2, 3, 4], seed=2, count=30)).all()
    assert (drawn != seeded(dst, [1, 2, 3, 4], seed=3, count=30)).any()
    with pytest.raises(ConfigError):
        seeded([1], [1], seed=0)


def test_historical_negatives_are_earlier_destinations_of_the_source() -> None:
    src, dst, _ = random_stream(n=400, nodes=8)
    drawn = historical(src, dst, np.arange(100, 200), start=300, seed=1, count=8)
    for i, row in enumerate(drawn.tolist()):
        before = set(dst[: 300 + i][src[: 300 + i] == src[300 + i]].tolist()) - {int(dst[300 + i])}
        past = [node for node in row if node < 100]
        assert len(past) == len(set(past)) == min(4, len(before))
        assert set(past) <= before


class Spy:
    """Scores at random; notes what it was asked and taught."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.learned = 0

    def __deepcopy__(self, _: Any) -> "Spy":
        return self

    def score(self, src: Any, candidates: Any, time: Any) -> np.ndarray:
        assert (np.diff(candidates, axis=1) >= 0).all(), "the true candidate's place tells it"
        self.asked += [(self.learned, len(src))]
        return np.asarray(candidates, float)

    def learn(self, src: Any, dst: Any, time: Any) -> None:
        self.learned += len(src)

    def fit(self, src: Any, dst: Any, time: Any, *, block: int) -> None:
        self.learned = len(src)


@pytest.mark.parametrize("block", [1, 200])
def test_every_edge_is_predicted_before_its_block_is_learned(block: int) -> None:
    src, dst, time = random_stream()
    spy = Spy()
    scores = stream(spy, src, dst, time, seeded(dst, src, seed=1), block=block)
    assert spy.asked == [(at, min(block, 600 - at)) for at in range(0, 600, block)]
    assert (scores[:, 0] == dst).all(), "scores come back in the order of the candidates"


class Cheat(Spy):
    """Knows the edges before they are asked: what a leak looks like."""

    def __init__(self, src: np.ndarray, dst: np.ndarray, time: np.ndarray) -> None:
        super().__init__()
        self.future = set(zip(src.tolist(), time.tolist(), dst.tolist(), strict=True))

    def score(self, src: Any, candidates: Any, time: Any) -> np.ndarray:
        rows = zip(src.tolist(), time.tolist(), candidates.tolist(), strict=True)
        return np.array([[(a, t, c) in self.future for c in row] for a, t, row in rows], float)


def mrr(make: Callable[[], Any], protocol: str) -> float:
    found = evaluate([("m", make)], *random_stream(), kinds=("seeded",))
    return next(q.mrr for q in found if q.protocol == protocol)


BY_CHANCE = 0.052
"""The mean of 1/rank over the ranks 1 to 101."""


@pytest.mark.parametrize("protocol", ["causal", "stale"])
@pytest.mark.parametrize("make", [EdgeBank, Popularity, RecencyMix])
def test_on_a_stream_without_a_pattern_no_model_beats_chance(make: Callable[[], Any], protocol: str) -> None:
    assert mrr(make, protocol) < BY_CHANCE + 0.05


def test_one_that_sees_the_future_fails_the_same_check() -> None:
    assert mrr(lambda: Cheat(*random_stream()), "causal") > 0.9


def test_validation_learns_nothing_of_the_test() -> None:
    spies: list[Spy] = []
    evaluate(
        [("spy", lambda: spies.append(Spy()) or spies[-1])], *random_stream(), part="validation", kinds=("seeded",)
    )
    valid, test = split(600)
    assert (valid, test) == (420, 510)
    assert [spy.learned for spy in spies] == [510, 510]
    assert [spy.asked[0] for spy in spies] == [(420, 1), (420, 90)]


class Busy(Spy):
    """Fits by work of this process alone, in a thread of its own."""

    def fit(self, *args: Any, block: int) -> None:
        def work() -> None:
            begun = time.thread_time()
            while time.thread_time() < begun + 0.1:
                pass

        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
        super().fit(*args, block=block)


def test_fitting_is_told_in_processor_seconds_of_all_threads() -> None:
    for one in evaluate([("busy", Busy)], *random_stream(), kinds=("seeded",)):
        assert one.fit_processor_seconds >= 0.1 and one.fit_seconds >= 0.1


def test_every_model_protocol_and_kind_is_a_line_of_the_table() -> None:
    found = evaluate([("bank", EdgeBank), ("mix", RecencyMix)], *random_stream())
    lines = table(found).splitlines()
    assert len(lines) == 1 + 2 * 2 * 2
    assert lines[0].split()[:5] == ["model", "protocol", "negatives", "MRR", "AP"]
    assert len({tuple(line.split()[:3]) for line in lines}) == len(lines)
