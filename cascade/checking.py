"""Running a verifier, anyone's code: a crash is an abstention, and what it spends counts."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cascade.asking import LiveAttempt, being_cancelled
from cascade.context import Asked, Check, current_check
from cascade.cost import FREE, Cost
from cascade.types import Request
from cascade.verdict import CRASH, Verdict, Verifier

if TYPE_CHECKING:
    from cascade.engine import Engine


async def check(
    engine: Engine,
    verifier: Verifier,
    request: Request,
    attempt: LiveAttempt,
    asked: list[Asked],
    before_waiting: Callable[[], None] | None = None,
) -> Verdict:
    """The verdict on one answer; an abstention with the reason when the verifier crashes.

    ``asked`` is the call's list of questions to judges, so that none is put twice;
    ``before_waiting`` is called when the verdict has to be waited for.
    """
    assert attempt.answer is not None
    makers = ((attempt.answer, attempt.target),)
    token = current_check.set(Check(engine, attempt.spent, makers, asked))
    try:
        value: Any = verifier.verify(request, attempt.answer)
        if isinstance(value, Verdict):
            return value
        if inspect.isawaitable(value):
            if before_waiting is not None:
                before_waiting()
            value = await value
        return _verdict(value)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (anyone's code)
        return _crash(error, attempt)
    finally:
        current_check.reset(token)


async def check_group(
    engine: Engine,
    verify_group: Callable[..., Any],
    request: Request,
    attempts: Sequence[LiveAttempt],
    asked: list[Asked],
) -> tuple[Verdict, ...]:
    """The verdicts on an ensemble, in order; all abstentions when the verifier crashes."""
    answers = [attempt.answer for attempt in attempts]
    spent: list[Cost] = []
    verdicts: tuple[Verdict, ...] = ()
    makers = [(a.answer, a.target) for a in attempts if a.answer is not None]
    token = current_check.set(Check(engine, spent, makers, asked))
    try:
        value = verify_group(request, answers)
        if inspect.isawaitable(value):
            value = await value
        verdicts = tuple(_verdict(verdict) for verdict in value)
        if len(verdicts) != len(answers):
            raise TypeError(f"{len(verdicts)} verdicts on {len(answers)} answers")  # noqa: TRY301
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (anyone's code)
        verdicts = tuple(_crash(error, attempt) for attempt in attempts)
    finally:
        current_check.reset(token)
        # The check is one, so what it spent is charged once: as its verdicts say, if they do.
        if all(verdict.cost == FREE for verdict in verdicts):
            attempts[0].spent.extend(spent)
    return verdicts


def _verdict(value: Any) -> Verdict:
    if not isinstance(value, Verdict):
        raise TypeError(f"a verifier returns a Verdict; got {type(value).__name__}")
    return value


def _crash(error: BaseException, attempt: LiveAttempt) -> Verdict:
    """The abstention that a crash is; a cancellation of ours goes on as it is."""
    if isinstance(error, asyncio.CancelledError) and being_cancelled():
        raise error
    attempt.crash = error
    return Verdict.abstain(f"the verifier crashed: {type(error).__name__}: {error}", code=CRASH)
