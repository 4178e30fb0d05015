"""`cascade` itself, and the engine that it uses: one for each running event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Unpack

from anyio.lowlevel import RunVar

from cascade.engine import Engine
from cascade.finding import PolicyLike
from cascade.overrides import Overrides
from cascade.project import open_project
from cascade.result import Result
from cascade.types import Prompt


async def cascade(
    policy: PolicyLike,
    prompt: Prompt,
    *,
    start: str | int | None = None,
    variables: Mapping[str, str] | None = None,
    **overrides: Unpack[Overrides],
) -> Result:
    """Answer a prompt with the cheapest tier whose answer passes its check.

    Args:
        policy: a `Policy`, the path of a policy file, or the name of a task of the project or of
            a policy on the search path. Or an `Entry`, whose router picks one.
        prompt: text, a list of chat messages, or a `Request`.
        start: the tier to begin at, by name or position; by default the policy's router says, and
            without one it is the first.
        variables: values for the ``{{name}}`` places of the tiers' templates.
        **overrides: ``start_after``, ``prefer``, ``grace``, ``deadline``, ``exhausted``: instead
            of the policy's own, for this call. ``effort`` is ``fast``, ``balanced`` or ``best``:
            see ``Policy.efforts``. ``max_cost`` is what the call may cost at the most, in US
            dollars: no model is called that might exceed it.

    Returns:
        The result, with every attempt, its cost and its time.

    Raises:
        CascadeExhausted: every tier was rejected or failed.
        DeadlineExceededError: the deadline passed first.
        BudgetExceededError: there was no accepted answer, and no money for a further attempt.
        ConfigError: the policy cannot run (unknown model, missing key, …); nothing was called.
        PromptError: the prompt or its variables do not fit; nothing was called.
    """
    engine = await default_engine()
    return await engine.run(policy, prompt, start=start, variables=variables, **overrides)


_default: RunVar[tuple[Engine, AsyncGenerator[Engine, None]] | None] = RunVar(
    "cascade_engine", None
)


async def default_engine() -> Engine:
    """The engine of the running loop: made when first needed, closed when the loop ends.

    Of the project around the working directory at that moment, if there is one.
    """
    held = _default.get()
    if held is None:
        # A loop that ends closes the async generators begun on it (asyncio.run and trio.run both
        # do), which is the only hook for "the loop is about to end" that both offer.
        lifetime = _lifetime()
        held = (await anext(lifetime), lifetime)
        _default.set(held)
    return held[0]


async def _lifetime() -> AsyncGenerator[Engine, None]:
    engine = Engine(project=open_project(None))
    try:
        yield engine
    finally:
        # The engine leads to the loop, and the loop is the key under which the engine is kept.
        _default.set(None)
        await engine.aclose()
