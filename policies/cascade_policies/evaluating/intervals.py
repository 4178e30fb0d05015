"""Intervals of a mean quality, at 95%."""

from __future__ import annotations

from math import log, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cascade_policies.report.chance import wilson

CONFIDENCE: Final = 0.95


class Interval(NamedTuple):
    """A mean and where the truth may be; ``method`` is ``wilson`` or ``empirical-bernstein``."""

    mean: float
    low: float
    high: float
    method: str


def interval(values: NDArray[np.float64]) -> Interval:
    """The mean of qualities in [0, 1] with its 95% interval; (NaN, 0, 1) of none.

    Where all are 0 or 1 it is Wilson's score interval. Else it is the empirical Bernstein bound
    (Maurer and Pontil 2009, theorem 4) on both sides with half the error each: it holds for any
    number of rows and any distribution on [0, 1], and is wide when rows are few.
    """
    count = len(values)
    if count == 0:
        return Interval(float("nan"), 0.0, 1.0, "wilson")
    mean = float(values.mean())
    if bool(np.isin(values, (0.0, 1.0)).all()):
        return Interval(mean, *wilson(int(values.sum()), count), "wilson")
    if count == 1:
        return Interval(mean, 0.0, 1.0, "empirical-bernstein")
    surprise = log(2 / ((1 - CONFIDENCE) / 2))
    spread = sqrt(2 * float(values.var(ddof=1)) * surprise / count)
    half = spread + 7 * surprise / (3 * (count - 1))
    low, high = max(0.0, mean - half), min(1.0, mean + half)
    return Interval(mean, low, high, "empirical-bernstein")
