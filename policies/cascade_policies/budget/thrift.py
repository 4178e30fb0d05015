"""How thrifty the next call must be: from what is left to one of a policy's variants.

The rule, with its formula, is in docs/budgets.md; `level` and `shares` are that formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

from msgspec import Struct

from cascade.policy import Policy, Priority
from cascade_policies.budget.entries import ALL, Called
from cascade_policies.budget.settings import BudgetSettings, Step
from cascade_policies.budget.variants import make_variant

_WHOLE = 1.0 - 1e-9  # sums of shares are not exact


def level(left: float, steps: Sequence[Step]) -> float:
    """How far along the steps: 0 for none, 1 for the first in full, 1.5 halfway to the second.

    Between the fraction of one step and that of the next it rises evenly, from 0 where everything
    is left.
    """
    above = 1.0
    for index, step in enumerate(steps):
        if left >= step.above:
            return index + (above - min(left, above)) / (above - step.above)
        above = step.above
    return float(len(steps))


def shares(at: float, priority: Priority) -> tuple[int, float]:
    """The step that calls get, and the share of them that get the next one already.

    0 stands for none, 1 for the first step. Of the way from one step to the next, the first half
    is for background calls and the second for the others; critical calls go none of it.
    """
    if priority == "critical":
        return 0, 0.0
    step = int(at)
    way = at - step
    return step, min(1.0, 2 * way) if priority == "background" else max(0.0, 2 * way - 1)


class _Policy(Struct, eq=False):
    """What is known of one policy.

    Attributes:
        task: its name, under which money is spent.
        priority: its own.
        variants: it as it is, and as each step has it; None for what was not needed yet.
        owed: the share of a call that should have been degraded further, and was not yet.
    """

    task: str
    priority: Priority
    variants: list[Policy | None]
    owed: float = 0.0


class _Tally(Struct, eq=False):
    """Calls of a task, counted by its event loops and read by the keeper's thread."""

    calls: int = 0
    degraded: int = 0
    told_calls: int = 0
    told_degraded: int = 0


class Thrift:
    """Picks the variant of each call, by what is left.

    Spread evenly: of each ten calls of a policy with a share of 0.3, three get the next step. One
    counter a policy and process, and no chance in it. Every variant is made once, so that an
    engine can keep what it knows of it.
    """

    def __init__(self, settings: BudgetSettings) -> None:
        self._settings = settings
        self._steps = settings.steps
        self._left: Mapping[str, float] = {}
        self._policies: WeakKeyDictionary[Policy, _Policy] = WeakKeyDictionary()
        self._tallies: dict[str, _Tally] = {}

    def tell(self, left: Mapping[str, float]) -> None:
        """Take note of what is left; from the keeper's thread."""
        self._left = left

    def choose(self, policy: Policy) -> Policy:
        """The policy, or one of its variants."""
        known = self._policies.get(policy)
        if known is None:
            known = self._policies[policy] = _Policy(
                policy.name, policy.priority, [None] * (1 + len(self._steps))
            )
        tally = self._tallies.get(known.task)
        if tally is None:
            tally = self._tallies[known.task] = _Tally()
        tally.calls += 1
        step, share = shares(self._level(known.task), known.priority)
        if share:
            known.owed += share
            if known.owed >= _WHOLE:
                known.owed -= 1.0
                step += 1
        if not step:
            return policy
        variant = known.variants[step]
        if variant is None:
            variant = self._make(policy, known, step)
        if variant is not policy:
            tally.degraded += 1
        return variant

    def called(self) -> list[Called]:
        """The calls begun since this was asked last; from the keeper's thread."""
        found = []
        for task, tally in list(self._tallies.items()):
            calls, degraded = tally.calls, tally.degraded
            if calls > tally.told_calls:
                new = Called(task, calls - tally.told_calls, degraded - tally.told_degraded)
                found.append(new)
                tally.told_calls, tally.told_degraded = calls, degraded
        return found

    def _level(self, task: str) -> float:
        left = self._left
        least = min(left.get(ALL, 1.0), left.get(task, 1.0))
        return 0.0 if least >= 1.0 else level(least, self._steps)

    def _make(self, policy: Policy, known: _Policy, step: int) -> Policy:
        budget = self._settings.tasks.get(known.task)
        wanted = self._steps[step - 1].but(None if budget is None else budget.allow)
        variant = make_variant(policy, wanted)
        known.variants[step] = variant
        return variant
