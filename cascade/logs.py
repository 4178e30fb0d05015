"""Structured log events, through whatever logging the application has set up.

Where the application configured structlog, events go there; it is never imported here. Otherwise
they go to the standard logger ``cascade`` as ``event key=value …``, with the fields also under
``record.cascade`` for formatters that write JSON. Nothing is printed unless the application asked
for it, nothing is rendered that nobody reads, and a logger that raises does not end a call.
"""

from __future__ import annotations

import inspect
import logging
import secrets
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cascade.cost import Cost, total
from cascade.errors import CascadeExhausted, DeadlineExceededError
from cascade.record import attempt_cost, attempt_record
from cascade.result import Result
from cascade.verdict import CRASH, TOO_LATE

if TYPE_CHECKING:
    from cascade.live import LiveCall

LOGGER = "cascade"
_standard = logging.getLogger(LOGGER)
_standard.addHandler(logging.NullHandler())

Emit = Callable[..., None]
"""Called as ``emit(event, **fields)``; ``exc_info`` is an exception whose traceback is shown."""


def emitters() -> tuple[Emit | None, Emit | None]:
    """Where information and warnings go now, each None when nobody would read it."""
    # Only an application that imported structlog can have configured it.
    structlog = sys.modules.get("structlog")
    if structlog is not None and structlog.is_configured():
        try:
            logger = structlog.get_logger(LOGGER).bind()
            write: list[Emit] = [logger.info, logger.warning]
        except Exception:  # noqa: BLE001  (an application's own logger class, which may need a loop)
            return None, None
        # An async logger needs a task for each event, which nobody would wait for.
        if not inspect.iscoroutinefunction(write[0]):
            enabled = getattr(logger, "is_enabled_for", lambda level: True)
            inform, warn = write
            return (
                inform if enabled(logging.INFO) else None,
                warn if enabled(logging.WARNING) else None,
            )
    if not _has_reader():
        return None, None
    return _standard_emitter(logging.INFO), _standard_emitter(logging.WARNING)


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


class CallLog:
    """Writes one event for each attempt as it ends, and one for the call.

    A check that crashed or took too long is a warning, with the traceback: it holds back every
    answer of its tier, right or wrong. All else is information.

    A context manager around the call; ``result`` is set inside it when there is one.
    """

    @classmethod
    def of(cls, call: LiveCall) -> CallLog | None:
        """The log of a call, or None when nobody would read any of it."""
        inform, warn = emitters()
        return None if warn is None else cls(call, inform, warn)

    def __init__(self, call: LiveCall, inform: Emit | None, warn: Emit) -> None:
        self.result: Result | None = None
        self._inform = inform
        self._warn = warn
        self._call = call
        self._id = secrets.token_hex(8)
        call.on_end = self._attempt_ended

    def _write(self, emit: Emit, event: str, **fields: Any) -> None:
        try:
            emit(event, **fields)
        except Exception:  # noqa: BLE001  (a log line that cannot be written must not end a call)
            _standard.debug("cannot write %s", event, exc_info=True)

    def __enter__(self) -> CallLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._inform is None:
            return
        call, result = self._call, self.result
        ends = [state.ended for state in call.state.attempts]
        costs = [attempt_cost(*attempt) for attempt in zip(call.attempts, ends, strict=True)]
        waste = total(costs) if result is None else result.waste
        self._write(
            self._inform,
            "cascade.call_finished",
            call_id=self._id,
            policy=call.name,
            outcome=_outcome(error) if result is None else result.outcome,
            tier=None if result is None else result.tier,
            escalations=call.state.escalations,
            tiers_tried=len({attempt.tier for attempt in call.state.attempts}),
            attempts=len(call.attempts),
            latency_s=_seconds(call.ended - call.began),
            **_cost(total(costs)),
            waste_low=waste.low,
            waste_high=waste.high,
        )

    def _attempt_ended(self, id_: int) -> None:
        verdict = self._call.state.attempts[id_].verdict
        broken = verdict is not None and verdict.code in (CRASH, TOO_LATE)
        emit = self._warn if broken else self._inform
        if emit is None:
            return
        attempt = attempt_record(self._call, id_)
        usage = None if attempt.answer is None else attempt.answer.usage
        crash = self._call.attempts[id_].crash
        self._write(
            emit,
            f"cascade.attempt_{attempt.outcome}",
            call_id=self._id,
            policy=self._call.name,
            tier=attempt.tier,
            attempt=attempt.number,
            kind=attempt.kind,
            model=attempt.model,
            response_model=None if attempt.answer is None else attempt.answer.model,
            reason=attempt.reason,
            code=None if verdict is None else verdict.code,
            score=None if verdict is None else verdict.score,
            check_s=None if verdict is None else _seconds(verdict.latency),
            started_s=_seconds(attempt.started),
            waited_s=_seconds(attempt.waited),
            latency_s=_seconds(attempt.latency),
            time_to_first_token_s=_seconds(attempt.time_to_first_token),
            input_tokens=None if usage is None else usage.input_tokens,
            output_tokens=None if usage is None else usage.output_tokens,
            **_cost(attempt.cost),
            **({} if crash is None else {"exc_info": crash}),
        )


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _cost(cost: Cost) -> dict[str, Any]:
    return {"cost_low": cost.low, "cost_high": cost.high, "cost_basis": cost.basis}


def _outcome(error: BaseException | None) -> str:
    if isinstance(error, CascadeExhausted):
        return "exhausted"
    if isinstance(error, DeadlineExceededError):
        return "deadline"
    return "error" if isinstance(error, Exception) else "cancelled"
