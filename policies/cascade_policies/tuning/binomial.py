"""Tails of the binomial distribution, exact to rounding, and what follows from them.

A tail is a regularised incomplete beta function, by its continued fraction (DLMF 8.17.22) with
Lentz's method. What is returned as a p-value is rounded up, never down.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, exp, lgamma, log, log1p
from typing import Final

_TINY: Final = 1e-300
_PRECISION: Final = 1e-15
_UP: Final = 1.0 + 1e-9  # beyond the rounding of lgamma for any number of rows


def at_least(count: int, of: int, share: float) -> float:
    """The probability of ``count`` or more successes in ``of`` trials, each with this chance."""
    if count <= 0:
        return 1.0
    if count > of or share <= 0.0:
        return 0.0
    if share >= 1.0:
        return 1.0
    return min(1.0, _beta(float(count), float(of - count + 1), share) * _UP)


def at_most(count: int, of: int, share: float) -> float:
    """The probability of ``count`` or fewer successes."""
    return at_least(of - count, of, 1.0 - share)


def interval(count: int, of: int, confidence: float) -> tuple[float, float]:
    """The two-sided interval of Clopper and Pearson (1934) for the chance of a success."""
    if of == 0:
        return 0.0, 1.0
    half = (1.0 - confidence) / 2.0
    low = 0.0 if count == 0 else _solve(lambda share: at_least(count, of, share) > half)
    high = 1.0 if count == of else 1.0 - _solve(lambda miss: at_most(count, of, 1.0 - miss) > half)
    return low, high


def rows_needed(margin: float, risk: float) -> int:
    """Rows without a single bad one that rule out a share of bad ones of ``margin``, but for
    ``risk``: about ln(1/risk)/margin."""
    if margin >= 1.0:
        return 1
    return max(1, ceil(log(risk) / log1p(-margin) - 1e-9))


def _solve(above: Callable[[float], bool]) -> float:
    """The least share from which a condition holds."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (low, middle) if above(middle) else (middle, high)
    return low


def _beta(a: float, b: float, x: float) -> float:
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    # The fraction converges fast on this side of the mean only.
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(a, b, x) / a
    return 1.0 - front * _fraction(b, a, 1.0 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1.0 / _nonzero(1.0 - (a + b) * x / (a + 1.0))
    found = d
    for m in range(1, 100_000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            d = 1.0 / _nonzero(1.0 + step * d)
            c = _nonzero(1.0 + step / c)
            found *= c * d
        if abs(c * d - 1.0) < _PRECISION:
            break
    return found


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
