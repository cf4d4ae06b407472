"""Verdicts on candidates: better and surely so passes; chance, harm to one set, and another answer exported do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.training.test_matching import made
from training.gate import Answers, decide, mcnemar


def answers(name: str, candidate: float, champion: float | None, n: int = 400, seed: int = 0) -> Answers:
    """Both right with so high a chance, among four classes."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, n)

    def said(share: float) -> list[np.ndarray]:
        right = rng.random(n) < share
        return [np.eye(4)[k if r else (k + 1) % 4] for k, r in zip(truth, right, strict=True)]

    return Answers(name, truth.tolist(), said(candidate), None if champion is None else said(champion))


def test_mcnemar_is_exact():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 0) == pytest.approx(2 / 32)
    assert mcnemar(10, 2) == mcnemar(2, 10) == pytest.approx(2 * (1 + 12 + 66) / 4096)
    assert mcnemar(3, 3) == 1.0
    assert mcnemar(6_000, 5_000) < 1e-20


def test_a_better_candidate_passes():
    verdict = decide("classification", 4, [answers("test", 0.95, 0.8)], 1e-6)
    assert verdict.accepted and "better" in verdict.reasons[0]
    assert [c["check"] for c in verdict.checks] == ["parity", "test", "together"]
    assert all(c["passed"] for c in verdict.checks)


@pytest.mark.parametrize(("candidate", "why"), [(0.82, "better"), (0.8, "better"), (0.6, "worse")])
def test_chance_and_harm_do_not_pass(candidate, why):
    verdict = decide("classification", 4, [answers("test", candidate, 0.8, 200)], 0.0)
    assert not verdict.accepted
    assert any(why in reason for reason in verdict.reasons)


def test_worse_on_the_newest_labels_alone_does_not_pass():
    sets = [answers("test", 0.99, 0.7, 900), answers("newest", 0.4, 0.9, 100, seed=1)]
    verdict = decide("classification", 4, sets, 0.0)
    assert verdict.checks[-1]["passed"] and not verdict.accepted
    assert verdict.reasons[0].startswith("worse on newest")


def test_another_answer_exported_does_not_pass():
    verdict = decide("classification", 4, [answers("test", 0.95, 0.8)], 0.01)
    assert not verdict.accepted and "exported" in verdict.reasons[0]
    assert not decide("classification", 4, [answers("test", 0.95, 0.8)], float("nan")).accepted


def test_without_a_champion_it_must_beat_the_most_frequent_class():
    assert decide("classification", 4, [answers("test", 0.9, None)], 0.0).accepted
    assert not decide("classification", 4, [answers("test", 0.25, None)], 0.0).accepted


def test_without_items_nothing_passes():
    assert not decide("classification", 4, [Answers("test", [], [], [])], 0.0).accepted


def test_equal_candidates_pass_one_time_in_twenty_at_most():
    passed = sum(
        decide("classification", 4, [answers("test", 0.8, 0.8, 200, seed)], 0.0).accepted for seed in range(200)
    )
    assert passed <= 10  # two-sided p below 0.05 and the better of both: about 2 in 100


def test_boxes_are_compared_by_images():
    found, truth = made(3, images=60)
    worse = [boxes + np.array([0, 9, 9, 0, 0, 0]) for boxes in found]
    assert decide("detection", 3, [Answers("test", truth, found, worse)], 0.0).accepted
    assert not decide("detection", 3, [Answers("test", truth, worse, found)], 0.0).accepted
    same = decide("detection", 3, [Answers("test", truth, found, found)], 0.0)
    assert not same.accepted and same.checks[-1]["p"] == 1.0
    assert decide("detection", 3, [Answers("test", truth, found, None)], 0.0).accepted


def test_a_set_says_how_many_items_it_is_without():
    sets = [replace(answers("test", 0.95, 0.8), learned=12), answers("newest", 0.95, 0.8, 50, seed=1)]
    verdict = decide("classification", 4, sets, 0.0)
    assert verdict.accepted and [c.get("learned") for c in verdict.checks] == [None, 12, 0, None]
    assert verdict.reasons[1:] == ["test is without 12 of 412 items, which the candidate learned from"]
