"""Draws without replacement: Floyd's, whatever keeps them in order."""

import numpy as np
import pytest

from graph.draws import below, draw_distinct


def floyd(key, there, count):
    """The draw as it is told in one line of the literature: of a number drawn twice the largest possible one."""
    drawn = set()
    for i in range(count):
        last = there - count + i
        chosen = below(key, i, last + 1)
        drawn.add(last if chosen in drawn else chosen)
    return sorted(drawn)


@pytest.mark.parametrize("there", [1, 2, 33, 64, 100, 1_000, 40_000, 1 << 30])
def test_a_draw_is_floyd_s_of_few_and_of_many(there):
    for seed, count in enumerate(sorted({1, 2, 31, 32, 33, 34, 50, 63, 64, 99, 100, 999, 1_000, 3_000})):
        if count > there:
            continue
        key, out = np.uint64(seed * 7 + there), np.empty(count, np.int64)
        draw_distinct(key, there, out)
        assert out.tolist() == floyd(key, there, count)


def test_each_of_many_is_drawn_as_often():
    there, count, times = 120, 40, 3_000
    drawn, out = np.zeros(there), np.empty(count, np.int64)
    for seed in range(times):
        draw_distinct(np.uint64(seed), there, out)
        drawn[out] += 1
    expected = times * count / there
    assert (np.abs(drawn - expected) < 5 * np.sqrt(expected)).all()
