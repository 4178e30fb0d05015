"""An e-detector: how much the calls so far say that a mean has left its baseline.

For a bounded value x in [0, 1] and a mean of at most m, the factor ``1 + lambda (x - m)`` has an
expectation of at most 1: it is what a bet on a higher mean returns for each dollar. A bet that was
begun at any one call cannot be expected to grow while nothing has changed. The e-detector of a bet
is the capital of the best call to have begun it (a CUSUM: back to 1 dollar whenever less is left),
and a weighted sum of e-detectors is one again. It exceeds a threshold, while nothing has changed,
after that many calls at the earliest, on average.

Shin, Ramdas and Rinaldo 2023, "E-detectors: a nonparametric framework for sequential change
detection", https://arxiv.org/abs/2203.03532.
"""

from __future__ import annotations

from math import exp, isfinite, log
from typing import Any, Final

from cascade.errors import ConfigError
from cascade_policies.drift.baseline import Baseline

SHIFTS: Final = ((0.5, 0.45), (1.0, 0.41), (2.0, 0.1), (4.0, 0.04))
"""The changes that are bet on, upwards and downwards, and the share of the dollar put on each.

They are shifts of the log-odds of the mean: from 25% to 35%, 48%, 71% and 95%, and from 1% to 1.6%,
2.7%, 7% and 36%. Most is put on those that take long to find; a large one needs little.
"""

_EDGE: Final = 1e-6  # a mean of 0 or 1 has no odds


class Detector:
    """The capital of all bets on a change of one mean."""

    __slots__ = ("_bets", "_cap", "_capital", "_count", "_start", "_total")

    def __init__(self, baseline: Baseline) -> None:
        self._capital = [1.0] * (2 * len(SHIFTS))
        # Of each bet, how many values there were, and their sum, when it was last begun.
        self._start = [(0, 0.0)] * (2 * len(SHIFTS))
        self._count = 0
        self._total = 0.0
        self.tune(baseline)

    def tune(self, baseline: Baseline) -> None:
        """Go on with another baseline, whose cap is the same.

        That is allowed at any time, as long as what decides on it are values of the past.
        """
        self._cap = baseline.cap
        high = _inside(baseline.high / baseline.cap)
        low = _inside(baseline.low / baseline.cap)
        self._bets = [(*bet(high, shift), share / 2) for shift, share in SHIFTS]
        self._bets += [(*bet(low, -shift), share / 2) for shift, share in SHIFTS]

    def take(self, value: float) -> float:
        """The evidence of a change after one more value, 0 or more."""
        part = min(value / self._cap, 1.0)
        capital, before = self._capital, (self._count, self._total)
        evidence = 0.0
        for index, (at_zero, slope, share) in enumerate(self._bets):
            had = capital[index]
            if had <= 1.0:
                had = 1.0
                self._start[index] = before
            has = capital[index] = had * (at_zero + slope * part)
            evidence += share * has
        self._count += 1
        self._total += part
        return evidence

    def since_change(self) -> tuple[int, float]:
        """How many values there were since the likeliest moment of a change, and their mean.

        That is when the bet was begun that is worth the most. The mean is a little too far from
        the baseline: the values that made the change certain are those that stood out.
        """
        worth = [has * share for has, (*_, share) in zip(self._capital, self._bets, strict=True)]
        count, total = self._start[worth.index(max(worth))]
        values = self._count - count
        return values, (self._total - total) / max(values, 1) * self._cap

    def to_dict(self) -> dict[str, Any]:
        """Everything but the baseline, for JSON."""
        starts = [list(start) for start in self._start]
        return {
            "capital": list(self._capital),
            "start": starts,
            "count": self._count,
            "total": self._total,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], baseline: Baseline) -> Detector:
        """What `to_dict` gave, with its baseline.

        Raises:
            ConfigError: it is something else.
        """
        made = cls(baseline)
        try:
            made._capital = [float(has) for has in data["capital"]]
            made._start = [(int(count), float(total)) for count, total in data["start"]]
            made._count, made._total = int(data["count"]), float(data["total"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"the state of a drift detector cannot be read: {error!r}") from None
        lengths = {len(made._capital), len(made._start)}
        if lengths != {len(made._bets)} or not all(map(isfinite, made._capital)):
            raise ConfigError("the state of a drift detector is of another version")
        return made


def _inside(mean: float) -> float:
    return min(max(mean, _EDGE), 1 - _EDGE)


def bet(mean: float, shift: float) -> tuple[float, float]:
    """What a bet returns for a value of 0, and how much more for one of 1.

    For values that are 0 or 1 these are the likelihood ratios of the shifted mean, the bet that
    grows fastest when that is the mean.
    """
    odds = log(mean / (1 - mean)) + shift
    other = 1 / (1 + exp(-odds))
    at_zero = (1 - other) / (1 - mean)
    return at_zero, other / mean - at_zero
