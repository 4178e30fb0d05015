"""Fixed-sequence testing: walk the candidates in an order made beforehand, stop at the first that
fails, and everything before it holds, all at once, with the confidence that each test has.

The order was made on other rows, so it is fixed; the first false candidate that is reached passes
with a probability of at most the risk, and no later one is looked at unless it did (Maurer, Hothorn
and Lehmacher, 1995; Angelopoulos et al., "Learn then Test", 2021). A candidate passes when each of
its limits does, so its p-value is the greatest of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cascade_policies.replaying.settings import Settings
from cascade_policies.replaying.table import Array
from cascade_policies.tuning.betting import mean_test
from cascade_policies.tuning.binomial import at_least, at_most, rows_needed
from cascade_policies.tuning.candidates import Candidate
from cascade_policies.tuning.goal import Goal
from cascade_policies.tuning.ladder import Player, Values


@dataclass(frozen=True, slots=True)
class Test:
    """One candidate on the certifying rows.

    Attributes:
        settings: the candidate.
        p: the greatest p-value of its limits, each only as exact as the decision needs.
        quality, cost, latency: means on these rows.
        escalated: the share of the calls that more than one tier was started for by a rejection.
    """

    settings: Settings
    p: float
    quality: float
    cost: float
    latency: float
    escalated: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What the limits are tested with, made without the certifying rows.

    Attributes:
        risk: of a wrong certificate.
        most_cost: US dollars at which the cost of a call is cut off, for the test of its mean.
    """

    risk: float
    most_cost: float = 0.0


def certify(
    candidates: Sequence[Candidate],
    chosen_on: Player,
    certified_on: Player,
    top: Settings,
    goal: Goal,
    limits: Limits,
) -> list[Test]:
    """The tests in order; all but the last have passed, and the last may have.

    Args:
        candidates: in the order of testing.
        chosen_on: the rows they were made on, for the size of the first bets.
        certified_on: other rows.
        top: what quality is compared with.
    """
    before, against = chosen_on.play(top), certified_on.play(top)
    tests: list[Test] = []
    for one in candidates:
        values = certified_on.play(one.settings)
        earlier = chosen_on.play(one.settings)
        same = one.settings == top
        p = p_value(values, against, earlier, before, goal, limits, same=same)
        tests.append(summary(one.settings, values, p))
        if p > limits.risk:
            break
    return tests


def summary(settings: Settings, values: Values, p: float) -> Test:
    """What the rows say of one policy."""
    means = (values.quality, values.cost, values.latency, values.escalated)
    return Test(settings, p, *(float(np.mean(each)) for each in means))


def p_value(
    values: Values,
    top: Values,
    earlier: Values,
    earlier_top: Values,
    goal: Goal,
    limits: Limits,
    *,
    same: bool,
) -> float:
    """The greatest p-value of all limits.

    Args:
        values, top: of the candidate and of the last tier alone, on the certifying rows.
        earlier, earlier_top: the same on other rows.
        same: whether the candidate is the last tier alone: then it cannot fall behind it.
    """
    found = [0.0]
    if goal.min_accuracy is not None:
        found.append(_accuracy(values.quality, earlier.quality, goal.min_accuracy, limits.risk))
    if goal.max_drop is not None and not same:
        found.append(
            mean_test(
                values.quality - top.quality, -goal.max_drop, low=-1.0, risk=limits.risk,
                before=earlier.quality - earlier_top.quality,
            )
        )  # fmt: skip
    if goal.max_cost is not None:
        most = limits.most_cost
        found.append(
            mean_test(
                -np.minimum(values.cost, most), -goal.max_cost, low=-most, risk=limits.risk,
                before=-np.minimum(earlier.cost, most),
            )
        )  # fmt: skip
    if (limit := goal.max_latency) is not None:
        slow = int(np.sum(~(values.latency <= limit.seconds)))  # one not known is slow
        found.append(at_most(slow, len(values.latency), 1.0 - limit.share))
    return max(found)


def _accuracy(quality: Array, earlier: Array, least: float, risk: float) -> float:
    if ((quality == 0.0) | (quality == 1.0)).all():
        return at_least(int(quality.sum()), len(quality), least)
    return mean_test(quality, least, low=0.0, risk=risk, before=earlier)


def needed(goal: Goal, risk: float) -> int:
    """Certifying rows without a single bad one that would pass: with fewer, nothing can."""
    margins = []
    if goal.min_accuracy is not None:
        margins.append(1.0 - goal.min_accuracy)
    if goal.max_drop is not None:
        margins.append(goal.max_drop)
    if goal.max_latency is not None:
        margins.append(1.0 - goal.max_latency.share)
    return max((rows_needed(margin, risk) for margin in margins), default=1)
