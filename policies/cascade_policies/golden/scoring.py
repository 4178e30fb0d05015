"""Scoring answers: sync or async scorers, models among them, with their cost."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import msgspec

from cascade.context import Check, current_check
from cascade.errors import BudgetExceededError
from cascade.purse import Purse
from cascade.types import Answer, ToolCall
from cascade_policies.golden.golden_set import GoldenRow
from cascade_policies.golden.scorer import Score, Scorer, ScorerError

if TYPE_CHECKING:
    from cascade.engine import Engine
    from cascade.targets import Target

SCORING = "scoring"
"""What a budget calls the policy whose calls are a scorer's."""


async def score_answer(
    scorer: Scorer,
    row: GoldenRow,
    answer: Answer,
    *,
    engine: Engine | None = None,
    maker: Target | None = None,
) -> Score:
    """What the scorer says of an answer.

    Args:
        scorer: says it.
        row: what was asked, and the reference.
        answer: to it.
        engine: through which a scorer calls models; needed by those that do. Its budget must
            allow them.
        maker: the model that made the answer, so that a judge can tell whether it is itself.

    Raises:
        ScorerError: the scorer crashed, or returned something else; it names the row.
        BudgetExceededError: there is no money for a model that it asks.
    """
    token = None
    if engine is not None:
        makers = () if maker is None else ((answer, maker),)
        purse = None if engine.budget is None else Purse(SCORING, engine.budget, None)
        token = current_check.set(Check(engine, makers=makers, purse=purse))
    try:
        found: Any = scorer.score(row, answer)
        if inspect.isawaitable(found):
            found = await found
    except BudgetExceededError:
        raise
    except ScorerError as error:
        raise ScorerError(f"row {row.id!r}: {error.message}") from error
    except Exception as error:
        what = f"{type(error).__name__}: {error}"[:300]
        raise ScorerError(f"row {row.id!r}: the scorer crashed: {what}") from error
    finally:
        if token is not None:
            current_check.reset(token)
    if not isinstance(found, Score):
        kind = type(found).__name__
        raise ScorerError(f"row {row.id!r}: the scorer returned {kind}, and no Score")
    return found


def answer_of(output: Any) -> Answer:
    """A recorded output as an answer: text, or calls as recorders keep them.

    Calls are a list of ``{name: arguments}``, or of ``{"name": …, "arguments": …}``; the
    arguments are JSON, as text or as values. Anything else is its JSON text.
    """
    if isinstance(output, str):
        return Answer(output)
    if isinstance(output, list) and output and all(map(_is_call, output)):
        return Answer(tool_calls=tuple(map(_call, output)))
    return Answer(msgspec.json.encode(output).decode())


def _is_call(value: Any) -> bool:
    return isinstance(value, dict) and (len(value) == 1 or {"name", "arguments"} <= value.keys())


def _call(value: dict[str, Any]) -> ToolCall:
    if len(value) == 1:
        ((name, arguments),) = value.items()
    else:
        name, arguments = value["name"], value["arguments"]
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments).decode()
    return ToolCall(str(name), arguments)
