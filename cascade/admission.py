"""What must be had before a model is called, other than its gate: readiness, money, a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascade.billing import prompt_tokens
from cascade.errors import ContextWindowExceededError
from cascade.quota import Place
from cascade.record import attempt_cost

if TYPE_CHECKING:
    from cascade.asking import LiveAttempt
    from cascade.purse import Purse, Reserved


class Admission:
    """An attempt's way in and out.

    Args:
        attempt: the attempt.
        purse: what pays for it; None without a budget.
        patience: seconds for which it may wait for its model's limits.
    """

    __slots__ = ("_attempt", "_patience", "_place", "_purse", "_reserved")

    def __init__(self, attempt: LiveAttempt, purse: Purse | None, patience: float | None) -> None:
        self._attempt = attempt
        self._purse = purse
        self._patience = patience
        self._reserved: Reserved | None = None
        self._place: Place | None = None

    async def enter(self) -> None:
        """Wait for all that the attempt needs; `leave` must follow, whatever comes of this.

        Raises:
            ContextWindowExceededError: the prompt is surely longer than the model takes.
            BudgetExceededError: there is no money for it.
            RateLimitError: its model's limits leave no place in time.
        """
        attempt, target = self._attempt, self._attempt.target
        fewest, most = prompt_tokens(attempt.request)
        if target.context_window is not None and fewest > target.context_window:
            raise ContextWindowExceededError(
                f"the prompt has at least {fewest:,} tokens, and {target.name} takes "
                f"{target.context_window:,}",
                sent=False,
            )
        if target.ready is not None:
            await target.ready(target.model)
        if self._purse is not None:
            self._reserved = await self._purse.reserve(target, attempt.request)
        if target.quota is not None:
            expected = (fewest + most) // 2
            self._place = await target.quota.enter(expected, attempt.clock, self._patience)

    def leave(self) -> None:
        """Give everything back, and say what it came to; once the attempt is over."""
        attempt, quota = self._attempt, self._attempt.target.quota
        if self._reserved is not None and self._purse is not None:
            self._purse.settle(self._reserved, attempt_cost(attempt))
        if self._place is not None and quota is not None:
            usage = None if attempt.answer is None else attempt.answer.usage
            read = None if usage is None else usage.input_tokens
            written = None if usage is None else usage.output_tokens
            known = None if read is None or written is None else read + written
            quota.leave(self._place, known, written)
