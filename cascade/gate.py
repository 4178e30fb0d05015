"""The way to a model: open or closed, how many at a time, and how long it takes.

One `Gate` for each model of an engine, with a breaker and the latencies of its own; the limit is
its provider's. What they decide is in `cascade.breaker`, `cascade.limiter` and `cascade.latency`;
here is the waiting.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable
from random import Random

import anyio
from msgspec import Struct

from cascade.breaker import CircuitBreaker
from cascade.errors import APITimeoutError, CircuitOpenError
from cascade.health import overloaded, unwell
from cascade.latency import ModelLatency
from cascade.limiter import Limiter, Outcome, Ticket
from cascade.quota import Quota
from cascade.types import Answer

_MOST_UNREAD = 128


class Turnstile:
    """The attempts at one provider that are in flight, and those in wait.

    Attributes:
        gates: those of the provider's models, by name.
    """

    __slots__ = ("_quotas", "gates", "limiter", "waiting")

    def __init__(self) -> None:
        self.gates: dict[str, Gate] = {}
        self._quotas: dict[str, Quota] = {}
        self.limiter = Limiter()
        self.waiting: dict[Ticket, anyio.Event] = {}

    def gate(self, name: str, random: Random) -> Gate:
        """The gate of the provider's model of that name."""
        if name not in self.gates:
            self.gates[name] = Gate(name, self, random)
        return self.gates[name]

    def quota(self, name: str) -> Quota:
        """The quota of the provider's model of that name: one for all that call it."""
        if name not in self._quotas:
            self._quotas[name] = Quota(name)
        return self._quotas[name]

    def release(self, turn: Ticket, outcome: Outcome, model: str, ttft: float | None) -> None:
        """End a turn, waited for or had, and let those go on for whom there is room now."""
        self.waiting.pop(turn, None)
        for granted in self.limiter.release(turn, outcome, model=model, ttft=ttft):
            self.waiting.pop(granted).set()


class Pass(Struct, eq=False):
    """One attempt's leave to call its model; to be handed back with `Gate.leave`, come what may.

    Attributes:
        ticket: the breaker's.
        turn: the limiter's.
        since: when the attempt was let through; None while it waits its turn.
    """

    ticket: int
    turn: Ticket
    since: float | None


class Gate:
    """What an engine knows of one model.

    Attributes:
        name: the model's.
        breaker: whether it may be called.
        turnstile: how many attempts may be in flight at its provider.
    """

    __slots__ = ("_latency", "_unread", "breaker", "name", "turnstile")

    def __init__(self, name: str, turnstile: Turnstile, random: Random) -> None:
        self.name = name
        self.turnstile = turnstile
        self.breaker = CircuitBreaker(random)
        self._latency = ModelLatency()
        self._unread: deque[tuple[float, float | None, int | None, bool, float]] = deque(
            maxlen=_MOST_UNREAD
        )

    def enter(self, call: Hashable, now: float) -> Pass:
        """Leave for an attempt of that call; where its ``turn`` is not granted, `wait` for it.

        Raises:
            CircuitOpenError: the model's provider is unwell.
        """
        ticket = self._admit(now)
        turn = self.turnstile.limiter.acquire(call)
        return Pass(ticket, turn, now if turn.granted else None)

    async def wait(self, entered: Pass, clock: Callable[[], float]) -> None:
        """Wait until the provider's limit has room.

        Raises:
            CircuitOpenError: the model's provider has become unwell meanwhile.
        """
        self.turnstile.waiting[entered.turn] = event = anyio.Event()
        await event.wait()
        now = clock()
        if self.breaker.stale(entered.ticket):
            entered.ticket = self._admit(now)
        entered.since = now

    def _admit(self, now: float) -> int:
        ticket = self.breaker.admit(now)
        if ticket is None:
            wait = self.breaker.wait(now)
            raise CircuitOpenError(
                f"{self.name} failed too often of late and is not called for another {wait:.1f} s",
                retry_after=wait,
            )
        return ticket

    def leave(
        self,
        entered: Pass,
        now: float,
        answer: Answer | None = None,
        error: BaseException | None = None,
        first_token: float | None = None,
        whole: bool = True,
        declined: bool = False,
    ) -> None:
        """The attempt is over.

        Args:
            entered: what `enter` gave.
            now: when.
            answer: what the model answered, be it no good; None with no error: it was cancelled,
                or it declined.
            error: why the attempt failed.
            first_token: seconds to the first token, where one came.
            whole: False when the answer was cut off before its end.
            declined: whether it said that it has no answer.
        """
        outcome: Outcome = "other"
        if answer is not None or declined:
            self.breaker.succeeded(entered.ticket, now)
            outcome = "answered"
        elif error is None:
            self.breaker.cancelled(entered.ticket, now)
        else:
            if overloaded(error):
                outcome = "overloaded"
            if unwell(error, throttled=self.turnstile.limiter.limit.throttled):
                self.breaker.failed(entered.ticket, now)
            else:
                self.breaker.succeeded(entered.ticket, now)
        self.turnstile.release(entered.turn, outcome, self.name, first_token)
        timed = not declined and (error is None or isinstance(error, APITimeoutError))
        if entered.since is not None and timed:
            # Sorted into histograms when someone asks; if nobody does, only the latest are kept.
            cut = answer is None or not whole
            usage = None if answer is None else answer.usage
            tokens = None if usage is None else usage.output_tokens
            self._unread.append((now - entered.since, first_token, tokens, cut, time.time()))

    @property
    def latency(self) -> ModelLatency:
        """How long the model takes, as far as is known."""
        while self._unread:
            seconds, ttft, tokens, cut, at = self._unread.popleft()
            self._latency.record(seconds, at, first_token=ttft, tokens=tokens, cut=cut)
        return self._latency
