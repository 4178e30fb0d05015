"""What a recording may cost."""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import ContextVar
from typing import Final

from msgspec import Struct

from cascade.budget import Budget
from cascade.cost import Cost
from cascade.errors import BudgetExceededError
from cascade.policy import Policy

refusals: Final[ContextVar[list[BudgetExceededError] | None]] = ContextVar(
    "cascade_recording_refusals", default=None
)
"""Where a job collects what it was refused: a check that got no money would look like one that
could not tell."""

_ROUNDING: Final = 1e-12


class _Held(Struct, frozen=True, eq=False):
    amount: float
    inner: Hashable = None


class Allowance(Budget):
    """A limit for all calls together, in front of the project's own budget, which stays in force.

    It never makes a policy thriftier: what is recorded is what was asked for.

    Args:
        limit: US dollars; None for no limit of its own.
        inner: the project's budget, or None.

    Attributes:
        spent: the most that was spent.
    """

    def __init__(self, limit: float | None, inner: Budget | None = None) -> None:
        self.spent = 0.0
        self._limit = limit
        self._left = float("inf") if limit is None else limit
        self._inner = inner

    def adapt(self, policy: Policy, /) -> Policy:
        """The policy as it is."""
        return policy

    def per_call(self, policy: str, /) -> float | None:
        """What the project says."""
        return None if self._inner is None else self._inner.per_call(policy)

    async def reserve(self, policy: str, amount: float, /) -> Hashable:
        """Set the amount aside.

        Raises:
            BudgetExceededError: there is not that much left.
        """
        try:
            return await self._held(policy, amount)
        except BudgetExceededError as error:
            told = refusals.get()
            if told is not None:
                told.append(error)
            raise

    async def _held(self, policy: str, amount: float) -> _Held:
        if amount > self._left + _ROUNDING:
            raise BudgetExceededError(
                f"the next call may cost ${amount:.6f}, and ${max(self._left, 0.0):.6f} is left "
                f"of the ${self._limit:g} that the recording may cost"
            )
        self._left -= amount
        try:
            inner = None if self._inner is None else await self._inner.reserve(policy, amount)
        except BaseException:
            self._left += amount
            raise
        return _Held(amount, inner)

    def settle(self, reservation: Hashable, cost: Cost, /) -> None:
        """Book what the call did cost."""
        assert isinstance(reservation, _Held)
        spent = reservation.amount if cost.high is None else cost.high
        self.spent += spent
        self._left += reservation.amount - spent
        if self._inner is not None:
            self._inner.settle(reservation.inner, cost)
