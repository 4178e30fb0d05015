"""When the next tier starts while the one before it is undecided.

Waiting a moment longer at time d saves the next tier's cost c₂ if the first is accepted in that
moment, which has the chance hazard₁(d)·p₁; and it delays the call by that moment where the first
will not do, which has the chance W(d). With μ dollars for a second, the next tier starts where
hazard₁(d)·p₁·c₂ = μ·W(d). For recorded latencies the least of cost + μ·latency lies at one of
them, so the search is over quantiles of these: for every μ the best of them is on the front of mean
cost and mean latency.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import numpy as np

from cascade.errors import ConfigError
from cascade_policies.replaying.settings import UNCHECKED, Settings
from cascade_policies.replaying.table import Table
from cascade_policies.tuning.goal import Goal

QUANTILES: Final = (0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_FEW: Final = (0.25, 0.5, 0.75, 0.9)


def delays(table: Table, settings: Settings, position: int) -> list[float | None]:
    """When a tier may start after the one before it: at once, at quantiles of the time until that
    one is decided, to three digits, or never."""
    column = settings.tiers[position - 1]
    took = table.latency[:, column]
    if settings.thresholds[position - 1] != UNCHECKED:
        took = took + np.where(table.failed[:, column], 0.0, table.check_latency[:, column])
    shares = QUANTILES if len(settings.tiers) == 2 else _FEW
    found = {float(f"{value:.3g}") for value in np.quantile(took, shares)}
    return [0.0, *sorted(found - {0.0}), None]


def schedules(settings: Settings, table: Table, goal: Goal) -> Iterator[Settings]:
    """The candidate with every start delay of the grid; the answers are the same in all."""
    if len(settings.tiers) < 2:
        return
    grids = [delays(table, settings, k) for k in range(1, len(settings.tiers))]
    for chosen in product(*grids):
        if any(delay is not None for delay in chosen):
            yield replace(settings, start_after=(None, *chosen))


@dataclass(frozen=True, slots=True)
class Mixture:
    """Two schedules, of which each call gets one by chance.

    Attributes:
        slow, fast: the cheaper and the dearer one.
        share: of the calls that get the fast one.
        cost, latency: means of a call.
    """

    slow: Settings
    fast: Settings
    share: float
    cost: float
    latency: float


def mix(
    slow: Settings, fast: Settings, costs: tuple[float, float], latencies: tuple[float, float],
    budget: float,
) -> Mixture:  # fmt: skip
    """The mixture of two schedules whose mean cost is the budget.

    Args:
        costs, latencies: means of the slow and of the fast one.
        budget: US dollars a call.

    Raises:
        ConfigError: the budget is not between the two costs.
    """
    low, high = costs
    if not low <= budget <= high:
        raise ConfigError(f"a budget of ${budget:g} is not between ${low:g} and ${high:g}")
    share = 1.0 if high == low else (budget - low) / (high - low)
    latency = latencies[0] + share * (latencies[1] - latencies[0])
    return Mixture(slow, fast, share, low + share * (high - low), latency)
