"""Durations in buckets: quantiles with a bounded error, from samples that fade."""

from __future__ import annotations

from itertools import accumulate
from math import ceil, exp2, log
from typing import Any

from cascade.errors import ConfigError

ERROR = 0.05
HALF_LIFE = 86_400.0
SHORTEST, LONGEST = 1e-6, 1e6
ENOUGH = 20
FORGOTTEN = 1e-6  # a sample of twenty days ago
ROUNDING = 1e-9  # of a weight: what may be left of it by mistake when it is taken back
MOST, LATEST = 1e15, 1e11  # bounds of a weight and a time that are read, far beyond real ones

_GAMMA = (1 + ERROR) / (1 - ERROR)
_SCALE = 1 / log(_GAMMA)
_LOWEST, _HIGHEST = ceil(log(SHORTEST) * _SCALE), ceil(log(LONGEST) * _SCALE)


class Histogram:
    """Durations in seconds, in buckets whose bounds grow by a factor: a fixed relative error.

    A quantile is right to 5% of its value for anything from a microsecond to 11 days, in at most
    278 buckets (DDSketch: Masson, Rim and Lee, VLDB 2019). A sample weighs half as much a day later
    (forward decay: Cormode et al., ICDE 2009).

    An attempt cancelled after t seconds would have taken longer than t. Were it left out, the slow
    ones that a hedge outruns would never be seen, the quantile would sink, and hedges multiply. So
    it counts as cut: known to be beyond t (Kaplan and Meier, 1958).

    Times are seconds on one clock that outlives the process, ``time.time()``; one that goes back
    counts as standing still.
    """

    __slots__ = ("_at", "_buckets", "_fresh", "_memo", "_total")

    def __init__(self) -> None:
        self._at = 0.0  # a sample of this time weighs 1
        self._buckets: dict[int, list[float]] = {}  # the weight of [all, those that were cut]
        self._total = 0.0
        self._memo: dict[float, float | None] = {}
        self._fresh = 0.0  # the weight of what came after the first quantile in the memo

    def record(self, seconds: float, now: float, *, cut: bool = False) -> None:
        """Take in a duration; ``cut`` when it was cancelled then."""
        age = now - self._at
        if age > 16 * HALF_LIFE:  # long before a weight could be too large for a float
            self._age(now)
            age = 0.0
        weight = exp2(age / HALF_LIFE) if age > 0.0 else 1.0
        if SHORTEST < seconds < LONGEST:
            index = ceil(log(seconds) * _SCALE)
        else:
            index = _LOWEST if seconds <= SHORTEST else _HIGHEST
        bucket = self._buckets.get(index)
        if bucket is None:
            bucket = self._buckets[index] = [0.0, 0.0]
        bucket[0] += weight
        if cut:
            bucket[1] += weight
        self._total += weight
        self._fresh += weight
        if self._fresh * 100.0 > self._total:
            self._memo.clear()

    def count(self, now: float) -> float:
        """How many samples there are, the older ones counting less."""
        age = now - self._at
        return self._total * exp2(-age / HALF_LIFE) if age > 0.0 else self._total

    def quantile(self, q: float, now: float) -> float | None:
        """The seconds that a share ``q`` in (0, 1) of the attempts stays within.

        None with fewer than 20 samples, or so few that none is expected beyond it (100 for
        p99). Where so many were cut that ``q`` is never reached, the longest that was not cut.
        Computed anew when the samples have grown by a hundredth.
        """
        count = self.count(now)
        if count < ENOUGH or count * (1.0 - q) < 1.0 - 1e-9:
            return None
        if q not in self._memo:
            if not self._memo:
                self._fresh = 0.0
            self._memo[q] = self._quantile(q)
        return self._memo[q]

    def _quantile(self, q: float) -> float | None:
        order = sorted(self._buckets, reverse=True)
        at_risk = list(accumulate(self._buckets[index][0] for index in order))
        beyond, reached = 1.0, None
        for index, left in zip(reversed(order), reversed(at_risk), strict=True):
            weight, cut = self._buckets[index]
            if weight > cut:  # those cut in this very bucket are still at risk in it
                beyond *= 1.0 - (weight - cut) / left
                reached = index
                if beyond <= 1.0 - q + 1e-9:
                    break
        return None if reached is None else 2.0 * _GAMMA**reached / (_GAMMA + 1.0)

    def merge(self, other: Histogram) -> None:
        """Add what another one has seen."""
        if other._at > self._at:
            self._age(other._at)
        self._take(other._buckets, exp2((other._at - self._at) / HALF_LIFE))

    def remove(self, other: Histogram) -> None:
        """Take back one time that another one was merged."""
        buckets, theirs = self._buckets, other._buckets
        factor = exp2((other._at - self._at) / HALF_LIFE)
        self._buckets, self._total = {}, 0.0
        for index, (weight, cut) in buckets.items():
            gone, gone_cut = (part * factor for part in theirs.get(index, (0.0, 0.0)))
            left = weight - gone
            if left > ROUNDING * weight:
                self._take({index: [left, min(left, max(0.0, cut - gone_cut))]}, 1.0)
        self._memo.clear()

    def _age(self, now: float) -> None:
        """Weigh everything as of ``now``."""
        buckets, factor = self._buckets, exp2((self._at - now) / HALF_LIFE)
        self._at, self._buckets, self._total = now, {}, 0.0
        self._take(buckets, factor)

    def _take(self, buckets: dict[int, list[float]], factor: float) -> None:
        for index, (weight, cut) in buckets.items():
            if weight * factor > FORGOTTEN:
                bucket = self._buckets.setdefault(index, [0.0, 0.0])
                bucket[0] += weight * factor
                bucket[1] += cut * factor
                self._total += weight * factor
        self._memo.clear()

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {"at": self._at, "buckets": [[i, *self._buckets[i]] for i in sorted(self._buckets)]}

    @classmethod
    def from_dict(cls, data: Any) -> Histogram:
        """From what `to_dict` gave.

        Raises:
            ConfigError: it is something else.
        """
        try:
            at = float(data["at"])
            rows = [(int(i), float(weight), float(cut)) for i, weight, cut in data["buckets"]]
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise ConfigError("no latency histogram: needs numbers 'at' and 'buckets'") from error
        sane = all(_LOWEST <= i <= _HIGHEST and 0 <= cut <= w <= MOST for i, w, cut in rows)
        if not (sane and 0 <= at <= LATEST):
            raise ConfigError("no latency histogram: a number is out of bounds")
        made = cls()
        made._at = at
        for index, weight, cut in rows:
            made._take({index: [weight, cut]}, 1.0)
        return made
