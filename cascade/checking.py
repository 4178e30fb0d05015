"""Running a verifier, anyone's code: a crash is an abstention, and what it spends counts."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from cascade.asking import LiveAttempt, being_cancelled
from cascade.context import Check, current_check
from cascade.cost import FREE, Cost
from cascade.types import Request
from cascade.verdict import CRASH, Verdict, Verifier

if TYPE_CHECKING:
    from cascade.engine import Engine

V = TypeVar("V")


async def check(
    engine: Engine,
    verifier: Verifier,
    request: Request,
    attempt: LiveAttempt,
    before_waiting: Callable[[], None] | None = None,
) -> Verdict:
    """The verdict on one answer; an abstention with the reason when the verifier crashes.

    ``before_waiting`` is called when the verdict has to be waited for.
    """
    verdict = await _guarded(
        engine,
        attempt.spent,
        verifier.verify,
        (request, attempt.answer),
        _verdict,
        before_waiting,
    )
    return verdict if isinstance(verdict, Verdict) else _crash(verdict, attempt)


async def check_group(
    engine: Engine,
    verify_group: Callable[..., Any],
    request: Request,
    attempts: Sequence[LiveAttempt],
) -> tuple[Verdict, ...]:
    """The verdicts on an ensemble, in order; all abstentions when the verifier crashes."""
    answers = [attempt.answer for attempt in attempts]

    def verdicts_of(value: Any) -> tuple[Verdict, ...]:
        verdicts = tuple(_verdict(verdict) for verdict in value)
        if len(verdicts) != len(answers):
            raise TypeError(f"{len(verdicts)} verdicts on {len(answers)} answers")
        return verdicts

    spent: list[Cost] = []
    verdicts: tuple[Verdict, ...] = ()
    try:
        made = await _guarded(engine, spent, verify_group, (request, answers), verdicts_of)
        if isinstance(made, tuple):
            verdicts = made
        else:
            verdicts = tuple(_crash(made, attempt) for attempt in attempts)
    finally:
        # The check is one, so what it spent is charged once: as its verdicts say, if they do.
        if all(verdict.cost == FREE for verdict in verdicts):
            attempts[0].spent.extend(spent)
    return verdicts


async def _guarded(
    engine: Engine,
    spent: list[Cost],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    read: Callable[[Any], V],
    before_waiting: Callable[[], None] | None = None,
) -> V | BaseException:
    """What ``read`` makes of the function's value; the exception when there is one."""
    token = current_check.set(Check(engine, spent))
    try:
        value = function(*arguments)
        # Verdicts come first: most checks are sync, and asking what is awaitable is slow.
        if not isinstance(value, Verdict) and inspect.isawaitable(value):
            if before_waiting is not None:
                before_waiting()
            value = await value
        return read(value)
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and being_cancelled():
            raise
        return error
    finally:
        current_check.reset(token)


def _verdict(value: Any) -> Verdict:
    if not isinstance(value, Verdict):
        raise TypeError(f"a verifier returns a Verdict; got {type(value).__name__}")
    return value


def _crash(error: BaseException, attempt: LiveAttempt) -> Verdict:
    attempt.crash = error
    return Verdict.abstain(f"the verifier crashed: {type(error).__name__}: {error}", code=CRASH)
