"""What a verifier says of an answer, and how plain functions are verifiers too."""

from __future__ import annotations

from collections.abc import Awaitable
from operator import methodcaller
from typing import Any, Literal, Protocol, runtime_checkable

from msgspec import Struct
from msgspec.structs import force_setattr

from cascade.cost import FREE, Cost
from cascade.errors import ConfigError
from cascade.types import Answer, Request

Outcome = Literal["accepted", "rejected", "abstained"]
_OUTCOMES = ("accepted", "rejected", "abstained")

CRASH = "check.crash"
TOO_LATE = "check.timeout"
UNPAID = "check.unpaid"
"""Codes of the abstentions that the engine makes of a check that crashed, took too long, or had no
money for the model that it asks."""

MAX_REASON = 1000
"""Characters of a reason: it goes into prompts, logs and errors, and may quote the answer."""


def shorten(text: str) -> str:
    """The text, cut in the middle to at most `MAX_REASON` characters."""
    if len(text) <= MAX_REASON:
        return text
    half = MAX_REASON // 2 - 3
    return f"{text[:half]} … {text[-half:]}"


_copy = methodcaller("__copy__")  # as `copy.copy`, in a third of its time


class Verdict(Struct, frozen=True):
    """What a verifier says of one answer. Made by `accept`, `reject` and `abstain`.

    Attributes:
        outcome: ``accepted``, ``rejected``, or ``abstained`` (the verifier cannot tell).
        score: in [0, 1], higher is better; None for a verifier that only says yes or no.
        reason: one sentence, fit to be fed back to a model; empty when accepted, and cut in the
            middle when longer than `MAX_REASON`.
        code: stable name of the reason, like ``json.type``.
        repairable: whether the same model may do better when told the reason.
        parsed: the answer's value where the verifier parsed one.
        text: the answer as the user should see it, where that differs from what the model wrote.
        cost: what the check itself cost, when it called a model.
        latency: seconds the check took; filled in by the engine where the verifier does not say.
    """

    outcome: Outcome
    score: float | None = None
    reason: str = ""
    code: str = ""
    repairable: bool = False
    parsed: Any = None
    text: str | None = None
    cost: Cost = FREE
    latency: float | None = None

    def __post_init__(self) -> None:
        if self.outcome not in _OUTCOMES:
            raise ConfigError(f"a verdict is accepted, rejected or abstained; got {self.outcome!r}")
        # A NaN fails the comparison, as it should.
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise ConfigError(f"a verdict's score is in [0, 1]; got {self.score!r}")
        if not isinstance(self.cost, Cost):
            raise ConfigError(f"a verdict's cost is a Cost; got {self.cost!r}")
        if len(self.reason) > MAX_REASON:
            force_setattr(self, "reason", shorten(self.reason))

    @property
    def accepted(self) -> bool:
        """Whether the answer passed."""
        return self.outcome == "accepted"

    def timed(self, latency: float) -> Verdict:
        """The same verdict with the seconds the check took, if it does not say so itself."""
        if self.latency is not None:
            return self
        timed: Verdict = _copy(self)
        force_setattr(timed, "latency", latency)
        return timed

    @classmethod
    def accept(
        cls,
        *,
        score: float | None = None,
        parsed: Any = None,
        text: str | None = None,
        cost: Cost = FREE,
    ) -> Verdict:
        """The answer passes."""
        return cls("accepted", score, parsed=parsed, text=text, cost=cost)

    @classmethod
    def reject(
        cls,
        reason: str,
        *,
        code: str = "",
        score: float | None = None,
        repairable: bool = False,
        parsed: Any = None,
        text: str | None = None,
        cost: Cost = FREE,
    ) -> Verdict:
        """The answer does not pass, for this reason."""
        return cls("rejected", score, reason, code, repairable, parsed, text, cost)

    @classmethod
    def abstain(cls, reason: str, *, code: str = "", cost: Cost = FREE) -> Verdict:
        """The verifier cannot tell; what that means is set on the tier (``on_abstain``)."""
        return cls("abstained", None, reason, code, cost=cost)


@runtime_checkable
class Verifier(Protocol):
    """Checks an answer. The one method may be sync (quick, never blocking) or async.

    Optional, looked for by name at load:

    ``prepare(request) -> Request``
        changes the request before it is sent, to ask for what the check needs (log
        probabilities, a stated confidence).
    ``with_threshold(threshold) -> Verifier``
        a copy that accepts from this score on; a tier's ``threshold`` needs it.
    ``response_format() -> Mapping``
        the chat-completions ``response_format`` under which a model can only answer in the
        right form; a tier's ``constrain`` needs it.
    ``models``
        the models it calls itself, so that a wrong one shows at load.
    ``prefix(text) -> Verdict | None``
        looks at what has been generated so far. A rejection ends the call at once; None means
        that the whole may still be accepted. It is asked again whenever the text has grown by
        a quarter, so that its cost stays linear, and must be sync and quick.
    ``verify_group(request, answers) -> Sequence[Verdict]``
        judges the answers of an ensemble together, one verdict an answer, in order. Without
        it each answer is judged by itself.
    ``enough(answers, members) -> bool``
        whether the answers that an ensemble of ``members`` has given so far settle the verdict;
        the rest is then cancelled. Must be sync and quick.
    """

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict on ``answer`` to ``request`` (the request as the caller made it)."""
        ...
