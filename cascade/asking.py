"""One call to one model: made, timed, checked for being an answer at all, and charged for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
from msgspec import Struct

from cascade.cancellation import being_cancelled
from cascade.cost import Cost
from cascade.errors import (
    CascadeError,
    CascadeExhausted,
    ContentPolicyError,
    DeadlineExceededError,
    EmptyAnswerError,
    ProviderError,
    TruncatedAnswerError,
)
from cascade.events import CancelReason
from cascade.provider import Call
from cascade.targets import Target
from cascade.types import Answer, Request
from cascade.verdict import Verdict, shorten

FIRST_LOOK = 64
GROWTH = 1.25
"""A prefix check looks at this many characters first (a shorter answer is not worth the look), and
again at every growth by a quarter: the texts it sees add up to at most five times the whole."""


# As a failure of this call's model, they would look like this call's own end.
_OF_OTHER_CALLS = (CascadeExhausted, DeadlineExceededError)


class HopelessAnswer(Exception):  # noqa: N818  (no error: a verdict that came early)
    """Raised through a provider's stream to close it: the answer cannot be accepted any more."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


class LiveAttempt(Struct, eq=False):
    """What is known of a call beside what the state machine knows."""

    target: Target
    request: Request
    clock: Callable[[], float]
    begun: float | None = None
    first_at: float | None = None
    streamed_at: float | None = None  # when the last piece came; kept where a stall counts
    chunks: list[str] = []
    size: int = 0
    prefix: Callable[[str], Verdict | None] | None = None
    next_look: float = FIRST_LOOK
    looked: int = 0  # chunks in which the prefix check has found nothing wrong
    relay: Callable[[str], None] | None = None  # told each piece in place of `on_delta`
    committed: bool = False  # the caller has the pieces, for good
    answer: Answer | None = None
    whole: bool = True
    declined: bool = False
    verdict: Verdict | None = None
    error: CascadeError | None = None
    crash: BaseException | None = None
    cancelled: CancelReason | None = None
    spent: list[Cost] = []
    task: anyio.TaskHandle[None] | None = None  # what runs for it, where it may be cancelled

    @property
    def first_token(self) -> float | None:
        """Seconds to the first piece of the answer; None when none came."""
        if self.begun is None or self.first_at is None:
            return None
        return self.first_at - self.begun

    def begin(self) -> Awaitable[Answer | None]:
        """Call the model: what its provider gives to be awaited, for `take`."""
        self.begun = self.clock()
        target = self.target
        on_delta = self.on_delta if self.relay is None else self.relay
        return target.provider.complete(Call(target.model, self.request, on_delta))

    def take(self, answer: Any, *, allow_truncated: bool = False) -> Answer | None:
        """Take what the provider returned as the answer; None when the model declines.

        Raises:
            ProviderError: it is no whole answer; where there is one all the same, ``answer``
                has it.
            TypeError: it is no answer at all.
        """
        if answer is None:
            self.declined = True
            return None
        if not isinstance(answer, Answer) or not isinstance(answer.text, str):
            raise TypeError(f"a provider returns an Answer with a text; got {answer!r:.100}")
        assert self.begun is not None
        self.answer = timed = answer.timed(self.clock() - self.begun, self.first_token)
        _require_whole(timed, allow_truncated)
        if self.committed and not timed.text.startswith("".join(self.chunks)):
            raise ProviderError(f"{self.target.name} streamed another text than it returned")
        return timed

    def on_delta(self, text: str) -> None:
        """Take note of a piece of the answer, unless the attempt has been told of as cancelled."""
        if not text or self.cancelled is not None:
            return
        if self.first_at is None:
            self.first_at = self.clock()
        if self.streamed_at is not None:
            self.streamed_at = self.clock()
        self.chunks.append(text)
        if self.prefix is not None:
            self.size += len(text)
            if self.size >= self.next_look:
                self.next_look = self.size * GROWTH
                self._look(self.prefix)

    def _look(self, prefix: Callable[[str], Verdict | None]) -> None:
        try:
            verdict = prefix("".join(self.chunks))
        except Exception as error:  # noqa: BLE001  (a verifier is anyone's code)
            self.crash = error
            self.prefix = None  # the whole answer will be judged all the same
            return
        if verdict is not None and verdict.outcome == "rejected":
            raise HopelessAnswer(verdict)
        self.looked = len(self.chunks)

    def cut_off(self, verdict: Verdict) -> None:
        """Keep what had come when the answer was found to be hopeless, and why it was."""
        assert self.begun is not None
        timed = Answer("".join(self.chunks)).timed(self.clock() - self.begun, self.first_token)
        self.answer = timed
        self.verdict = verdict
        self.whole = False


async def failure(error: BaseException, name: str) -> CascadeError:
    """What a provider raised, as an error of ours; a cancellation goes on as it is.

    A provider is anyone's code: it may raise `asyncio.CancelledError` for a task of its own that
    someone cancelled, which is a failure, or turn our cancellation into an error, which is not.
    """
    try:
        if isinstance(error, asyncio.CancelledError) and being_cancelled():
            raise error
        await anyio.lowlevel.checkpoint_if_cancelled()
        if being_cancelled():  # natively, which the line above does not see
            raise asyncio.CancelledError from error
        if isinstance(error, CascadeError) and type(error) not in _OF_OTHER_CALLS:
            return error
        wrapped = ProviderError(shorten(f"{name} raised {type(error).__name__}: {error}"))
        wrapped.__cause__ = error
        return wrapped
    finally:
        del error  # raised again, it holds this frame: a cycle, with all that the call held


def _require_whole(answer: Answer, allow_truncated: bool) -> None:
    """Refuse an answer that cannot be judged at all.

    Raises:
        ProviderError: saying why.
    """
    if answer.finish_reason == "content_filter":
        raise ContentPolicyError("the provider filtered the answer")
    if answer.finish_reason == "length" and not allow_truncated:
        raise TruncatedAnswerError(
            "the answer was cut off at max_tokens; raise it, or set allow_truncated"
        )
    if not answer.text.strip() and not answer.tool_calls:
        raise EmptyAnswerError("the model answered neither text nor a tool call")
