"""What may be chance: intervals of shares, and whether two figures differ by more."""

from __future__ import annotations

from math import sqrt
from typing import Final

Z95: Final = 1.959964
"""For the intervals that are shown."""

Z99: Final = 2.575829
"""For calling a change real: a report makes many comparisons, and one in a hundred may mislead."""

FEW: Final = 30
"""Below that many, a mean is not taken to be normally distributed."""


def wilson(count: int, of: int, z: float = Z95) -> tuple[float, float]:
    """The interval of a share, by its score (Wilson 1927); (0, 1) of nothing."""
    if of == 0:
        return 0.0, 1.0
    share, spread = count / of, z * z / of
    middle = share + spread / 2
    half = z * sqrt(share * (1 - share) / of + spread / (4 * of))
    low = 0.0 if count == 0 else max(0.0, (middle - half) / (1 + spread))
    return low, 1.0 if count == of else min(1.0, (middle + half) / (1 + spread))


def shares_differ(count: int, of: int, other: int, other_of: int) -> bool | None:
    """Whether two shares differ by more than chance, at 99%; None where there is nothing.

    By the interval of the difference that is made of both score intervals (Newcombe 1998,
    method 10).
    """
    if of == 0 or other_of == 0:
        return None
    share, base = count / of, other / other_of
    (low, high), (base_low, base_high) = wilson(count, of, Z99), wilson(other, other_of, Z99)
    least = share - base - sqrt((share - low) ** 2 + (base_high - base) ** 2)
    most = share - base + sqrt((high - share) ** 2 + (base - base_low) ** 2)
    return least > 0 or most < 0


def means_differ(one: tuple[int, float, float], other: tuple[int, float, float]) -> bool | None:
    """Whether two means differ by more than chance, at 99%; None with fewer than 30 in either.

    Args:
        one: how many, their sum, and the sum of their squares.
        other: likewise.
    """
    if one[0] < FEW or other[0] < FEW:
        return None
    mean, variance = _moments(*one)
    base, base_variance = _moments(*other)
    error = sqrt(variance / one[0] + base_variance / other[0])
    # Sums of squares lose digits: what is left of a spread that is nil must not make a difference.
    floor = 1e-6 * max(abs(mean), abs(base))
    return abs(mean - base) > Z99 * error + floor


def _moments(count: int, total: float, squares: float) -> tuple[float, float]:
    mean = total / count
    return mean, max(0.0, (squares - count * mean * mean) / (count - 1))
