"""What a task must keep to, and whether a candidate does."""

from __future__ import annotations

import math
from hashlib import sha256
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from cascade.errors import ConfigError
from cascade_policies.evaluating.candidates import Candidate
from cascade_policies.evaluating.intervals import Interval, interval
from cascade_policies.project.tasks import Thresholds
from cascade_policies.recordings.recording import Array, Flags

KEYS: Final = ("min_accuracy", "min_recall", "max_latency_p95", "max_cost_per_call")


class Check(Struct, frozen=True):
    """One threshold, and what was measured; None where it is not known, which does not meet it."""

    key: str
    wanted: float
    got: float | None
    meets: bool


class Measured(Struct, frozen=True, kw_only=True):
    """A candidate in figures.

    Attributes:
        name, kind: whose.
        rows: on how many it was measured.
        score: mean quality and its 95% interval.
        recall: mean quality on the positives; None without any.
        cost: US dollars of a call on average, the most it may be; None when not known.
        p50, p95: seconds within which half and 95% of the calls end (nearest rank); None when
            those of a call are not known.
        checks: against the thresholds.
    """

    name: str
    kind: str
    rows: int
    score: Interval
    recall: float | None
    cost: float | None
    p50: float | None
    p95: float | None
    checks: tuple[Check, ...] = ()

    @property
    def meets(self) -> bool | None:
        """Whether it meets them all; None where there are none."""
        return all(check.meets for check in self.checks) if self.checks else None


def told(thresholds: Thresholds) -> dict[str, float]:
    """Those that are set."""
    values = {key: getattr(thresholds, key) for key in KEYS}
    return {key: value for key, value in values.items() if value is not None}


def thresholds_sha256(thresholds: Thresholds) -> str:
    """Of those that are set."""
    return sha256(msgspec.json.encode(told(thresholds), order="sorted")).hexdigest()


def measure(
    candidate: Candidate, thresholds: Thresholds, positives: Flags | None = None
) -> Measured:
    """The candidate in figures; the score's mean is what ``min_accuracy`` is held against.

    Raises:
        ConfigError: ``min_recall`` is set, and no row is a positive.
    """
    if thresholds.min_recall is not None and (positives is None or not positives.any()):
        raise ConfigError(
            "min_recall: no row is a positive: say which reference is one, in the golden set's "
            'first line ({"golden": {"positive": …}}), or by "positive": true in metadata'
        )
    found = Measured(
        name=candidate.name,
        kind=candidate.kind,
        rows=len(candidate.quality),
        score=interval(candidate.quality),
        recall=None
        if positives is None or not positives.any()
        else float(candidate.quality[positives].mean()),
        cost=_mean(candidate.cost),
        p50=_quantile(candidate.latency, 0.5),
        p95=_quantile(candidate.latency, 0.95),
    )
    got = {
        "min_accuracy": found.score.mean,
        "min_recall": found.recall,
        "max_latency_p95": found.p95,
        "max_cost_per_call": found.cost,
    }
    checks = tuple(_check(key, wanted, got[key]) for key, wanted in told(thresholds).items())
    return msgspec.structs.replace(found, checks=checks)


def cheapest(measured: list[Measured]) -> Measured | None:
    """Of those that meet all thresholds the cheapest; of equally cheap ones the best."""
    meeting = [one for one in measured if one.meets]
    return min(
        meeting,
        key=lambda one: (math.inf if one.cost is None else one.cost, -one.score.mean),
        default=None,
    )


def _check(key: str, wanted: float, got: float | None) -> Check:
    if got is None:
        return Check(key, wanted, None, False)
    meets = got >= wanted if key.startswith("min") else got <= wanted
    return Check(key, wanted, got, meets)


def _mean(values: Array) -> float | None:
    mean = float(values.mean())  # NaN as soon as one is not known
    return None if math.isnan(mean) else mean


def _quantile(values: Array, q: float) -> float | None:
    if np.isnan(values).any():
        return None
    return float(np.quantile(values, q, method="inverted_cdf"))
