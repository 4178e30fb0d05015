"""What many replayed calls come to: accuracy, cost, latency, and how far each tier went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from cascade.replay import Replayed
from cascade_policies.replaying.table import Array
from cascade_policies.report.chance import wilson

RESAMPLES: Final = 2000
PERCENTILES: Final = (50, 90, 95, 99)


class Share(Struct, frozen=True):
    """So many of so many, with the ends of the 95% interval (Wilson 1927)."""

    count: int
    of: int
    share: float | None
    low: float
    high: float

    @classmethod
    def made(cls, count: int, of: int) -> Share:
        """The share, which is None of nothing."""
        low, high = wilson(count, of)
        return cls(count, of, count / of if of else None, low, high)


class Mean(Struct, frozen=True):
    """A mean and the ends of its 95% interval."""

    mean: float
    low: float
    high: float


class TierSummary(Struct, frozen=True):
    """One tier.

    Attributes:
        started: of all calls, those in which it was started.
        out: of these, those in which all its attempts were rejected or failed.
        answered: of all calls, those whose answer is its.
        accuracy: mean quality of these answers; None where one is not known, or there are none.
        per_1000: US dollars for its attempts, at the least and at the most, in 1,000 calls; None
            where one is not known.
    """

    tier: str
    started: Share
    out: Share
    answered: Share
    accuracy: Mean | None
    per_1000: tuple[float, float] | None


class Summary(Struct, frozen=True, kw_only=True):
    """Many calls.

    Attributes:
        rows: how many.
        accuracy: mean quality; a call without an answer counts as 0. None where one is not known.
        unknown: answers whose quality is not known.
        outcomes: how many calls ended how.
        per_1000: US dollars for 1,000 calls, losers included, at the least and at the most; None
            where an attempt's cost is not known.
        latency: mean, and percentiles as ``p50``, in seconds; None where one is not known.
        escalations: mean of a call.
        tiers: in the policy's order.
    """

    rows: int
    accuracy: Mean | None
    unknown: int
    outcomes: dict[str, int]
    per_1000: tuple[float, float] | None
    latency: dict[str, float] | None
    escalations: float
    tiers: tuple[TierSummary, ...]


def summarise(calls: Sequence[Replayed], tiers: Sequence[str]) -> Summary:
    """The figures of one or more calls; ``tiers`` are the names."""
    quality = np.array([call.quality for call in calls])
    low, high = np.array([call.low for call in calls]), np.array([call.high for call in calls])
    kinds = [call.outcome for call in calls]
    return Summary(
        rows=len(calls),
        accuracy=mean_of(quality),
        unknown=int(np.isnan(quality).sum()),
        outcomes={kind: kinds.count(kind) for kind in ("accepted", "exhausted", "deadline")},
        per_1000=_per_1000(low, high, len(calls)),
        latency=_latency(np.array([call.latency for call in calls])),
        escalations=sum(call.escalations for call in calls) / len(calls),
        tiers=tuple(_tier(calls, index, name) for index, name in enumerate(tiers)),
    )


def _tier(calls: Sequence[Replayed], index: int, name: str) -> TierSummary:
    attempts = [[a for a in call.attempts if a.tier == index] for call in calls]
    started = [each for each in attempts if each]
    gone = sum(all(a.outcome in ("rejected", "failed") for a in each) for each in started)
    answered = np.array([call.quality for call in calls if call.tier == index])
    flat = [a for each in started for a in each]
    return TierSummary(
        name,
        Share.made(len(started), len(calls)),
        Share.made(gone, len(started)),
        Share.made(len(answered), len(calls)),
        mean_of(answered),
        _per_1000(np.array([a.low for a in flat]), np.array([a.high for a in flat]), len(calls)),
    )


def mean_of(values: Array) -> Mean | None:
    """The mean with its 95% interval; None of nothing, or where a value is not known.

    Of values that are all 0 or 1 by the score interval; of others by the percentiles of 2,000
    bootstrap resamples, which are the same each time.
    """
    if values.size == 0 or np.isnan(values).any():
        return None
    mean = float(values.mean())
    if np.isin(values, (0.0, 1.0)).all():
        return Mean(mean, *wilson(int(values.sum()), values.size))
    random = np.random.default_rng(0)
    means = [random.choice(values, values.size).mean() for _ in range(RESAMPLES)]
    return Mean(mean, *(float(end) for end in np.percentile(means, (2.5, 97.5))))


def _per_1000(low: Array, high: Array, calls: int) -> tuple[float, float] | None:
    least, most = float(low.sum()), float(high.sum())
    return None if np.isnan(least + most) else (1000 * least / calls, 1000 * most / calls)


def _latency(seconds: Array) -> dict[str, float] | None:
    if np.isnan(seconds).any():
        return None
    found = {f"p{q}": float(np.percentile(seconds, q)) for q in PERCENTILES}
    return {"mean": float(seconds.mean()), **found}
