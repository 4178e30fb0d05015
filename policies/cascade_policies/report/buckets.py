"""Durations in buckets, 32 for each power of ten: quantiles to within 3.6% of their value."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from math import ceil, log10
from typing import Final

PER_DECADE: Final = 32
LOWEST: Final = -6 * PER_DECADE
HIGHEST: Final = 6 * PER_DECADE
"""Buckets of a microsecond and of 11 days; what is beyond counts as these."""

_GAMMA: Final = 10 ** (1 / PER_DECADE)
ERROR: Final = (_GAMMA - 1) / (_GAMMA + 1)
"""The greatest relative error of a quantile."""

_Counts = dict[int, tuple[int, int]]


def bucket(seconds: float) -> int:
    """The bucket of a duration: the least k with ``seconds <= 10 ** (k / 32)``."""
    if not seconds > 1e-6:  # a NaN too
        return LOWEST
    return min(ceil(log10(seconds) * PER_DECADE), HIGHEST) if seconds < 1e6 else HIGHEST


def edge(bucket: int) -> float:
    """The longest duration of a bucket, in seconds."""
    return float(10 ** (bucket / PER_DECADE))


class Buckets:
    """How many durations fell in each bucket, and how many of them were cut short.

    An attempt that was cancelled after t seconds would have taken longer than t. Were it left out,
    the slow ones that a hedge outruns would never be seen, and quantiles sink. So it counts as
    known to be beyond t (Kaplan and Meier, 1958).

    Attributes:
        counts: for each bucket how many there are, and how many of these were cut short.
    """

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: _Counts = {}

    def add(self, bucket: int, count: int, cut: int) -> None:
        """Take in ``count`` durations of one bucket, ``cut`` of them cut short."""
        had = self.counts.get(bucket, (0, 0))
        self.counts[bucket] = (had[0] + count, had[1] + cut)

    def merge(self, other: Buckets) -> None:
        """Take in all that another one has."""
        for index, (count, cut) in other.counts.items():
            self.add(index, count, cut)

    @property
    def whole(self) -> int:
        """How many were not cut short."""
        return sum(count - cut for count, cut in self.counts.values())

    def quantile(self, q: float) -> float | None:
        """The seconds that a share ``q`` in (0, 1) stays within.

        None with so few that none is expected beyond it (20 for p95, 100 for p99), or so many cut
        short that it is never reached.
        """
        total = sum(count for count, _ in self.counts.values())
        if total * (1.0 - q) < 1.0 - 1e-9:
            return None
        beyond = 1.0
        for index, left in self._at_risk():
            count, cut = self.counts[index]
            if count > cut:
                beyond *= 1.0 - (count - cut) / left
                if beyond <= 1.0 - q + 1e-9:
                    return 2.0 * edge(index) / (_GAMMA + 1.0)
        return None

    def _at_risk(self) -> Iterator[tuple[int, int]]:
        """Each bucket, from the shortest, with how many took at least that long."""
        order = sorted(self.counts, reverse=True)
        left = list(accumulate(self.counts[index][0] for index in order))
        return zip(reversed(order), reversed(left), strict=True)

    def longer(self, seconds: float) -> tuple[int, int]:
        """How many of those not cut short are in later buckets than that of ``seconds``; of all."""
        least = bucket(seconds)
        above = sum(n - cut for index, (n, cut) in self.counts.items() if index > least)
        return above, self.whole
