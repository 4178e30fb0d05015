"""Keeps one model's calls within what its provider allows, in the order in which they came."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from weakref import ref

import anyio
from msgspec import Struct

from cascade.errors import RateLimitError
from cascade.model import Limits

MINUTE = 60.0
NEVER = float("inf")
_NONE = Limits()


class Place(Struct, eq=False):
    """One call's place: handed back with `Quota.leave`.

    Attributes:
        prompt: tokens of the prompt, estimated.
        most: tokens that may be written.
        tokens: how many it is expected to take, and in the end how many it took.
        since: when its call began, on the engine's clock; infinite until then.
        recent: whether that was less than a minute ago.
        turn: set when it may have become its turn, or when there may be room.
    """

    prompt: int
    most: int
    tokens: int = 0
    since: float = NEVER
    recent: bool = False
    turn: anyio.Event | None = None


class Quota:
    """The calls to one model that began in the last minute, those in flight, and those in wait.

    A provider's minute may begin at any moment, so the limits hold in every minute, not in those
    of a clock. A place whose call has not begun yet counts as if it began now, for as long as that
    lasts. For one event loop.

    Args:
        name: the model's, for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._stated: list[ref[Limits]] = []  # the one that holds comes last
        self._recent: deque[Place] = deque()  # begun in the last minute, oldest first
        self._ahead = 0  # places whose calls have not begun
        self._in_flight = 0  # these and the calls that have begun
        self._tokens = 0  # of the recent ones and of those ahead
        self._waiting: OrderedDict[Place, None] = OrderedDict()
        self._written: float | None = None  # tokens of an answer, lately

    @property
    def limits(self) -> Limits:
        """What its provider allows: as stated last by a policy that is still there."""
        while self._stated:
            limits = self._stated[-1]()
            if limits is not None:
                return limits
            self._stated.pop()
        return _NONE

    @property
    def limited(self) -> bool:
        """Whether there are any limits."""
        return bool(self._stated) and self.limits is not _NONE

    def state(self, limits: Limits) -> None:
        """Have these limits hold from now on, for as long as somebody keeps the object."""
        others = [each for each in self._living() if each() is not limits]
        self._stated = [*others, ref(limits)]
        self._wake()

    def suggest(self, limits: Limits) -> None:
        """Have these limits hold where nobody states others."""
        if all(each() is not limits for each in self._stated):
            self._stated = [ref(limits), *self._living()]

    def _living(self) -> list[ref[Limits]]:
        return [each for each in self._stated if each() is not None]

    async def enter(
        self, prompt: int, most: int, clock: Callable[[], float], patience: float | None
    ) -> Place:
        """Wait for a place.

        Args:
            prompt: tokens of the prompt, estimated.
            most: tokens that may be written: what is expected until an answer has been seen.
            clock: the engine's.
            patience: seconds that the wait may take; None for no limit.

        Raises:
            RateLimitError: it takes longer, or surely would; nothing was sent.
        """
        place = Place(prompt, most)
        until = NEVER if patience is None else clock() + patience
        self._waiting[place] = None
        try:
            while True:
                now = clock()
                wait, surely = self._wait(place, now)
                if wait <= 0.0:
                    break
                if patience is not None and (now >= until or now + surely > until):
                    raise self._refusal(patience, surely)
                place.turn = anyio.Event()
                pause = min(wait, until - now)
                with anyio.move_on_after(None if pause == NEVER else pause):
                    await place.turn.wait()
            place.tokens = self._expected(place)
            self._tokens += place.tokens
            self._ahead += 1
            self._in_flight += 1
        finally:
            del self._waiting[place]
            self._wake()
        return place

    def begin(self, place: Place, now: float) -> None:
        """The place's call begins: from now on it counts, for a minute."""
        place.since, place.recent = now, True
        self._ahead -= 1
        self._recent.append(place)
        self._wake()

    def leave(self, place: Place, tokens: int | None = None, written: int | None = None) -> None:
        """The call is over; without a `begin` it was never made, and counts for nothing.

        Args:
            place: what `enter` gave.
            tokens: read and written, as the provider counted them; None keeps the estimate.
            written: those of the answer, from which the next ones are estimated.
        """
        self._in_flight -= 1
        if place.since == NEVER:
            self._ahead -= 1
            self._tokens -= place.tokens
        elif tokens is not None:
            self._tokens += (tokens - place.tokens) if place.recent else 0
            place.tokens = tokens
        if written is not None:
            lately = written if self._written is None else self._written
            self._written = lately + (written - lately) / 10
        self._wake()

    def _wake(self) -> None:
        """Have the first in wait look again."""
        first = next(iter(self._waiting), None)
        if first is not None and first.turn is not None:
            first.turn.set()

    def _expected(self, place: Place) -> int:
        written = place.most if self._written is None else min(place.most, round(self._written))
        return place.prompt + written

    def _wait(self, place: Place, now: float) -> tuple[float, float]:
        """Seconds until there is room, and seconds until then at the least.

        0 for now; infinite for when another place is had, its call begins or ends.
        """
        limits, recent = self.limits, self._recent
        first = next(iter(self._waiting)) is place
        while recent and recent[0].since <= now - MINUTE:
            past = recent.popleft()
            past.recent = False
            self._tokens -= past.tokens
        wait = surely = 0.0
        if limits.requests_per_minute is not None:
            over = len(recent) + 1 - limits.requests_per_minute
            surely = recent[over - 1].since + MINUTE - now if over > 0 else 0.0
            wait = self._expiry(over + self._ahead, now)
        if limits.tokens_per_minute is not None:
            until = self._room(self._expected(place) - limits.tokens_per_minute, now)
            wait = max(wait, until)
            if first and self._in_flight == 0:  # else it may turn out that others took fewer
                surely = max(surely, until)
        if limits.concurrency is not None and self._in_flight >= limits.concurrency:
            wait = NEVER
        return wait if first else NEVER, surely

    def _expiry(self, count: int, now: float) -> float:
        """Seconds until so many of the last minute's calls are older than that."""
        if count <= 0:
            return 0.0
        return self._recent[count - 1].since + MINUTE - now if count <= len(self._recent) else NEVER

    def _room(self, over: int, now: float) -> float:
        """Seconds until the minute's tokens and ``over`` are 0; one alone may be of any size."""
        over += self._tokens
        for count, each in enumerate(self._recent):
            if over <= 0:
                return self._expiry(count, now)
            over -= each.tokens
        return NEVER if over > 0 and self._ahead else self._expiry(len(self._recent), now)

    def _refusal(self, patience: float, surely: float) -> RateLimitError:
        more = f" for another {surely:.1f} s" if surely > 0.0 else ""
        return RateLimitError(
            f"{self.name} is at its own limit (cascade's, not the provider's){more}: no place "
            f"within the tier's timeout of {patience:g} s",
            retryable=False,
            retry_after=surely or None,
            sent=False,
        )
