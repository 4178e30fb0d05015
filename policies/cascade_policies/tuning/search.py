"""From a recording's arrays to the cheapest policy whose quality is certified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from cascade.errors import ConfigError
from cascade_policies.replaying.table import Table
from cascade_policies.tuning.candidates import Candidate, find_candidates
from cascade_policies.tuning.certify import Limits, Test, certify, needed, p_value, summary
from cascade_policies.tuning.goal import Goal
from cascade_policies.tuning.ladder import Ladder, Player
from cascade_policies.tuning.split import CHOOSING, Split, split


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search came to.

    Attributes:
        chosen: the policy to use: the best that passed, or the last tier alone.
        certified: whether it is certified. The last tier alone is without a test, where all that is
            asked is to be as good as the last tier alone.
        tests: in the order in which they were made.
        top: the last tier alone, on the certifying rows.
        candidates: all that were worth testing, in order.
        choosing, certifying: how many rows.
        needed: certifying rows without a bad one that the goal needs at least.
        risk: what the tests were made at.
        most_cost: where costs were cut off to test their mean, in US dollars; 0 if they were not.
    """

    chosen: Test
    certified: bool
    tests: tuple[Test, ...]
    top: Test
    candidates: tuple[Candidate, ...]
    choosing: int
    certifying: int
    needed: int
    risk: float
    most_cost: float

    @property
    def improves(self) -> bool:
        """Whether a test has shown something of the chosen policy: it is not the fallback."""
        return any(0.0 < test.p <= self.risk for test in self.tests if test is self.chosen)

    @property
    def too_few(self) -> bool:
        """Whether no result on so few rows could have been enough."""
        return self.certifying < self.needed

    @property
    def rows_needed(self) -> int:
        """Rows of a recording that has as many to certify on as are needed."""
        return ceil(self.needed / (1.0 - CHOOSING))


def tune(
    table: Table,
    goal: Goal,
    *,
    ladder: Ladder | None = None,
    texts: Sequence[str] | None = None,
    rows: Split | None = None,
    risk: float | None = None,
) -> Found:
    """Find the cheapest, or fastest, policy that meets the goal, with its confidence.

    Args:
        table: n recorded rows, taken as drawn independently from what will be asked.
        goal: what must hold, and what is to be small.
        ladder: what may be changed; by default everything, and the last tier has no check.
        texts: the n prompts, for keeping near-duplicates together; by default the rows' ids.
        rows: the split, where it is known already.
        risk: what may be spent on this certificate; by default all of 1 - confidence.

    Raises:
        ConfigError: the table lacks what the goal needs.
    """
    ladder = Ladder.of(table) if ladder is None else ladder
    ladder.check(table, goal)
    if rows is None:
        rows = split(table.ids if texts is None else texts)
    elif len(rows.choosing) + len(rows.certifying) != len(table):
        raise ConfigError(f"rows: the split is not of a table of {len(table)} rows")
    risk = goal.risk if risk is None else risk
    choosing, certifying = (
        Player(table.take(part), goal) for part in (rows.choosing, rows.certifying)
    )
    least = needed(goal, risk)
    most_cost = 0.0 if goal.max_cost is None else _most_cost(ladder, choosing, goal.max_cost)
    limits = Limits(risk, most_cost)
    candidates: list[Candidate] = []
    tests: list[Test] = []
    if len(certifying.table) and len(choosing.table):
        candidates = find_candidates(ladder, choosing, goal)
    if len(certifying.table) >= least:
        tests = certify(candidates, choosing, certifying, ladder.top, goal, limits)
    passed = [test for test in tests if test.p <= risk]
    top = _top(ladder, choosing, certifying, goal, limits)
    chosen = min(passed, key=lambda test: _spent(test, goal), default=top)
    return Found(
        chosen=chosen,
        certified=bool(passed) or top.p == 0.0,
        tests=tuple(tests),
        top=top,
        candidates=tuple(candidates),
        choosing=len(choosing.table),
        certifying=len(certifying.table),
        needed=least,
        risk=risk,
        most_cost=most_cost,
    )


def _spent(test: Test, goal: Goal) -> float:
    return test.latency if goal.minimise == "latency" else test.cost


def _top(ladder: Ladder, choosing: Player, certifying: Player, goal: Goal, limits: Limits) -> Test:
    if not len(certifying.table):
        return summary(ladder.top, choosing.play(ladder.top), 1.0)
    values, earlier = certifying.play(ladder.top), choosing.play(ladder.top)
    p = p_value(values, values, earlier, earlier, goal, limits, same=True)
    return summary(ladder.top, values, p)


def _most_cost(ladder: Ladder, choosing: Player, limit: float) -> float:
    """Twice what all tiers together cost on the dearest of the choosing rows."""
    costs = choosing.table.cost_high[:, list(ladder.policy.tiers)]
    dearest = float(np.max(costs.sum(axis=1), initial=0.0))
    return max(2.0 * dearest, 2.0 * limit)
