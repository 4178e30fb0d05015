"""Keeps one model's calls within what its provider allows, in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio
from msgspec import Struct

from cascade.errors import RateLimitError
from cascade.model import Limits

MINUTE = 60.0


class Place(Struct, eq=False):
    """One call's place: handed back with `Quota.leave`.

    Attributes:
        since: when it began, on the engine's clock; infinite while it waits.
        tokens: how many it is expected to take, and in the end how many it took.
    """

    tokens: int
    since: float = float("inf")


class Quota:
    """The calls to one model that began in the last minute, those in flight, and those in wait.

    A provider's minute may begin at any moment, so the limits hold in every minute, not in those
    of a clock. For one event loop.

    Args:
        name: the model's, for messages.
        limits: what its provider allows.
    """

    def __init__(self, name: str, limits: Limits) -> None:
        self.limits = limits
        self._name = name
        self._recent: deque[Place] = deque()  # begun in the last minute, oldest first
        self._in_flight = 0
        self._waiting: deque[Place] = deque()
        self._changed = anyio.Event()
        self._written = 0.0  # tokens of an answer, lately

    async def enter(self, prompt: int, clock: Callable[[], float], patience: float | None) -> Place:
        """Wait for a place.

        Args:
            prompt: tokens of the prompt, estimated.
            clock: the engine's.
            patience: seconds that a wait for the minute's limits may take.

        Raises:
            RateLimitError: it would take longer; nothing was sent.
        """
        place = Place(prompt + round(self._written))
        self._waiting.append(place)
        try:
            while True:
                if self._waiting[0] is place:
                    wait = self._wait(place, clock())
                    if wait <= 0.0:
                        break
                    if patience is not None and patience < wait < float("inf"):
                        raise self._refusal(wait)
                else:
                    wait = float("inf")
                changed = self._changed
                with anyio.move_on_after(None if wait == float("inf") else wait):
                    await changed.wait()
            place.since = clock()
            self._recent.append(place)
            self._in_flight += 1
        finally:
            self._waiting.remove(place)
            self._tell()
        return place

    def leave(self, place: Place, tokens: int | None, written: int | None) -> None:
        """The call is over.

        Args:
            place: what `enter` gave.
            tokens: read and written, as the provider counted them; None keeps the estimate.
            written: those of the answer, from which the next ones are estimated.
        """
        self._in_flight -= 1
        if tokens is not None:
            place.tokens = tokens
        if written is not None:
            self._written += (written - self._written) / 10
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _wait(self, place: Place, now: float) -> float:
        """Seconds until there is room; 0 for now, infinite for when a call ends."""
        limits, recent = self.limits, self._recent
        while recent and recent[0].since <= now - MINUTE:
            recent.popleft()
        if limits.concurrency is not None and self._in_flight >= limits.concurrency:
            return float("inf")
        wait = 0.0
        if limits.requests_per_minute is not None:
            over = len(recent) + 1 - limits.requests_per_minute
            if over > 0:
                wait = recent[over - 1].since + MINUTE - now
        if limits.tokens_per_minute is not None:
            over = sum(each.tokens for each in recent) + place.tokens - limits.tokens_per_minute
            for each in recent:  # one that is larger than the limit itself goes alone
                if over <= 0:
                    break
                over -= each.tokens
                wait = max(wait, each.since + MINUTE - now)
        return wait

    def _refusal(self, wait: float) -> RateLimitError:
        return RateLimitError(
            f"{self._name} is at its own limit (cascade's, not the provider's) for another "
            f"{wait:.1f} s, longer than the tier's timeout",
            retryable=False,
            retry_after=wait,
            sent=False,
        )
