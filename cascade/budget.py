"""Money: reserved before an attempt starts, settled when what it cost is known."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Protocol

from cascade.cost import Cost

if TYPE_CHECKING:
    from cascade.policy import Policy


class Budget(Protocol):
    """What an engine asks before it spends. Amounts are US dollars.

    Each attempt that costs something is reserved at the most it may cost before it starts, so
    attempts at once, in any number of processes, cannot spend more than there is; and settled
    afterwards, always, at what it did cost: `Cost.high` counts as spent.
    """

    def adapt(self, policy: Policy, /) -> Policy:
        """The policy, or a thriftier variant of it while money is short; the same object when
        nothing changes. Called for every call: must take microseconds."""
        ...

    def per_call(self, policy: str, /) -> float | None:
        """What one call of the policy may cost; None for no limit."""
        ...

    async def reserve(self, policy: str, amount: float, /) -> Hashable:
        """Set the amount aside; the reservation is handed to `settle`, whatever happens.

        Raises:
            BudgetExceededError: there is not that much left; it names the budget and when it
                will be filled again.
        """
        ...

    def settle(self, reservation: Hashable, cost: Cost, /) -> None:
        """Book what the attempt cost instead of what was reserved. Must not block."""
        ...
