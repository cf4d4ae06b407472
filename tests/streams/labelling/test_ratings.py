"""Ratings by weighted median, their annotators' biases taken off."""

from streams.labelling.ratings import bias_of, merge_ratings


def test_the_median_of_weights():
    assert merge_ratings([1, 4, 5], [1.0] * 3, [0.0] * 3, 1, 5)[:2] == (4, 1 / 3)
    assert merge_ratings([1, 4, 5], [5.0, 1.0, 1.0], [0.0] * 3, 1, 5).value == 1
    found = merge_ratings([3, 3, 5], [1.0] * 3, [0.0] * 3, 1, 5)
    assert (found.value, found.posterior) == (3, {"3": 0.666667, "5": 0.333333})
    assert found.agreement == [(1.0, 1.0), (1.0, 1.0), (0.5, 1.0)]


def test_a_bias_is_taken_off_and_stays_in_range():
    assert merge_ratings([5, 3, 3], [3.0, 1.0, 1.0], [2.0, 0.0, 0.0], 1, 5)[:2] == (3, 1.0)
    assert merge_ratings([1], [1.0], [2.0], 1, 5).value == 1


def test_a_bias_is_drawn_towards_none():
    assert bias_of(0.0, 0.0) == 0.0 and bias_of(2.0, 1.0) == 2 / 6 and abs(bias_of(2_000.0, 1_000.0) - 2) < 0.02
