"""Finished calls, made up: what the ledger's benchmarks and tests write."""

from __future__ import annotations

import secrets
import time

from cascade.cost import Cost, total
from cascade.records import CallRecord
from cascade.result import Attempt, Result
from cascade.types import Answer, Request, Usage
from cascade.verdict import Verdict

_TICKET = (
    "Which kind of ticket is this: billing, technical or other? Answer with one word. The ticket: "
    "The invoice of the third of May was paid twice, by card and by transfer, and the customer "
    "asks for one of the two payments to be returned. Nothing is wrong with the service itself. "
)
_SMALL, _LARGE = Cost(0.000_02, 0.000_02), Cost(0.001, 0.001)


def call(number: int) -> CallRecord:
    """A call as it ends: one in four was escalated, so it has two attempts.

    Its prompt has some 300 characters, its answers some 100.
    """
    escalated = number % 4 == 0
    first = _attempt(1, number, accepted=not escalated)
    attempts = (first, _attempt(2, number, accepted=True)) if escalated else (first,)
    last, cost = attempts[-1], total(attempt.cost for attempt in attempts)
    assert last.answer is not None
    result = Result(
        text=last.answer.text,
        parsed=None,
        accepted=True,
        outcome="accepted",
        policy="tickets",
        tier=last.tier,
        answer=last.answer,
        verdict=last.verdict,
        checked=True,
        attempts=attempts,
        cost=cost,
        latency=1.2 if escalated else 0.3,
        escalations=len(attempts) - 1,
    )
    return CallRecord(
        id=secrets.token_hex(8),
        began=time.time(),
        policy="tickets",
        request=Request.of(f"{_TICKET}{number}"),
        outcome="accepted",
        result=result,
        error=None,
        attempts=attempts,
        cost=cost,
        waste=_SMALL if escalated else Cost(0.0, 0.0),
        latency=result.latency,
        escalations=result.escalations,
        first="small",
    )


def _attempt(position: int, number: int, *, accepted: bool) -> Attempt:
    large = position == 2
    text = f"billing, as the ticket {number} is about a payment that was made twice, by two ways."
    reason = "the answer is none of 'billing', 'technical', 'other'"
    return Attempt(
        number=position,
        tier="large" if large else "small",
        model="openai:large" if large else "openai:small",
        member=0,
        kind="first",
        outcome="accepted" if accepted else "rejected",
        reason="" if accepted else reason,
        started=0.3 if large else 0.0,
        waited=0.0,
        latency=0.9 if large else 0.3,
        time_to_first_token=0.1,
        cost=_LARGE if large else _SMALL,
        answer=Answer(
            text=text,
            finish_reason="stop",
            usage=Usage(input_tokens=80, output_tokens=20),
            model="large-2026" if large else "small-2026",
            request_id=f"req_{number}",
        ),
        verdict=Verdict.accept() if accepted else Verdict.reject(reason, code="one_of.unknown"),
        verifier="one_of",
    )
