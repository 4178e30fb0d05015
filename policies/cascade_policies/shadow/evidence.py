"""An e-process: how much the values so far say that a mean is higher than it may be.

The bets are those of the drift watch (`cascade_policies.drift.detector`): each multiplies its
capital by ``1 + lambda (x - m)``, whose expectation is at most 1 while the mean, given all values
before, is at most ``m``. A drift watch begins its bets anew whenever they have lost, and so gives a
false alarm now and then. Here all bets together are one dollar that is never added to. So while the
mean is what it may be, the chance that they are *ever* worth ``1 / alpha`` is at most ``alpha``,
however often one looks (Ville 1939; Ramdas et al. 2023, "Game-theoretic statistics and safe
anytime-valid inference").

What is bet at the first value, the second, and so on is ``1 / (t (t + 1))`` of the dollar; the rest
waits. A loss of quality after a million good values is found as well, at the price of some more.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, isfinite, log, log1p
from typing import Any, Final

from cascade.errors import ConfigError
from cascade_policies.drift.detector import bet

SHIFTS: Final = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Shifts of the log-odds of the mean that are bet on, each with the same part of the money."""

_MOST: Final = 1e300  # of a capital: what is certain need not be more so
_EDGE: Final = 1e-9  # a mean of 0 or 1 has no odds
_HALVINGS: Final = 50


class Evidence:
    """The worth of all bets that a mean is above ``mean``, in the dollar that they began with.

    Args:
        mean: the most that the mean of the values may be, in (0, 1).

    Raises:
        ConfigError: it is not.
    """

    __slots__ = ("_bets", "_capital", "count", "mean")

    def __init__(self, mean: float) -> None:
        if not 0 < mean < 1:
            raise ConfigError(f"mean={mean!r}: needs a number between 0 and 1")
        self.mean = mean
        self.count = 0
        self._bets = [bet(mean, shift) for shift in SHIFTS]
        self._capital = [0.0] * len(SHIFTS)

    @property
    def value(self) -> float:
        """What the bets are worth now, with what is not bet yet: at first 1."""
        return 1 / (self.count + 1) + sum(self._capital) / len(SHIFTS)

    def take(self, value: float) -> float:
        """What they are worth after one more value, in [0, 1]."""
        self.count += 1
        stake = 1 / (self.count * (self.count + 1))
        capital = self._capital
        for index, (at_zero, slope) in enumerate(self._bets):
            capital[index] = min((capital[index] + stake) * (at_zero + slope * value), _MOST)
        return self.value

    def to_dict(self) -> dict[str, Any]:
        """Everything but the mean, for JSON."""
        return {"count": self.count, "capital": list(self._capital)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], mean: float) -> Evidence:
        """What `to_dict` gave, with its mean.

        Raises:
            ConfigError: it is something else.
        """
        made = cls(mean)
        try:
            made.count = int(data["count"])
            made._capital = [float(has) for has in data["capital"]]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"the state of an e-process cannot be read: {error!r}") from None
        fits = len(made._capital) == len(SHIFTS) and made.count >= 0
        if not (fits and all(isfinite(has) and has >= 0 for has in made._capital)):
            raise ConfigError("the state of an e-process is of another version")
        return made


Weighed = Mapping[tuple[float, float], int]
"""How often a value in [0, 1] was seen with a weight in (0, 1]."""


def confidence_sequence(seen: Weighed, alpha: float) -> tuple[float, float]:
    """Where the mean is, at all times at once but for a chance of ``alpha``.

    An end of the interval is the mean against which the bets would be worth ``2 / alpha`` by now,
    had all of them been begun at the first value. The mean is taken to be the same throughout.

    Args:
        seen: the values; the weights make their average one of what they were drawn from, as they
            are inverse to the probability of each to be drawn.
        alpha: in (0, 1).
    """
    if not seen:
        return 0.0, 1.0
    goal = log(2 / alpha)
    mirrored = {(1 - value, weight): count for (value, weight), count in seen.items()}
    return _lower(seen, goal), 1 - _lower(mirrored, goal)


def _lower(seen: Weighed, goal: float) -> float:
    """The greatest mean that is too low. What all bets have won falls with the mean."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _won(seen, middle) >= goal:
            low = middle
        else:
            high = middle
    return low


def _won(seen: Weighed, mean: float) -> float:
    """The logarithm of what the bets against this mean are worth."""
    mean = min(max(mean, _EDGE), 1 - _EDGE)
    each = [
        sum(
            count * log1p(slope * weight * (value - mean))
            for (value, weight), count in seen.items()
        )
        for _, slope in (bet(mean, shift) for shift in SHIFTS)
    ]
    most = max(each)
    return most + log(sum(exp(one - most) for one in each) / len(each))
