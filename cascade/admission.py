"""What must be had before a model is called, other than its gate: readiness, a place, money."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascade.billing import output_limit, prompt_tokens
from cascade.errors import ContextWindowExceededError
from cascade.model import MOST_IN_A_TOKEN
from cascade.quota import Place
from cascade.record import attempt_cost
from cascade.types import Message, Request

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
            RateLimitError: its model's limits leave no place in time.
            BudgetExceededError: there is no money for it.
        """
        attempt, target = self._attempt, self._attempt.target
        if target.context_window is not None:
            _require_fit(attempt.request, target.context_window, target.name)
        if target.ready is not None:
            await target.ready(target.model)
        if target.quota.limited:
            prompt, most = _expected(attempt.request), output_limit(attempt.request)
            self._place = await target.quota.enter(prompt, most, attempt.clock, self._patience)
        if self._purse is not None:  # last, as nobody else can spend what waits in a queue
            self._reserved = await self._purse.reserve(target, attempt.request)

    def begin(self) -> None:
        """The model is called now: nothing more is waited for."""
        if self._place is not None:
            self._attempt.target.quota.begin(self._place, self._attempt.clock())

    def leave(self) -> None:
        """Give everything back, and say what it came to; once the attempt is over."""
        attempt = self._attempt
        if self._reserved is not None and self._purse is not None:
            self._purse.settle(self._reserved, attempt_cost(attempt))
        if self._place is not None:
            attempt.target.quota.leave(self._place, *_taken(attempt))


def _taken(attempt: LiveAttempt) -> tuple[int | None, int | None]:
    """Tokens read and written together, and those written; None where that is not known."""
    answer = attempt.answer
    if answer is None or not attempt.whole:
        return None, None
    read = None if answer.usage is None else answer.usage.input_tokens
    written = None if answer.usage is None else answer.usage.output_tokens
    if written is None:
        written = _expected(Request((Message("assistant", answer.text),)))
    return (_expected(attempt.request) if read is None else read) + written, written


def _expected(request: Request) -> int:
    fewest, most = prompt_tokens(request)
    return (fewest + most) // 2


def _require_fit(request: Request, window: int, name: str) -> None:
    """Refuse a prompt that is surely longer than a model takes; see `ModelSpec`.

    Raises:
        ContextWindowExceededError: it is.
    """
    words = " ".join(message.text for message in request.messages).split()
    fewest = max(len(words), sum(map(len, words)) // MOST_IN_A_TOKEN)
    if fewest > window:
        raise ContextWindowExceededError(
            f"the prompt has at least {fewest:,} tokens, and {name} takes {window:,}", sent=False
        )
