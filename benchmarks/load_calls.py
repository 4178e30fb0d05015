"""What is known of each call of a soak, until it is settled and forgotten.

Part of ``python -m benchmarks.soak``, which says what is measured.
"""

from __future__ import annotations

import contextvars
import logging
import time
from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import anyio.lowlevel

from benchmarks.load_faults import Served
from benchmarks.load_ledger import Claim, Totals, claim, claim_of_event, reconcile
from cascade import CallError, Cost, Policy, Result

GRACE: Final = 2.0
"""Seconds after a call's end by which the server has surely seen all of it."""

KEPT: Final = 20
"""Differences that are kept to be shown; the others are only counted."""

Told = tuple[int, str, str, str, int | None]
"""An attempt as both a result and the log tell it: number, kind, model, outcome, output tokens."""

current: contextvars.ContextVar[Call | None] = contextvars.ContextVar("call", default=None)


@dataclass(slots=True)
class Call:
    """One call: what we recorded of it, and what the server did.

    Attributes:
        outcome: of the call; ``cancelled`` for one whose caller went.
        recorded: its attempts by its result or error; None for one that has neither.
        ended: when, on `time.monotonic`; None while it runs.
    """

    number: int
    policy: str
    transport: str
    outcome: str = ""
    recorded: list[Told] | None = None
    claims: list[Claim] = field(default_factory=list)
    events: list[Mapping[str, Any]] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)
    ended: float | None = None

    def end(self, outcome: str, told: Result | CallError | None) -> None:
        """Note how it ended, with the result or error that tells its attempts, if there is one."""
        self.outcome = outcome
        self.ended = time.monotonic()
        if told is None:
            self.claims = [claim_of_event(event) for event in self.events if "attempt" in event]
            return
        self.claims = [claim(attempt) for attempt in told.attempts]
        self.recorded = []
        for a in told.attempts:
            usage = None if a.answer is None else a.answer.usage
            tokens = None if usage is None else usage.output_tokens
            self.recorded.append((a.number, a.kind, a.model, a.outcome, tokens))

    def difference(self, totals: Totals) -> str | None:
        """What is not the same story, or None; then it is added to the totals."""
        return self._log_difference() or reconcile(self.claims, self.served, totals)

    def _log_difference(self) -> str | None:
        if not self.events or self.events[-1]["event"] != "cascade.call_finished":
            return f"the last of {len(self.events)} log events is not that of the call"
        *attempts, last = self.events
        if last["attempts"] != len(attempts):
            return f"{last['attempts']} attempts, and log events of {len(attempts)}"
        if last["outcome"] != self.outcome:
            return f"it ended as {self.outcome}, and in the log as {last['outcome']}"
        if self.recorded is None:
            return None
        told = sorted(_told(event) for event in attempts)
        return None if told == self.recorded else f"recorded {self.recorded}, and logged {told}"

    def __str__(self) -> str:
        rows = [f"call {self.number}, {self.policy} over {self.transport}: {self.outcome}"]
        rows += [f"  ours    {each}" for each in self.claims]
        rows += [f"  log     {event}" for event in self.events]
        rows += [f"  server  {record}" for record in self.served]
        return "\n".join(rows)


def _told(event: Mapping[str, Any]) -> Told:
    outcome = event["event"].removeprefix("cascade.attempt_")
    return event["attempt"], event["kind"], event["model"], outcome, event["output_tokens"]


class Listener(logging.Handler):
    """Gives each log event to the call that it is about: the one whose context it comes from."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the fields."""
        call, fields = current.get(), record.__dict__.get("cascade")
        if call is not None and fields is not None:
            call.events.append(fields)


class Money:
    """A budget without a bound; each reservation is to be settled once.

    Attributes:
        held: the reservations that are not settled.
        made: how many there were.
    """

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.made = 0

    def adapt(self, policy: Policy, /) -> Policy:
        """The same."""
        return policy

    def per_call(self, policy: str, /) -> None:
        """As much as it likes."""

    async def reserve(self, policy: str, amount: float, /) -> int:
        """A number. Takes a turn of the loop, so that a caller may be cancelled meanwhile."""
        await anyio.lowlevel.checkpoint()
        self.made += 1
        self.held.add(self.made)
        return self.made

    def settle(self, reservation: Hashable, cost: Cost, /) -> None:
        """The attempt is over.

        Raises:
            KeyError: it was settled before.
        """
        assert isinstance(reservation, int)
        self.held.remove(reservation)


class Books:
    """The calls that are not settled yet, and what came of those that are."""

    def __init__(self) -> None:
        self.money = Money()
        self.totals = Totals()
        self.settled = 0
        self.differing = 0
        self.differences: list[str] = []
        self._open: dict[int, Call] = {}
        self._ended: deque[Call] = deque()

    def begin(self, number: int, policy: str, transport: str) -> Call:
        """A new call."""
        call = self._open[number] = Call(number, policy, transport)
        return call

    def end(self, call: Call, outcome: str, told: Result | CallError | None) -> None:
        """The call is over."""
        call.end(outcome, told)
        self._ended.append(call)

    def add(self, served: Iterable[Served]) -> None:
        """What the server has seen to its end."""
        for record in served:
            call = self._open.get(record.call)
            if call is None:
                self.differ(f"the server ended {record} long after its call, or of no call")
            else:
                call.served.append(record)

    def settle(self, asked: float) -> None:
        """Compare the calls that were over long before the server was ``asked`` the last time."""
        while self._ended and (self._ended[0].ended or 0.0) <= asked - GRACE:
            call = self._ended.popleft()
            del self._open[call.number]
            self.settled += 1
            difference = call.difference(self.totals)
            if difference is not None:
                self.differ(f"{difference}\n{call}")

    def differ(self, text: str) -> None:
        """Something is not as it must be."""
        self.differing += 1
        if len(self.differences) < KEPT:
            self.differences.append(text)
