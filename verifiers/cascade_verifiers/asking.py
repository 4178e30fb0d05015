"""Asking one part of a composite: what it says, or that it crashed, which is an abstention."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Sequence
from typing import Any

from cascade.context import spending
from cascade.cost import FREE, Cost, total
from cascade.types import Answer, Request
from cascade.verdict import Verdict, Verifier
from cascade.verify import verifier_name


def ask(part: Verifier, request: Request, answer: Answer) -> Verdict | Awaitable[Verdict]:
    """What ``part`` says; a verdict at once where it does not need to wait."""
    try:
        found = part.verify(request, answer)
        return found if inspect.isawaitable(found) else _checked(found)
    except Exception as error:  # noqa: BLE001  # a crash is an abstention, with its reason
        return _crashed(part, error)


async def settle(part: Verifier, found: Verdict | Awaitable[Verdict]) -> Verdict:
    """The verdict that `ask` gave or promised."""
    if isinstance(found, Verdict):
        return found
    with spending() as spent:
        try:
            return _checked(await found)
        except Exception as error:  # noqa: BLE001  # as above; cancellation is no Exception
            return _crashed(part, error, cost=total(spent))


async def ask_group(
    part: Verifier, request: Request, answers: Sequence[Answer]
) -> Sequence[Verdict]:
    """What ``part`` says of an ensemble's answers; it has ``verify_group``."""
    with spending() as spent:
        try:
            return await group(part, request, answers)
        except Exception as error:  # noqa: BLE001  # as above
            # The check is one, and so is what it cost.
            first = _crashed(part, error, cost=total(spent))
            return [first, *[_crashed(part, error)] * (len(answers) - 1)]


async def group(part: Any, request: Request, answers: Sequence[Answer]) -> Sequence[Verdict]:
    """As `ask_group`, and a crash stays an exception."""
    found = part.verify_group(request, answers)
    verdicts: Sequence[Verdict] = await found if inspect.isawaitable(found) else found
    if len(verdicts) != len(answers):
        raise TypeError(f"{len(verdicts)} verdicts on {len(answers)} answers")
    return [_checked(verdict) for verdict in verdicts]


def _checked(found: object) -> Verdict:
    if isinstance(found, Verdict):
        return found
    raise TypeError(f"a verifier returns a Verdict; got {type(found).__name__}")


def _crashed(part: Verifier, error: Exception, *, cost: Cost = FREE) -> Verdict:
    reason = f"{verifier_name(part)} crashed: {type(error).__name__}: {error}"
    return Verdict.abstain(reason[:300], code="check.crash", cost=cost)
