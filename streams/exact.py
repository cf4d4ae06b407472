"""Sums of float64 without rounding: the same in every order and for every way of dealing the values out.

A finite float64 is a whole number of $2^{-1074}$, its square one of $2^{-2148}$; Python's integers hold the sums of
both exactly. Rounding happens once, where a figure is asked for: it is the float64 nearest to the exact value.
"""

from __future__ import annotations

import numpy as np

_UNIT = 1074


class Moments:
    """Count, sum and sum of squares of finite values, exactly."""

    __slots__ = ("count", "squares", "total")

    def __init__(self, count: int = 0, total: int = 0, squares: int = 0) -> None:
        self.count = count
        self.total = total
        self.squares = squares

    def add(self, x: float) -> None:
        """Count the finite value `x`."""
        numerator, denominator = x.as_integer_ratio()
        shift = _UNIT + 1 - denominator.bit_length()
        self.count += 1
        self.total += numerator << shift
        self.squares += (numerator * numerator) << (2 * shift)

    def merge(self, other: Moments) -> None:
        """Count all that `other` has counted."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares

    def sum(self) -> float:
        """The sum, rounded once; infinite beyond the range of float64."""
        return _ratio(self.total, 1 << _UNIT)

    def mean(self) -> float:
        """The mean, rounded once; NaN of no values."""
        return _ratio(self.total, self.count << _UNIT) if self.count else np.nan

    def variance(self, ddof: int = 0) -> float:
        """$(\\sum x^2 - (\\sum x)^2 / n) / (n - ddof)$, rounded once: there is no cancellation. NaN for n ≤ ddof."""
        n = self.count
        if n <= ddof:
            return np.nan
        return _ratio(n * self.squares - self.total * self.total, n * (n - ddof) << (2 * _UNIT))

    def std(self, ddof: int = 0) -> float:
        """The square root of the variance."""
        return float(np.sqrt(self.variance(ddof)))

    def pack(self) -> list[bytes]:
        """Count, sum and sum of squares as bytes, the shortest that hold them."""
        numbers = (self.count, self.total, self.squares)
        return [n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True) for n in numbers]

    @staticmethod
    def unpack(data: list[bytes]) -> Moments:
        """The moments behind `pack`. Raises `ValueError` where they are none."""
        count, total, squares = (int.from_bytes(part, "little", signed=True) for part in data)
        return Moments(count, total, squares)


def _ratio(numerator: int, denominator: int) -> float:
    try:
        return numerator / denominator  # of whole numbers: correctly rounded
    except OverflowError:
        return np.inf if numerator > 0 else -np.inf
