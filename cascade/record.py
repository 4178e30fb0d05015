"""From a finished call to what the user gets: attempts with their costs, a result or an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from cascade import billing
from cascade.cost import FREE, Cost, total
from cascade.errors import (
    APITimeoutError,
    BudgetExceededError,
    CallError,
    CascadeError,
    CascadeExhausted,
    ConfigError,
    DeadlineExceededError,
    PromptError,
    ProviderError,
)
from cascade.events import CancelReason
from cascade.records import CallEnd, CallRecord
from cascade.result import Attempt, CallOutcome, Ending, Result
from cascade.verdict import UNPAID, Verdict, shorten

if TYPE_CHECKING:
    from cascade.asking import LiveAttempt
    from cascade.live import LiveCall

_UNKNOWN = Cost.unknown()

_CANCELLED: dict[CancelReason | None, str] = {
    "outrun": "another tier was accepted first",
    "replica": "its twin answered first",
    "settled": "the others had settled it",
    "deadline": "the call's deadline passed",
    "aborted": "the caller was cancelled",
    None: "the tier's check was over",
}


def attempt_record(call: LiveCall, id_: int) -> Attempt:
    """The record of one attempt that has ended."""
    state, live = call.state.attempts[id_], call.attempts[id_]
    assert state.ended is not None
    outcome = cast("Ending", state.phase)
    verdict = state.verdict or live.verdict
    error = live.error
    if live.cancelled == "timeout":  # whatever the call brought in that same instant was late
        error = _timed_out(call, id_)
    return Attempt(
        number=id_ + 1,
        tier=call.tiers[state.tier].tier.name,
        model=live.target.name,
        member=state.member,
        kind=state.kind,
        outcome=outcome,
        reason="" if outcome == "accepted" else _reason(outcome, verdict, error, live.cancelled),
        started=state.started - call.began,
        waited=(state.ended if live.begun is None else live.begun) - state.started,
        latency=state.ended - state.started,
        time_to_first_token=live.first_token,
        cost=attempt_cost(live, state.ended),
        answer=live.answer,
        verdict=verdict,
        error=error if outcome == "failed" else None,
        verifier=call.tiers[state.tier].verifier_name,
    )


def result(call: LiveCall) -> Result:
    """The result of a call: a rejected answer where none was accepted and it settles for one.

    Raises:
        DeadlineExceededError, BudgetExceededError, CascadeExhausted: there is none to give.
    """
    finish = call.state.finish
    assert finish is not None
    attempts = attempt_records(call)
    accepted = finish.outcome == "accepted"
    if finish.attempt is None or not (accepted or call.best):
        raise _no_answer(call, attempts)
    chosen = attempts[finish.attempt]
    assert chosen.answer is not None
    verdict = chosen.verdict
    text = chosen.answer.text
    if verdict is not None and verdict.text is not None:
        text = verdict.text
    return Result(
        text=text,
        parsed=None if verdict is None else verdict.parsed,
        accepted=accepted,
        outcome=cast("CallOutcome", finish.outcome),
        policy=call.name,
        tier=chosen.tier,
        answer=chosen.answer,
        verdict=verdict,
        checked=verdict is not None,
        attempts=attempts,
        cost=_total(call, attempts),
        latency=call.ended - call.began,
        escalations=call.state.escalations,
        route=call.route,
    )


def attempt_records(call: LiveCall) -> tuple[Attempt, ...]:
    """The records of all attempts of a call that has ended."""
    return tuple([attempt_record(call, id_) for id_ in range(len(call.attempts))])


def call_record(
    call: LiveCall, began: float, found: Result | None, error: BaseException | None
) -> CallRecord:
    """What observers are told of a call that has ended, at the Unix time ``began``."""
    if found is not None:
        attempts = found.attempts
    else:
        attempts = error.attempts if isinstance(error, CallError) else attempt_records(call)
    cost = _total(call, attempts) if found is None else found.cost
    first = call.tiers[call.state.plan.first].tier.name
    return CallRecord(
        id=call.id,
        began=began,
        policy=call.name,
        request=call.request,
        outcome=call_end(error) if found is None else found.outcome,
        result=found,
        error=None if error is None else shown(error),
        attempts=attempts,
        cost=cost,
        waste=cost if found is None else found.waste,
        latency=call.ended - call.began,
        escalations=call.state.escalations,
        first=first,
        route=call.route,
        variant=call.variant,
    )


def call_cost(call: LiveCall) -> Cost:
    """What a call has cost, however it ended."""
    ended = (state.ended for state in call.state.attempts)
    costs = [attempt_cost(*each) for each in zip(call.attempts, ended, strict=True)]
    return total(costs) if call.route is None else total(costs) + call.route.cost


def _total(call: LiveCall, attempts: tuple[Attempt, ...]) -> Cost:
    cost = total([attempt.cost for attempt in attempts])
    return cost if call.route is None else cost + call.route.cost


def shown(error: BaseException) -> str:
    """The error as records have it."""
    message = error.message if isinstance(error, CascadeError) else str(error)
    return shorten(f"{type(error).__name__}: {message}")


def call_end(error: BaseException | None) -> CallEnd:
    """How a call that raised has ended."""
    if isinstance(error, CascadeExhausted):
        return "exhausted"
    if isinstance(error, DeadlineExceededError):
        return "deadline"
    return "error" if isinstance(error, Exception) else "cancelled"


def attempt_cost(attempt: LiveAttempt, ended: float | None = None) -> Cost:
    """What an attempt cost, its check included.

    Args:
        attempt: one that has ended.
        ended: when, on the engine's clock; by default now.
    """
    verdict = attempt.verdict
    if verdict is not None and verdict.cost is not FREE and verdict.cost != FREE:
        # The verdict's own figure covers what the check spent; a check that was cut short or
        # crashed has no figure, but what it spent is known all the same.
        return _call_cost(attempt, ended) + verdict.cost
    cost = _call_cost(attempt, ended)
    return cost + total(attempt.spent) if attempt.spent else cost


def _call_cost(attempt: LiveAttempt, ended: float | None) -> Cost:
    target, error = attempt.target, attempt.error
    if attempt.begun is None or target.free:
        return FREE
    if attempt.answer is not None and attempt.whole:
        if target.price is None:
            return _UNKNOWN
        return billing.answered(target.price, attempt.request, attempt.answer)
    if isinstance(error, PromptError | ConfigError):
        return FREE  # it could not even be written
    if isinstance(error, ProviderError) and (not error.sent or (error.status or 0) >= 400):
        return FREE  # neither what never arrived nor an error status is billed
    if target.price is None:
        return Cost.unknown("cancelled")
    # Thinking comes before the text and does not show; a tool call may come beside it.
    shows = attempt.first_at if not attempt.request.tools else None
    until = next(at for at in (shows, ended, attempt.clock()) if at is not None)
    return billing.cut_short(
        target.price,
        attempt.request,
        "".join(attempt.chunks),
        stops=target.cancel_stops_billing,
        hidden=until - attempt.begun,
    )


def _reason(
    outcome: Ending,
    verdict: Verdict | None,
    error: CascadeError | None,
    cancelled: CancelReason | None,
) -> str:
    if outcome == "cancelled":
        return _CANCELLED[cancelled]
    if outcome == "failed":
        return "" if error is None else f"{type(error).__name__}: {error.message}"
    if verdict is None or verdict.accepted:
        return ""
    return f"abstained: {verdict.reason}" if verdict.outcome == "abstained" else verdict.reason


def _timed_out(call: LiveCall, id_: int) -> APITimeoutError:
    tier = call.tiers[call.state.attempts[id_].tier].tier
    error = APITimeoutError(f"no whole answer within {tier.timeout:g} s")
    error.policy, error.tier, error.attempt = call.name, tier.name, id_ + 1
    return error


def _unpaid(attempt: Attempt) -> bool:
    verdict = attempt.verdict
    return isinstance(attempt.error, BudgetExceededError) or (
        verdict is not None and verdict.code == UNPAID
    )


def _no_answer(call: LiveCall, attempts: tuple[Attempt, ...]) -> CallError:
    finish = call.state.finish
    assert finish is not None
    what: type[CallError] = CascadeExhausted
    head = "every tier was rejected or failed"
    if finish.outcome == "deadline":
        what = DeadlineExceededError
        head = f"no accepted answer within the deadline ({call.state.plan.deadline:g} s)"
    elif any(map(_unpaid, attempts)):
        what = BudgetExceededError
        head = "no accepted answer, and no money for more"
    # A failure that all the retries repeat is told once.
    steps = "; ".join(dict.fromkeys(f"{a.tier} {a.outcome} ({a.reason})" for a in attempts))
    if not steps:
        steps = (
            "no tier had begun" if call.route is None else f"no tier had begun; {call.route.reason}"
        )
    error = what(f"{head}: {steps}", policy=call.name, attempts=attempts)
    causes = [attempt.error for attempt in attempts if attempt.error is not None]
    error.__cause__ = causes[-1] if causes else None
    return error
