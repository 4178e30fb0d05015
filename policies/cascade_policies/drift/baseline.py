"""What a task's figure was before any change: learned from its first calls, or given."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf, sqrt
from typing import Final

from msgspec import Struct

from cascade.errors import ConfigError

FIRST: Final = 100
"""Calls after which a first, wide interval is known."""

Z: Final = 1.959964
"""Standard errors on either side of a learned mean: a 95% interval."""

TOLERANCE: Final = 0.05
"""The part by which a figure may differ from a single number that was given for it."""

_SMALLEST_CAP: Final = 1e-9  # of a task that has cost nothing so far
_CAP: Final = 2.0  # times the 99th percentile
_GIVEN_CAP: Final = 10.0  # times the mean


class Baseline(Struct, frozen=True):
    """Where the mean of a figure is while nothing has changed.

    Attributes:
        mean: what to call it.
        low: the lower end of the interval in which it is; in the figure's unit.
        high: the upper end.
        cap: values are clipped here. For a rate 1; for a cost the dollars above which one call
            counts no more, as no test of a mean can stand values without a bound.

    Raises:
        ConfigError: the numbers are not ``0 <= low <= mean <= high < cap``.
    """

    mean: float
    low: float
    high: float
    cap: float = 1.0

    def __post_init__(self) -> None:
        numbers = (self.mean, self.low, self.high, self.cap)
        if not (0 <= self.low <= self.mean <= self.high < self.cap < inf):
            raise ConfigError(
                f"baseline {numbers}: needs 0 <= low <= mean <= high < cap; a rate has cap 1"
            )

    @classmethod
    def rate(cls, given: float) -> Baseline:
        """Of an escalation rate: the number and `TOLERANCE` of it on either side."""
        return cls(given, given * (1 - TOLERANCE), min(given * (1 + TOLERANCE), (1 + given) / 2))

    @classmethod
    def cost(cls, given: float) -> Baseline:
        """Of a mean cost in dollars, likewise; calls are clipped at ten times of it."""
        cap = max(given * _GIVEN_CAP, _SMALLEST_CAP)
        return cls(given, given * (1 - TOLERANCE), given * (1 + TOLERANCE), cap)

    @classmethod
    def of(cls, values: Sequence[float], *, cap: float | None = None) -> Baseline:
        """Learned from values, one a call, 0 or more.

        Args:
            cap: by default twice the 99th percentile of the values.
        """
        if not values:
            raise ConfigError("a baseline needs values to learn from")
        if cap is None:
            cap = cap_of(values)
        parts = [min(value / cap, 1.0) for value in values]
        return cls.learned(len(parts), sum(parts), sum(part * part for part in parts), cap)

    @classmethod
    def learned(cls, count: int, total: float, squares: float, cap: float) -> Baseline:
        """From sums over values that were clipped and divided by ``cap``.

        The interval is that of a share by its score (Wilson 1927) with the variance seen in place
        of that of a share, which is the same for values that are all 0 or 1.
        """
        mean = min(total / count, 1.0)
        variance = max(0.0, squares / count - mean * mean)
        spread = Z * Z / count
        half = Z * sqrt(variance / count + spread / (4 * count))
        low = max(0.0, (mean + spread / 2 - half) / (1 + spread))
        high = min(1 - 1e-9, (mean + spread / 2 + half) / (1 + spread))
        mean = min(max(mean, low), high)
        return cls(mean * cap, low * cap, high * cap, cap)


def cap_of(values: Sequence[float]) -> float:
    """Where to clip costs, as the costs so far say."""
    high = sorted(values)[ceil(0.99 * len(values)) - 1]
    return max(_CAP * high, _SMALLEST_CAP)
