"""Running a verifier, anyone's code: a crash is an abstention, and what it spends counts."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from cascade.asking import LiveAttempt, being_cancelled
from cascade.context import Asked, Check, current_check
from cascade.cost import FREE, Cost
from cascade.types import Request
from cascade.verdict import Verdict, Verifier

if TYPE_CHECKING:
    from cascade.engine import Engine

V = TypeVar("V")


async def check(
    engine: Engine,
    verifier: Verifier,
    request: Request,
    attempt: LiveAttempt,
    asked: list[Asked] | None = None,
) -> Verdict:
    """The verdict on one answer; an abstention with the reason when the verifier crashes.

    ``asked`` is the call's list of questions to judges, so that none is put twice.
    """
    answer = attempt.answer
    assert answer is not None
    running = Check(engine, attempt.spent, ((answer, attempt.target),), _own(asked))
    verdict = await _guarded(running, lambda: verifier.verify(request, answer), _verdict)
    return verdict if isinstance(verdict, Verdict) else _crash(verdict)


async def check_group(
    engine: Engine,
    verify_group: Callable[..., Any],
    request: Request,
    attempts: Sequence[LiveAttempt],
    asked: list[Asked] | None = None,
) -> tuple[Verdict, ...]:
    """The verdicts on an ensemble, in order; all abstentions when the verifier crashes."""
    answers = [attempt.answer for attempt in attempts]

    def verdicts_of(value: Any) -> tuple[Verdict, ...]:
        verdicts = tuple(_verdict(verdict) for verdict in value)
        if len(verdicts) != len(answers):
            raise TypeError(f"{len(verdicts)} verdicts on {len(answers)} answers")
        return verdicts

    spent: list[Cost] = []
    makers = [(a.answer, a.target) for a in attempts if a.answer is not None]
    running = Check(engine, spent, makers, _own(asked))
    verdicts: tuple[Verdict, ...] = ()
    try:
        made = await _guarded(running, lambda: verify_group(request, answers), verdicts_of)
        verdicts = made if isinstance(made, tuple) else (_crash(made),) * len(attempts)
    finally:
        # The check is one, so what it spent is charged once: as its verdicts say, if they do.
        if all(verdict.cost == FREE for verdict in verdicts):
            attempts[0].spent.extend(spent)
    return verdicts


async def _guarded(
    running: Check, call: Callable[[], Any], read: Callable[[Any], V]
) -> V | BaseException:
    """What ``read`` makes of the call's value; the exception when there is one."""
    token = current_check.set(running)
    try:
        value = call()
        if inspect.isawaitable(value):
            value = await value
        return read(value)
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and being_cancelled():
            raise
        return error
    finally:
        current_check.reset(token)


def _own(asked: list[Asked] | None) -> list[Asked]:
    return [] if asked is None else asked


def _verdict(value: Any) -> Verdict:
    if not isinstance(value, Verdict):
        raise TypeError(f"a verifier returns a Verdict; got {type(value).__name__}")
    return value


def _crash(error: BaseException) -> Verdict:
    return Verdict.abstain(
        f"the verifier crashed: {type(error).__name__}: {error}", code="check.crash"
    )
