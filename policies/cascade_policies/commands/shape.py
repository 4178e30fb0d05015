"""The JSON of ``--json``, as docs/cli.md describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade.cost import Cost
from cascade.errors import CallError, CascadeError, PolicyFileError
from cascade.result import Attempt, Result
from cascade.verdict import Verdict
from cascade_policies.commands.output import write
from cascade_policies.data_lines import DataFileError

if TYPE_CHECKING:
    from cascade.probe import Probe


def write_json(value: object) -> None:
    """One object on one line of standard output."""
    write(f"{to_json(value)}\n")


def to_json(value: object) -> str:
    """JSON, whatever a verifier parsed."""
    import msgspec

    return msgspec.json.encode(value, enc_hook=_plain).decode()


def result_shape(result: Result) -> dict[str, Any]:
    """A finished call."""
    return {
        "text": result.text,
        "parsed": result.parsed,
        "accepted": result.accepted,
        "checked": result.checked,
        "outcome": result.outcome,
        "policy": result.policy,
        "tier": result.tier,
        "escalations": result.escalations,
        "latency_s": _seconds(result.latency),
        "cost": cost_shape(result.cost),
        "waste": cost_shape(result.waste),
        "attempts": [attempt_shape(attempt) for attempt in result.attempts],
    }


def verdict_shape(verdict: Verdict) -> dict[str, Any]:
    """What a verifier said."""
    return {
        "outcome": verdict.outcome,
        "score": verdict.score,
        "reason": verdict.reason,
        "code": verdict.code,
        "repairable": verdict.repairable,
        "parsed": verdict.parsed,
        "text": verdict.text,
        "cost": cost_shape(verdict.cost),
    }


def probe_shape(probe: Probe) -> dict[str, Any]:
    """What `cascade probe` measured."""
    return {
        "model": probe.model,
        "cancel_stops_billing": probe.stops,
        "documented": probe.documented,
        "reason": probe.reason,
        "seen_through": probe.seen_through,
        "seconds": _seconds(probe.seconds),
        "received": probe.received,
        "generated": probe.generated,
    }


def error_shape(error: BaseException, message: str) -> dict[str, Any]:
    """A call that gave no result, or a command that did not get that far."""
    known = error if isinstance(error, CascadeError) else None
    shape: dict[str, Any] = {
        "type": type(error).__name__,
        "message": message if known is None else known.message,
        "policy": known and known.policy,
        "tier": known and known.tier,
        "attempt": known and known.attempt,
    }
    if isinstance(error, PolicyFileError):
        shape |= {"file": error.file, "line": error.line, "key": error.key}
    if isinstance(error, DataFileError):
        shape |= {"file": error.file, "line": error.line}
    if not isinstance(error, CallError):
        return {"error": shape, "attempts": []}
    return {
        "error": shape,
        "waste": cost_shape(error.waste),
        "attempts": [attempt_shape(attempt) for attempt in error.attempts],
    }


def attempt_shape(attempt: Attempt) -> dict[str, Any]:
    """One attempt."""
    return {
        "number": attempt.number,
        "tier": attempt.tier,
        "model": attempt.model,
        "kind": attempt.kind,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "started_s": _seconds(attempt.started),
        "waited_s": _seconds(attempt.waited),
        "latency_s": _seconds(attempt.latency),
        "time_to_first_token_s": _seconds(attempt.time_to_first_token),
        "cost": cost_shape(attempt.cost),
    }


def cost_shape(cost: Cost) -> dict[str, Any]:
    """US dollars; null where no price is known."""
    return {"low": cost.low, "high": cost.high, "basis": cost.basis}


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _plain(value: Any) -> Any:
    """What a verifier parsed may be any object."""
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) else str(value)
