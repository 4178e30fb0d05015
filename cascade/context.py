"""How a verifier or a router calls a model: through the engine that runs the call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import anyio
from msgspec import Struct, field
from msgspec.structs import replace

from cascade.cost import FREE, Cost
from cascade.errors import ConfigError
from cascade.types import Answer, Request

if TYPE_CHECKING:
    from cascade.engine import Engine
    from cascade.policy import Model
    from cascade.purse import Purse
    from cascade.targets import Target


class Asked(Struct, eq=False):
    """A question that `call_model_once` put to a model; ``reply`` is there when it succeeded."""

    model: Model
    request: Request
    done: anyio.Event
    reply: Answer | None = None


class Check(Struct):
    """The check that is running.

    Attributes:
        engine: what runs the call.
        spent: what the check's model calls have cost so far.
        makers: the answers that are checked, each with the model that made it.
        asked: what was asked with `call_model_once`; one list for all checks of a call.
        purse: what pays for the check's model calls; None without a budget.
    """

    engine: Engine
    spent: list[Cost] = field(default_factory=list)
    makers: Sequence[tuple[Answer, Target]] = ()
    asked: list[Asked] = field(default_factory=list)
    purse: Purse | None = None

    def maker(self, answer: Answer) -> Target | None:
        """The model that made ``answer``; None when that is not clear."""
        for made, target in self.makers:
            if made is answer:
                return target
        # A composite shows its parts a copy, without what another part has taken off the text.
        targets = {
            (id(target.provider), target.name): target
            for made, target in self.makers
            if replace(answer, text=made.text) == made
        }
        return next(iter(targets.values())) if len(targets) == 1 else None


current_check: ContextVar[Check | None] = ContextVar("cascade_check", default=None)


async def call_model(model: Model, request: Request) -> tuple[Answer, Cost]:
    """Call a model from inside a verifier; the engine counts the cost even if it is cut short.

    Args:
        model: ``"provider:model"``, a function, a `Provider` or a `ModelSpec`.
        request: what to send.

    Returns:
        The answer and what it cost; put the cost into the verdict.

    Raises:
        ProviderError: the call failed.
        ConfigError: not inside a check, or no such model.
    """
    check = _running("call_model")
    return await check.engine.complete(model, request, spent=check.spent, purse=check.purse)


async def call_model_once(model: Model, request: Request) -> tuple[Answer, Cost]:
    """As `call_model`, and the same question to the same model is asked once in a call.

    The second one to ask waits for the first one's reply, and pays nothing. A call that failed
    or was cut short is not kept: who asks next calls again.
    """
    check = _running("call_model_once")
    while (held := _find(check.asked, model, request)) is not None:
        await held.done.wait()
        if held.reply is not None:
            return held.reply, FREE
    held = Asked(model, request, anyio.Event())
    check.asked.append(held)
    try:
        reply, cost = await call_model(model, request)
        held.reply = reply
    finally:
        if held.reply is None:
            check.asked.remove(held)
        held.done.set()
    return reply, cost


async def call_maker(answer: Answer, request: Request) -> tuple[Answer, Cost]:
    """Call the model that made ``answer``, as its tier has it (address, key and price).

    Raises:
        ProviderError: the call failed.
        ConfigError: not inside a check, or it is not clear which model made the answer.
    """
    check = _running("call_maker")
    target = check.maker(answer)
    if target is None:
        raise ConfigError("call_maker(): it is not clear which model made this answer")
    return await check.engine.complete_target(target, request, spent=check.spent, purse=check.purse)


@contextmanager
def spending() -> Iterator[list[Cost]]:
    """What the model calls made inside cost, each as soon as it ends, however it ends.

    Right also where several tasks of one check call models at once. Outside a check, nothing.
    """
    check = current_check.get()
    if check is None:
        yield []
        return
    inner = replace(check, spent=[])
    token = current_check.set(inner)
    try:
        yield inner.spent
    finally:
        current_check.reset(token)
        check.spent.extend(inner.spent)


def _running(function: str) -> Check:
    check = current_check.get()
    if check is None:
        raise ConfigError(f"{function}() works inside a verifier, while an engine runs the call")
    return check


def _find(asked: Sequence[Asked], model: Model, request: Request) -> Asked | None:
    # A call asks its judges a few questions: comparing them is cheaper than a key of all texts.
    for held in asked:
        same = held.model is model or (isinstance(model, str) and held.model == model)
        if same and held.request == request:
            return held
    return None
