"""Where policies lie between quality and what they cost, measured on the certifying rows."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Final, Literal, NamedTuple

import numpy as np

from cascade_policies.replaying.settings import UNCHECKED, Settings
from cascade_policies.replaying.table import Array, Table
from cascade_policies.tuning.binomial import interval
from cascade_policies.tuning.goal import Goal
from cascade_policies.tuning.ladder import Ladder, Player, Values
from cascade_policies.tuning.search import Found

Kind = Literal["policy", "chosen", "now", "model", "oracle"]
CONFIDENCE: Final = 0.95


class Estimate(NamedTuple):
    """A mean, and the interval that it lies in with 95% confidence, taken alone."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Point:
    """One policy, model or bound; costs in US dollars a call, latencies in seconds."""

    name: str
    kind: Kind
    quality: Estimate
    cost: Estimate
    latency: Estimate
    tested: bool = False


def points(
    ladder: Ladder, certifying: Table, found: Found, now: Settings | None = None
) -> list[Point]:
    """Every candidate, each tier alone, the policy as it is, the chosen one, and the bound that
    whoever knew which answers are right could reach."""
    # Latencies are shown wherever they are known.
    goal = Goal(max_drop=0.5, minimise="latency")
    player = Player(certifying, goal)
    tested = {test.settings for test in found.tests}
    made = [
        _point(words(one.settings, certifying), "policy", player.play(one.settings),
               tested=one.settings in tested)
        for one in found.candidates if one.settings != found.chosen.settings
    ]  # fmt: skip
    for position, column in enumerate(ladder.policy.tiers):
        alone = player.play(_unchecked(ladder, position))
        made.append(_point(certifying.tiers[column], "model", alone))
    made.append(_point("oracle", "oracle", _oracle(ladder, player)))
    if now is not None:
        made.append(_point("as it is now", "now", player.play(now)))
    chosen = player.play(found.chosen.settings)
    name = words(found.chosen.settings, certifying)
    return [*made, _point(name, "chosen", chosen, tested=True)]


def words(settings: Settings, table: Table) -> str:
    """``small ≥ 0.7 → large``."""
    parts = []
    delays = settings.start_after or (None,) * len(settings.tiers)
    for column, threshold, delay in zip(settings.tiers, settings.thresholds, delays, strict=True):
        after = "" if delay is None else f"after {delay:g} s: "
        limit = "" if threshold is None or threshold == UNCHECKED else f" ≥ {threshold:g}"
        parts.append(f"{after}{table.tiers[column]}{limit}")
    return " → ".join(parts)


def mean_of(values: Array) -> Estimate:
    """The mean with its normal interval; of right and wrong, the exact one."""
    count = len(values)
    mean = float(np.mean(values)) if count else float("nan")
    if count and ((values == 0.0) | (values == 1.0)).all():
        return Estimate(mean, *interval(int(values.sum()), count, CONFIDENCE))
    half = NormalDist().inv_cdf((1.0 + CONFIDENCE) / 2.0)
    error = half * float(np.std(values)) / sqrt(count) if count else float("nan")
    return Estimate(mean, mean - error, mean + error)


def _point(name: str, kind: Kind, values: Values, *, tested: bool = False) -> Point:
    quality, cost, latency, _ = values
    return Point(name, kind, mean_of(quality), mean_of(cost), mean_of(latency), tested)


def _unchecked(ladder: Ladder, position: int) -> Settings:
    return ladder.settings((position,), (UNCHECKED,))


def _oracle(ladder: Ladder, player: Player) -> Values:
    """The best answer there is, of the cheapest tier that has it, and no other is asked."""
    alone = [player.play(_unchecked(ladder, k)) for k in range(len(ladder.policy.tiers))]
    quality, cost, latency = (
        np.column_stack([getattr(each, name) for each in alone])
        for name in ("quality", "cost", "latency")
    )
    best = quality == quality.max(axis=1, keepdims=True)
    pick = np.argmin(np.where(best, np.nan_to_num(cost, nan=np.inf), np.inf), axis=1)
    rows = np.arange(len(pick))
    none = np.zeros(len(pick), np.bool_)
    return Values(quality[rows, pick], cost[rows, pick], latency[rows, pick], none)
