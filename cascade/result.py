"""What a call gives back: the answer and the record of every attempt."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from cascade.cost import Cost, total
from cascade.errors import CascadeError
from cascade.routing import Route
from cascade.types import Answer
from cascade.verdict import Verdict

Kind = Literal["first", "retry", "repair", "replica", "fallback"]
Ending = Literal["accepted", "rejected", "failed", "cancelled"]
CallOutcome = Literal["accepted", "exhausted", "deadline"]


class Attempt(Struct, frozen=True, kw_only=True):
    """The record of one call to one model.

    Attributes:
        number: position in the call, from 1.
        tier: name of the tier.
        model: the model that was called.
        member: position of the model in an ensemble, from 0.
        kind: why it was made: ``first``, ``retry``, ``repair``, ``replica`` or ``fallback``.
        outcome: how it ended: ``accepted``, ``rejected``, ``failed`` or ``cancelled``.
        reason: why, in a sentence; empty when accepted.
        started: seconds after the call began.
        waited: seconds before the call itself began, while weights were downloaded or a server
            started.
        latency: seconds until it ended, waiting and check included.
        time_to_first_token: seconds to the first text, or None.
        cost: what it cost, its check included.
        answer: what the model answered, or None.
        verdict: what the verifier said, or None.
        error: why it failed, or None.
        verifier: name of its tier's verifier, or None.
    """

    number: int
    tier: str
    model: str
    member: int
    kind: Kind
    outcome: Ending
    reason: str
    started: float
    waited: float
    latency: float
    time_to_first_token: float | None
    cost: Cost
    answer: Answer | None = None
    verdict: Verdict | None = None
    error: CascadeError | None = None
    verifier: str | None = None


class Result(Struct, frozen=True, kw_only=True):
    """The answer to a call.

    Attributes:
        text: the answer's text, as the verifier leaves it to the user.
        parsed: the value the verifier parsed, or None.
        accepted: whether its tier accepted it; False only with ``exhausted="best"``.
        checked: whether that tier has a verifier; without one it accepts every whole answer.
        outcome: ``accepted``, ``exhausted`` or ``deadline``.
        policy: name of the policy.
        tier: name of the tier that answered.
        answer: the model's answer itself.
        verdict: the verifier's verdict on it, or None without a verifier.
        attempts: every attempt, in the order they were started.
        cost: what the call cost, losers included.
        latency: seconds the call took.
        escalations: how many tiers were started because those before were out.
        route: what the policy's router said, or None without one.
    """

    text: str
    parsed: Any
    accepted: bool
    outcome: CallOutcome
    policy: str
    tier: str
    answer: Answer
    verdict: Verdict | None
    checked: bool
    attempts: tuple[Attempt, ...]
    cost: Cost
    latency: float
    escalations: int
    route: Route | None = None

    def __str__(self) -> str:
        text = " ".join(self.text.split())
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        what = "accepted" if self.accepted else "NOT accepted"
        if not self.checked:
            what += " unchecked"
        steps = f"{self.escalations} escalation{'' if self.escalations == 1 else 's'}"
        return f"{what} by {self.tier}: {shown!r} ({steps}, {self.latency:.2f} s, {self.cost})"

    def explain(self) -> str:
        """The attempts as a table: tier, what happened, why, time, cost."""
        from cascade.explain import table

        total = (self.latency, self.cost)
        return table(self.attempts, total=total, winner=self.winner, route=self.route)

    @property
    def waste(self) -> Cost:
        """What was spent on attempts whose answer is not the one returned; no router's cost.

        Those that lost a race or a hedge, and those that were rejected or failed, their checks
        included: what an all-knowing caller would have saved. Part of ``cost``.
        """
        return total(a.cost for a in self.attempts if a.answer is not self.answer)

    @property
    def winner(self) -> Attempt:
        """The attempt whose answer this is."""
        return next(attempt for attempt in self.attempts if attempt.answer is self.answer)
