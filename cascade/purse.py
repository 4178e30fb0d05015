"""What one call may still spend: its caller's limit, and what the engine's budget allows."""

from __future__ import annotations

from collections.abc import Hashable

from msgspec import Struct

from cascade.billing import at_most
from cascade.budget import Budget
from cascade.cost import Cost
from cascade.errors import BudgetExceededError
from cascade.targets import Target
from cascade.types import Request

_ROUNDING = 1e-12  # dollars: sums of prices are not exact


class Reserved(Struct, frozen=True, eq=False):
    """What is set aside for one call to a model.

    Attributes:
        amount: US dollars.
        held: the budget's own reservation; None without a budget.
    """

    amount: float
    held: Hashable = None


class Purse:
    """The money of one call: reserved before each model is called, settled afterwards.

    Args:
        policy: name of the policy, for the budget.
        budget: the engine's, if it has one.
        limit: US dollars that the call may cost; None for no limit of its own.
        outer: the purse of the call whose verifier or router makes this one, which pays too.
    """

    __slots__ = ("_budget", "_left", "_limit", "_outer", "_policy")

    def __init__(
        self,
        policy: str,
        budget: Budget | None,
        limit: float | None,
        outer: Purse | None = None,
    ) -> None:
        self._outer = outer
        self._policy = policy
        self._budget = budget
        self._limit = limit
        self._left = float("inf") if limit is None else limit

    async def reserve(self, target: Target, request: Request) -> Reserved | None:
        """Set aside what the call may cost at the most; None where it is free.

        Raises:
            BudgetExceededError: there is not that much left, or no price is known.
        """
        if target.free:
            return None
        if target.price is None:
            raise BudgetExceededError(
                f"{target.name} has no known price, so no budget can be kept: set 'price'"
            )
        amount = at_most(target.price, request)
        self._require(target.name, amount)
        self._take(amount)
        if self._budget is None:
            return Reserved(amount)
        try:
            return Reserved(amount, await self._budget.reserve(self._policy, amount))
        except BaseException:
            self._take(-amount)
            raise

    def _require(self, name: str, amount: float) -> None:
        if amount > self._left + _ROUNDING:
            raise BudgetExceededError(
                f"{name} may cost ${amount:.6f}, and ${max(self._left, 0.0):.6f} is left "
                f"of the ${self._limit:.6f} that this call may cost; a lower max_tokens costs less"
            )
        if self._outer is not None:
            self._outer._require(name, amount)

    def _take(self, amount: float) -> None:
        self._left -= amount
        if self._outer is not None:
            self._outer._take(amount)

    def settle(self, reserved: Reserved, cost: Cost) -> None:
        """Book what the call did cost."""
        self._take((reserved.amount if cost.high is None else cost.high) - reserved.amount)
        if self._budget is not None:
            self._budget.settle(reserved.held, cost)
