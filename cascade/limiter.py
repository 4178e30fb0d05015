"""Lets attempts at one provider start, as many at a time as its limit allows, taking turns."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Literal

from cascade.limit import AdaptiveLimit

Outcome = Literal["answered", "overloaded", "other"]


class Ticket:
    """One attempt's place: waiting, then granted, then over.

    Attributes:
        call: whose attempt it is.
    """

    __slots__ = ("_number", "call", "phase")

    def __init__(self, call: Hashable) -> None:
        self.call = call
        self.phase: Literal["waiting", "granted", "over"] = "waiting"
        self._number = 0  # the how-manieth grant it was

    @property
    def granted(self) -> bool:
        """Whether its attempt may run."""
        return self.phase == "granted"


class Limiter:
    """The attempts in flight to one provider, never granted beyond the limit, and those in wait.

    Nobody waits while there is room. Calls that wait take turns, and within a call the first to
    ask goes first, so a call with many attempts does not hold up the others.

    For one thread; it needs no clock.

    Attributes:
        in_flight: attempts granted and not released; above the limit just after that fell.
        waiting: attempts in the queue.
        limit: the limit as it stands.
    """

    __slots__ = ("_granted", "_queue", "in_flight", "limit", "waiting")

    def __init__(self, limit: AdaptiveLimit | None = None) -> None:
        self.limit = AdaptiveLimit() if limit is None else limit
        self.in_flight = self.waiting = 0
        self._granted = 0
        # By call, whose turn is next first; a dict would be slow to pop from the front.
        self._queue: OrderedDict[Hashable, deque[Ticket]] = OrderedDict()

    def acquire(self, call: Hashable) -> Ticket:
        """A ticket for an attempt of that call: granted, or waiting until a release grants it."""
        ticket = Ticket(call)
        if self.in_flight + 1 <= self.limit.value:
            self._grant(ticket)
        else:
            self._queue.setdefault(call, deque()).append(ticket)
            self.waiting += 1
        return ticket

    def release(
        self, ticket: Ticket, outcome: Outcome, *, model: str = "", ttft: float | None = None
    ) -> list[Ticket]:
        """The attempt is over; the tickets that are granted now, in order.

        A ticket that still waits leaves the queue; one that is over already does nothing.

        Args:
            outcome: "overloaded" as in `cascade.health.overloaded`; "other" teaches nothing.
            model: whose time to the first token it is.
            ttft: seconds from the grant to the first token, where one came.
        """
        if ticket.phase != "granted":
            self._leave(ticket)
            return []
        if outcome == "answered":
            self.limit.answered(ticket._number, self._granted, self.in_flight, model, ttft)
        elif outcome == "overloaded":
            self.limit.overloaded(ticket._number, self._granted, self.in_flight)
        ticket.phase = "over"
        self.in_flight -= 1
        return self._next() if self._queue else []

    def withdraw(self, ticket: Ticket) -> list[Ticket]:
        """The ticket's call is over: it leaves the queue, or gives back what it had not used."""
        return self.release(ticket, "other")

    def _grant(self, ticket: Ticket) -> None:
        self._granted += 1
        self.in_flight += 1
        ticket._number = self._granted
        ticket.phase = "granted"

    def _next(self) -> list[Ticket]:
        granted = []
        while self._queue and self.in_flight + 1 <= self.limit.value:
            call, tickets = self._queue.popitem(last=False)
            ticket = tickets.popleft()
            if tickets:
                self._queue[call] = tickets
            self._grant(ticket)
            granted.append(ticket)
        self.waiting -= len(granted)
        return granted

    def _leave(self, ticket: Ticket) -> None:
        if ticket.phase == "waiting":
            ticket.phase = "over"
            self.waiting -= 1
            tickets = self._queue[ticket.call]
            tickets.remove(ticket)
            if not tickets:
                del self._queue[ticket.call]
