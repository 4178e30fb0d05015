"""Running a verifier, anyone's code: a crash is an abstention, and what it spends counts."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from cascade.asking import LiveAttempt
from cascade.cancellation import being_cancelled
from cascade.context import Asked, Check, current_check
from cascade.cost import FREE, Cost
from cascade.errors import BudgetExceededError
from cascade.types import Request
from cascade.verdict import CRASH, UNPAID, Verdict, Verifier

if TYPE_CHECKING:
    from cascade.engine import Engine
    from cascade.purse import Purse


def check(
    engine: Engine,
    verifier: Verifier,
    request: Request,
    attempt: LiveAttempt,
    asked: list[Asked],
    purse: Purse | None = None,
) -> Verdict | Awaitable[Verdict]:
    """The verdict on one answer; an abstention with the reason when the verifier crashes.

    Awaitable only where the verifier's own is. ``asked`` is the call's list of questions to
    judges, so that none is put twice; ``purse`` pays for them.
    """
    answer = attempt.answer
    assert answer is not None
    running = Check(engine, attempt.spent, ((answer, attempt.target),), asked, purse)
    token = current_check.set(running)
    try:
        value: Any = verifier.verify(request, answer)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (anyone's code)
        return _crash(error, attempt)
    finally:
        current_check.reset(token)
    if isinstance(value, Verdict):
        return value
    return _waited_for(value, running, attempt)


async def _waited_for(value: Any, running: Check, attempt: LiveAttempt) -> Verdict:
    token = current_check.set(running)
    try:
        return _verdict(await value if inspect.isawaitable(value) else value)
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
    purse: Purse | None = None,
) -> tuple[Verdict, ...]:
    """The verdicts on an ensemble, in order; all abstentions when the verifier crashes."""
    answers = [attempt.answer for attempt in attempts]
    spent: list[Cost] = []
    verdicts: tuple[Verdict, ...] = ()
    makers = [(a.answer, a.target) for a in attempts if a.answer is not None]
    token = current_check.set(Check(engine, spent, makers, asked, purse))
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
    if isinstance(error, BudgetExceededError):
        return Verdict.abstain(f"no money for the check: {error.message}", code=UNPAID)
    attempt.crash = error
    return Verdict.abstain(f"the verifier crashed: {type(error).__name__}: {error}", code=CRASH)
