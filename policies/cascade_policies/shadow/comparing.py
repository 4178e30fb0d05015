"""Whether an answer is as good as the one of the top tier."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from cascade.context import Check, current_check
from cascade.engine import Engine
from cascade.errors import ConfigError
from cascade.purse import Purse
from cascade.result import Result
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade.verify import Check as Checker
from cascade.verify import as_verifier

Found = Verdict | float | bool | None
Comparer = Callable[[Request, Result, Result], Found | Awaitable[Found]]
"""Called with what was asked, the answer given, and that of the top tier. Gives True where the
first is right, a score in [0, 1], a `Verdict`, or None where it cannot tell."""


def exact(request: Request, given: Result, top: Result) -> bool:
    """Whether both say the same, white space aside, and ask for the same tools."""
    del request
    return _said(given) == _said(top)


def _said(result: Result) -> object:
    calls = [(call.name, call.arguments) for call in result.answer.tool_calls]
    return result.text.split(), calls


def checked_by(make: Callable[[Answer], Checker]) -> Comparer:
    """A comparer from a verifier that knows the top tier's answer: ``make(answer)`` makes it.

    As in ``checked_by(lambda top: Number(expected=top.text))``, or with a judge who is told what
    the top tier says. A score is taken as such, an abstention as not to be told.
    """

    async def compare(request: Request, given: Result, top: Result) -> Verdict:
        verifier = as_verifier(make(top.answer))
        # What the tier's own verifier leaves of an answer is what the caller saw.
        found = verifier.verify(request, Answer(given.text, given.answer.tool_calls))
        return await found if inspect.isawaitable(found) else found

    return compare


async def error_of(
    engine: Engine, policy: str, compare: Comparer, request: Request, given: Result, top: Result
) -> float | None:
    """How wrong the answer given is, in [0, 1]; None where the comparer cannot tell.

    The comparer may call models, as a verifier may; the engine's budget pays, in the policy's name.

    Raises:
        ConfigError: it returns something else.
        Exception: what it raises.
    """
    purse = None if engine.budget is None else Purse(policy, engine.budget, None)
    token = current_check.set(Check(engine, purse=purse))
    try:
        found = compare(request, given, top)
        told = await found if inspect.isawaitable(found) else found
    finally:
        current_check.reset(token)
    if isinstance(told, Verdict):
        if told.outcome == "abstained":
            return None
        told = float(told.accepted) if told.score is None else told.score
    if told is None:
        return None
    return 1.0 - _score(told)


def _score(told: object) -> float:
    # A NaN fails the comparison, as it should.
    if not (isinstance(told, int | float) and 0 <= told <= 1):
        raise ConfigError(f"a comparer gives True, False, a score in [0, 1] or None; got {told!r}")
    return float(told)
