"""How a verifier calls a model: through the engine that runs the call it judges."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cascade.cost import Cost
from cascade.errors import ConfigError
from cascade.types import Answer, Request

if TYPE_CHECKING:
    from cascade.engine import Engine
    from cascade.policy import Model


@dataclass(slots=True)
class Check:
    """The check that is running: its engine, and what its model calls have cost so far."""

    engine: Engine
    spent: list[Cost] = field(default_factory=list)


current_check: ContextVar[Check | None] = ContextVar("cascade_check", default=None)


async def call_model(model: Model, request: Request) -> tuple[Answer, Cost]:
    """Call a model from inside a verifier; the engine counts the cost even if it is cut short.

    Args:
        model: ``"provider:model"``, a function or a `Provider`.
        request: what to send.

    Returns:
        The answer and what it cost; put the cost into the verdict.

    Raises:
        ProviderError: the call failed.
        ConfigError: not inside a check, or no such model.
    """
    check = current_check.get()
    if check is None:
        raise ConfigError("call_model() works inside a verifier, while an engine runs the call")
    return await check.engine.complete(model, request, spent=check.spent)
