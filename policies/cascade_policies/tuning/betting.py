"""A test of a mean that holds for every distribution on an interval and any number of rows.

Betting against "the mean is at most m" (Waudby-Smith and Ramdas, 2024, "Estimating means of
bounded random variables by betting"): a gambler stakes a share of their wealth on each row before
it is seen, and the wealth is multiplied by 1 + bet·(x - m). If the mean is at most m, the wealth is
a supermartingale however the bets are chosen, so it ever reaches 1/p with probability p at most.

How the bets are chosen decides the power only. Here the number of rows is known, and what counts is
to reach 1/risk by the last of them. The best way to reach a goal by a time is to hold what a
digital option is replicated by: with the share g of the goal reached, so much that one standard
deviation of all rows left moves the wealth by the normal density at the g-quantile. A gambler of
that kind has, for many rows, the power of the z-test, which needs 1.64 standard errors at a risk of
5%, where one who maximises the growth of the wealth needs about 2.4.
"""

from __future__ import annotations

from math import exp, expm1, inf, log, sqrt
from statistics import NormalDist
from typing import Final

import numpy as np

from cascade_policies.replaying.table import Array

_NORMAL: Final = NormalDist()
_BLOCKS: Final = 160
"""Bets are changed so many times: often enough to lose nothing that can be measured."""

_BOLDEST: Final = 1.0 - 1e-9
_BEYOND: Final = log(1.1)
"""The option is worth nearly, never quite, its goal: what is aimed at is a tenth more."""

_UNSEEN: Final = 0.5
_HOPELESS: Final = 1e-12


def mean_test(
    values: Array, least: float, *, low: float, risk: float, before: Array | None = None
) -> float:
    """The p-value of "the mean is at most ``least``"; small is evidence that it is greater.

    Stops at the row where it is ``risk`` or less, so it says whether, not by how much.

    Args:
        values: n independent rows, in an order that was not chosen by looking at them.
        least: the mean to be ruled out.
        low: the least that a value can be, known beforehand.
        risk: what the p-value will be compared with.
        before: values of other rows, for the size of the first bets.

    Raises:
        ValueError: a value is below ``low`` or is no number.
    """
    if len(values) and not (np.isfinite(values).all() and values.min() >= low):
        raise ValueError(f"values: needs finite numbers of {low} or more")
    reach = least - low
    if reach < 0.0:
        return 0.0  # no mean is that small
    if len(values) == 0:
        return 1.0
    gains = values - least
    known = _Known(np.zeros(0) if before is None else before - least, reach)
    boldest = _BOLDEST / reach if reach > 0.0 else inf
    wealth, most, goal = 0.0, 0.0, log(1.0 / risk)  # logarithms
    for start, end in _blocks(len(gains)):
        bet = min(known.bet(goal + _BEYOND - wealth, len(gains) - start), boldest)
        block = gains[start:end]
        # One row at a time it would be the same: the bet is the same for all of the block.
        wealth += float(np.log1p(bet * block).sum())
        most = max(most, wealth)
        if most >= goal:
            break
        known.add(block)
    return min(1.0, exp(-most))


class _Known:
    """What the rows so far say of those to come: moments, and whether any was a loss."""

    def __init__(self, before: Array, reach: float) -> None:
        self._reach = reach
        # Half a greatest loss is taken as seen, so that none is impossible.
        self._count = _UNSEEN
        self._moments = _UNSEEN * np.array([-reach, reach**2, -(reach**3)])
        self._lost = False
        self._sure = 0.0
        if len(before):
            self.add(before)

    def add(self, gains: Array) -> None:
        self._count += len(gains)
        squares = gains * gains
        self._moments += (gains.sum(), squares.sum(), gains @ squares)
        least = float(gains.min())
        self._lost = self._lost or least < 0.0
        self._sure += float(gains.sum())

    def bet(self, missing: float, left: int) -> float:
        """The stake a unit of gain, with this much of the logarithm of the goal still missing."""
        mean, second, third = (self._moments / self._count).tolist()
        variance = max(second - mean * mean, 1e-18)
        # Were the mean 0 instead, by the least change (an exponential tilt), the variance would
        # differ by as much as the distribution is skewed.
        skew = third - 3.0 * mean * second + 2.0 * mean**3
        variance += max(mean, 0.0) * min(max(-skew / variance, 0.0), self._reach)
        share = min(max(exp(-missing), _HOPELESS), 1.0 - _HOPELESS)
        quantile = _NORMAL.inv_cdf(share)
        bet = _NORMAL.pdf(quantile) / (share * sqrt(variance * left))
        if not self._lost and self._sure > 0.0:
            # Rows that go on without a loss must be enough.
            usual = self._sure / (self._count - _UNSEEN)
            bet = max(bet, expm1(min(missing / left, 9.0)) / usual)
        return bet


def _blocks(count: int) -> list[tuple[int, int]]:
    """Of equal size, and smaller towards the end, where the last rows decide."""
    size = max(1, count // _BLOCKS)
    ends, at = [], 0
    while at < count:
        at += max(1, min(size, (count - at) // 8))
        ends.append(at)
    return list(zip([0, *ends[:-1]], ends, strict=True))
