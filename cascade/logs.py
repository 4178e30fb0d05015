"""Structured log events, through whatever logging the application has set up.

Where the application configured structlog, events go there; it is never imported here. Otherwise
they go to the standard logger ``cascade`` as ``event key=value …``, with the fields also under
``record.cascade`` for formatters that write JSON. Nothing is printed unless the application asked
for it, nothing is rendered that nobody reads, and a logger that raises does not end a call.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from cascade.cost import Cost
from cascade.record import attempt_record
from cascade.records import CallRecord
from cascade.result import Attempt
from cascade.verdict import CRASH, TOO_LATE

if TYPE_CHECKING:
    from cascade.live import LiveCall

LOGGER = "cascade"
_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING)
_standard = logging.getLogger(LOGGER)
_standard.addHandler(logging.NullHandler())

Emit = Callable[..., None]
"""Called as ``emit(event, **fields)``; ``exc_info`` is an exception whose traceback is shown."""


class Emitters(NamedTuple):
    """Where events of each level go; None when nobody would read them."""

    debug: Emit | None
    inform: Emit | None
    warn: Emit | None


NOBODY = Emitters(None, None, None)


def emitters() -> Emitters:
    """Where events go now: to structlog where the application has configured it, else logging."""
    # Only an application that imported structlog can have configured it.
    structlog = sys.modules.get("structlog")
    if structlog is not None and structlog.is_configured():
        try:
            logger = structlog.get_logger(LOGGER).bind()
            write: list[Emit] = [logger.debug, logger.info, logger.warning]
        except Exception:  # noqa: BLE001  (an application's own logger class, which may need a loop)
            return NOBODY
        # An async logger needs a task for each event, which nobody would wait for.
        if not inspect.iscoroutinefunction(write[0]):
            enabled = getattr(logger, "is_enabled_for", lambda level: True)
            return _those(
                emit if enabled(level) else None for emit, level in zip(write, _LEVELS, strict=True)
            )
    if not _has_reader():
        return NOBODY
    return _those(_standard_emitter(level) for level in _LEVELS)


def _those(emit: Iterable[Emit | None]) -> Emitters:
    found = Emitters(*emit)
    return NOBODY if found == NOBODY else found


def _standard_emitter(level: int) -> Emit | None:
    if not _standard.isEnabledFor(level):
        return None

    def emit(event: str, /, *, exc_info: Any = None, **fields: Any) -> None:
        shown = (f"{key}={value!r}" for key, value in fields.items() if value not in (None, ""))
        _standard.log(
            level,
            "%s",
            " ".join((event, *shown)),
            extra={LOGGER: {"event": event, **fields}},
            exc_info=exc_info,
        )

    return emit


def _has_reader() -> bool:
    """Whether a handler other than our own silent one would see an event."""
    if len(_standard.handlers) == 1 and not logging.root.handlers:
        return False  # as it is where the application has not set up any logging
    logger: logging.Logger | None = _standard
    while logger is not None:
        for handler in logger.handlers:
            if not isinstance(handler, logging.NullHandler):
                return True
        logger = logger.parent if logger.propagate else None
    return False


def warn(event: str, **fields: Any) -> None:
    """A warning of the engine's own, where somebody reads it."""
    emit = emitters().warn
    if emit is not None:
        _write(emit, event, fields)


class CallLog:
    """Writes one event for each attempt as it ends, and one for the call: an `Observer`.

    A check that crashed or took too long is a warning, with the traceback: it holds back every
    answer of its tier, right or wrong. An attempt that was accepted is for debugging only, as the
    call's own event says all that is to be said of it. All else is information.
    """

    @classmethod
    def of(cls, call: LiveCall) -> CallLog | None:
        """The log of a call, or None when nobody would read any of it."""
        emit = emitters()
        return None if emit is NOBODY else cls(call, emit)

    def __init__(self, call: LiveCall, emit: Emitters) -> None:
        self._emit = emit
        self._call = call
        call.on_end = self._attempt_ended

    def call_finished(self, record: CallRecord) -> None:
        """Write the call's event."""
        if self._emit.inform is None:
            return
        result, winner = record.result, None
        if result is not None:
            winner = result.winner
        fields: dict[str, Any] = {
            "call_id": record.id,
            "policy": record.policy,
            "outcome": record.outcome,
            "tier": None if winner is None else winner.tier,
            "escalations": record.escalations,
            "tiers_tried": len({attempt.tier for attempt in record.attempts}),
            "attempts": len(record.attempts),
            "latency_s": _seconds(record.latency),
            **_cost(record.cost),
            "waste_low": record.waste.low,
            "waste_high": record.waste.high,
        }
        if winner is not None:
            fields |= _of_answer(winner)
        if record.route is not None:
            fields |= {
                "route": record.route.start,
                "route_label": record.route.label,
                "route_s": _seconds(record.route.latency),
            }
        if record.variant:
            fields["variant"] = record.variant
        _write(self._emit.inform, "cascade.call_finished", fields)

    def _attempt_ended(self, id_: int) -> None:
        state = self._call.state.attempts[id_]
        verdict = state.verdict
        broken = verdict is not None and verdict.code in (CRASH, TOO_LATE)
        emit = self._emit.inform
        if broken:
            emit = self._emit.warn
        elif state.phase == "accepted":
            emit = self._emit.debug
        if emit is None:
            return
        attempt = attempt_record(self._call, id_)
        crash = self._call.attempts[id_].crash
        fields: dict[str, Any] = {
            "call_id": self._call.id,
            "policy": self._call.name,
            "tier": attempt.tier,
            "attempt": attempt.number,
            "kind": attempt.kind,
            "reason": attempt.reason,
            "code": None if verdict is None else verdict.code,
            "started_s": _seconds(attempt.started),
            "waited_s": _seconds(attempt.waited),
            "latency_s": _seconds(attempt.latency),
            **_of_answer(attempt),
            **_cost(attempt.cost),
        }
        if crash is not None:
            fields["exc_info"] = crash
        _write(emit, f"cascade.attempt_{attempt.outcome}", fields)


def _of_answer(attempt: Attempt) -> dict[str, Any]:
    """What the event of an attempt, or of the call that it won, says of its answer."""
    answer, verdict = attempt.answer, attempt.verdict
    usage = None if answer is None else answer.usage
    return {
        "model": attempt.model,
        "response_model": None if answer is None else answer.model,
        "request_id": None if answer is None else answer.request_id,
        "score": None if verdict is None else verdict.score,
        "check_s": None if verdict is None else _seconds(verdict.latency),
        "time_to_first_token_s": _seconds(attempt.time_to_first_token),
        "input_tokens": None if usage is None else usage.input_tokens,
        "output_tokens": None if usage is None else usage.output_tokens,
    }


def _write(emit: Emit, event: str, fields: dict[str, Any]) -> None:
    try:
        emit(event, **fields)
    except Exception:  # noqa: BLE001  (a log line that cannot be written must not end a call)
        _standard.debug("cannot write %s", event, exc_info=True)


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _cost(cost: Cost) -> dict[str, Any]:
    return {"cost_low": cost.low, "cost_high": cost.high, "cost_basis": cost.basis}
