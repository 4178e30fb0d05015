"""What the engine tells of each finished call: to ledgers, spans, metrics, watchers of drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from msgspec import Struct

from cascade.cost import Cost
from cascade.result import Attempt, Result
from cascade.routing import Route
from cascade.types import Request

if TYPE_CHECKING:
    from cascade.engine import Engine

CallEnd = Literal["accepted", "exhausted", "deadline", "cancelled", "error"]
"""``error`` is a bug, or a budget that has no money left; ``cancelled`` was the caller's doing."""


class CallRecord(Struct, frozen=True, kw_only=True):
    """One finished call, with all that is known of it; nothing is copied to make it.

    Attributes:
        id: 16 hexadecimal digits; ``call_id`` in the log.
        began: Unix time in seconds at which the call began.
        policy: name of the policy; of a task's policy it is the task's name.
        request: what the caller asked, before any tier's template.
        outcome: how it ended.
        result: what the caller got, or None when an error was raised.
        error: what was raised, as ``CascadeExhausted: …``, or None. As text: an exception would
            keep its traceback, and with it the whole call, alive.
        attempts: every attempt, in the order they were started.
        cost: what the call cost, losers, checks and the router included.
        waste: the part of it spent on attempts whose answer is not the one returned.
        latency: seconds the call took, the router's included.
        escalations: how many tiers were started because those before were out.
        first: name of the tier it began at.
        route: what the router said, or None without one.
        variant: how the policy was changed for this call, like ``effort=fast``; "" as it is.
    """

    id: str
    began: float
    policy: str
    request: Request
    outcome: CallEnd
    result: Result | None
    error: str | None
    attempts: tuple[Attempt, ...]
    cost: Cost
    waste: Cost
    latency: float
    escalations: int
    first: str
    route: Route | None = None
    variant: str = ""


@runtime_checkable
class Observer(Protocol):
    """Is told of every finished call, in the task of its caller, on the loop's thread.

    Must return within microseconds: put the record in a queue, and do the work elsewhere. What it
    raises is logged and goes no further. One that is an `EngineObserver` too is told of engines.
    """

    def call_finished(self, record: CallRecord, /) -> None:
        """Take note of a call."""
        ...


@runtime_checkable
class EngineObserver(Protocol):
    """An observer that is told of its engines too, to keep what they have learned."""

    def engine_opened(self, engine: Engine, /) -> None:
        """An engine has taken it on."""
        ...

    async def engine_closed(self, engine: Engine, /) -> None:
        """An engine closes; all its calls have been told of."""
        ...
