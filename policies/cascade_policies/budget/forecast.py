"""What will have been spent when a window ends, if it goes on as it has so far in it.

The rate so far, and an interval of 95% in which the sum ends, from how much one quarter of an hour
differs from another. It knows nothing of nights and weekends: what is left of the window is taken
to be like what has passed of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import variance
from typing import Final, NamedTuple

from cascade_policies.budget.windows import QUARTER, Window

SOONEST: Final = 300.0
"""Seconds of a window before which nothing is foretold."""

FEWEST: Final = 4
"""Quarters before which there is no interval."""

_Z = 1.959964


class Forecast(NamedTuple):
    """Nano-dollars at the end of the window; the interval is None while too little is known."""

    expected: int
    low: int | None
    high: int | None


def forecast(window: Window, now: float, spent: int, quarters: Sequence[int]) -> Forecast | None:
    """What will have been spent, or None in the first minutes.

    Args:
        window: the one that it is.
        now: Unix time.
        spent: nano-dollars so far.
        quarters: nano-dollars of each quarter of an hour that has begun of it, the last as far
            as it has come.
    """
    passed = now - window.began
    if passed < SOONEST:
        return None
    expected = round(spent + spent / passed * (window.ended - now))
    count, rest = len(quarters), (window.ended - now) / QUARTER
    if count < FEWEST or not spent:
        return Forecast(expected, None, None)
    # The rest varies as so many quarters do, and its mean is known only as well as from `count`.
    half = _student(count - 1) * sqrt(variance(quarters) * (rest + rest * rest / count))
    return Forecast(expected, max(spent, round(expected - half)), round(expected + half))


def _student(freedom: int) -> float:
    """The 97.5% quantile of Student's t, by the expansion of Cornish and Fisher.

    Abramowitz and Stegun, 26.7.5; for 3 degrees of freedom and more it is right to 1%.
    """
    z, n = _Z, freedom
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / n + second / n**2 + third / n**3
