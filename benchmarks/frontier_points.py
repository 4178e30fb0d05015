"""What a policy comes to on recorded answers, and what it was expected to come to.

Part of ``python -m benchmarks.frontier``, which says what is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from benchmarks.library import wilson
from cascade.replay import Replayed
from cascade_policies.replaying import UNCHECKED, Outcomes, Settings, Table, evaluate
from cascade_policies.replaying.calls import replay_all

Array = NDArray[np.float64]
Interval = tuple[float, float, float]
"""A value, and the ends of its 95% interval."""

Kind = Literal["single", "policy", "tuned", "rival", "oracle"]

RESAMPLES = 2000
PUBLISHED_POINTS = 0.1
POINTS = 0.7
SHARE = 0.05
"""How far a figure may be from its reference: percentage points, or a share of it for dollars and
seconds."""


class Point(Struct, frozen=True, kw_only=True):
    """One policy on one set of prompts.

    Attributes:
        accuracy: percent, with its Wilson interval.
        dollars: US dollars per 1,000 prompts, the most that may have been billed, with its
            bootstrap interval; None where a cost is not known.
        least: the least that may have been billed.
        escalated: percent of the prompts where a tier was started because those before were out.
        large: percent of the prompts that reached the large model, where costs are not known.
        p50, p95: seconds; None where they are not known.
    """

    name: str
    kind: Kind
    rows: int
    accuracy: Interval
    dollars: Interval | None = None
    least: float | None = None
    escalated: float | None = None
    large: float | None = None
    p50: float | None = None
    p95: float | None = None


class Reference(Struct, frozen=True):
    """A figure that is expected, and the one that was found; None where there is none."""

    what: str
    expected: float
    found: float | None
    tolerance: float

    @property
    def met(self) -> bool:
        """Whether it is as near as it has to be; the slack is for the rounding of sums."""
        if self.found is None:
            return False
        return abs(self.found - self.expected) <= self.tolerance + 1e-9


def near(what: str, expected: float, found: float | None) -> Reference:
    """A reference in dollars or seconds."""
    return Reference(what, expected, found, SHARE * expected)


def resampled(values: Array) -> Interval:
    """The mean and its 95% percentile bootstrap interval, over the same draws each time."""
    random = np.random.default_rng(0)
    means = values[random.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(values.mean()), float(low), float(high)


def point(
    name: str,
    kind: Kind,
    quality: Array,
    dollars: Array | None = None,
    *,
    least: Array | None = None,
    escalated: Array | None = None,
    latency: Array | None = None,
) -> Point:
    """A policy from what its calls come to: arrays over the prompts."""
    low, high = wilson(round(float(quality.sum())), len(quality))
    known = dollars is not None and not np.isnan(dollars).any()
    timed = latency is not None and not np.isnan(latency).any()
    p50, p95 = np.percentile(latency, (50, 95)) if timed and latency is not None else (None, None)
    return Point(
        name=name,
        kind=kind,
        rows=len(quality),
        accuracy=(100 * float(quality.mean()), 100 * low, 100 * high),
        dollars=resampled(1000 * dollars) if known and dollars is not None else None,
        least=1000 * float(least.mean()) if known and least is not None else None,
        escalated=None if escalated is None else 100 * float(escalated.mean()),
        p50=None if p50 is None else float(p50),
        p95=None if p95 is None else float(p95),
    )


def played_point(name: str, kind: Kind, calls: Outcomes) -> Point:
    """A policy from its calls."""
    return point(
        name,
        kind,
        calls.quality,
        calls.cost_high,
        least=calls.cost_low,
        escalated=(calls.escalations > 0).astype(np.float64),
        latency=calls.latency,
    )


def sequence(*tiers: int, checked: bool = False) -> Settings:
    """A cascade over these columns; the last is accepted as it is, unless it is checked too."""
    last = 1.0 if checked else UNCHECKED
    return Settings(tiers=tiers, thresholds=(*(1.0 for _ in tiers[1:]), last))


def singles(table: Table) -> list[Point]:
    """Every column by itself."""
    return [
        played_point(name, "single", evaluate(table, sequence(column)))
        for column, name in enumerate(table.tiers)
    ]


def play(
    table: Table, settings: Settings, calls: Sequence[Replayed] | None = None, *, timed: bool = True
) -> Outcomes:
    """What the calls come to, by the state machine and in arrays alike.

    Args:
        table: what was recorded.
        settings: the policy.
        calls: the calls where the state machine is given more than a table has (an ensemble, which
            is one column of the table); by default they are replayed from the table.
        timed: whether the calls know how long they took.

    Raises:
        SystemExit: the two differ.
    """
    found = evaluate(table, settings)
    calls = replay_all(table, settings) if calls is None else calls
    tiers = [-1 if call.tier is None else settings.tiers[call.tier] for call in calls]
    pairs = {
        "tier": (tiers, found.tier),
        "quality": ([call.quality for call in calls], found.quality),
        "low": ([call.low for call in calls], found.cost_low),
        "high": ([call.high for call in calls], found.cost_high),
        "escalations": ([call.escalations for call in calls], found.escalations),
    }
    if timed:
        pairs["latency"] = ([call.latency for call in calls], found.latency)
    for what, (one, other) in pairs.items():
        if not np.array_equal(np.asarray(one, np.float64), np.asarray(other, np.float64), True):
            raise SystemExit(f"{what}: the state machine's replay and the arrays differ")
    return found


def clairvoyant(quality: Array, cost: Array) -> tuple[Array, Array]:
    """Who knows beforehand which models are right asks the cheapest of them, else the cheapest.

    Args:
        quality, cost: of shape (n, models).

    Returns:
        The quality and the cost of the n answers.
    """
    rows, right = np.arange(len(quality)), np.where(quality > 0, cost, np.inf)
    column = np.where(np.isinf(right).all(axis=1), cost.argmin(axis=1), right.argmin(axis=1))
    return quality[rows, column], cost[rows, column]


def oracle(table: Table) -> Point:
    """What no choice among the models whose costs are known can beat, unless it asks several."""
    known = ~np.isnan(table.cost_high).any(axis=0)
    return point(
        "oracle", "oracle", *clairvoyant(table.quality[:, known], table.cost_high[:, known])
    )
