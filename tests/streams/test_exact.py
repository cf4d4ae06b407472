"""Exact sums: nothing is rounded but the answer."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.exact import Moments

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def moments(values):
    out = Moments()
    for value in values:
        out.add(value)
    return out


@given(st.lists(FINITE, min_size=2, max_size=20), st.integers(0, 20), st.randoms())
def test_any_order_and_any_parts_give_the_same_and_the_exact_sum(values, cut, random):
    want = moments(values)
    shuffled = random.sample(values, len(values))
    got = moments(shuffled[:cut])
    got.merge(moments(shuffled[cut:]))
    assert got.pack() == want.pack() == Moments.unpack(want.pack()).pack()
    exact = [Fraction(v) for v in values]
    total, n = sum(exact), len(values)
    variance = sum((v - total / n) ** 2 for v in exact) / n
    for figure, fraction in ((want.mean, total / n), (want.variance, variance)):
        try:
            assert figure() == float(fraction)
        except OverflowError:
            assert np.isinf(figure())


def test_what_floats_lose_is_kept():
    assert moments([1e300, 1.0, -1e300]).sum() == 1.0
    assert moments([1e9, 1e9 + 1, 1e9 + 2]).variance(1) == 1.0
    assert np.isnan(moments([]).mean()) and np.isnan(moments([3.0]).variance(1))
