"""A model that answers, delays, fails and streams as told, on any clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from cascade.errors import UnknownModelError, nearest
from cascade.provider import Call, ProviderContext
from cascade.types import Answer, TokenLogprob, ToolCall, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """What a `ScriptedModel` does in one call.

    Attributes:
        text: the answer; None declines ("not mine").
        delay: seconds before the first piece of text.
        chunks: how many pieces the text is streamed in.
        chunk_delay: seconds between two pieces.
        error: raised instead of answering, after ``delay``.
    """

    text: str | None = ""
    delay: float = 0.0
    chunks: int = 1
    chunk_delay: float = 0.0
    error: Exception | None = None
    finish_reason: str | None = "stop"
    usage: Usage | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(slots=True)
class ScriptedCall:
    """The record of one call: clock times, and how it ended."""

    call: Call
    started: float
    ended: float | None = None
    outcome: str = "running"


class ScriptedModel:
    """A model that follows a script: one step a call, the last step again and again.

    A step is a `Scripted`, or text for an answer at once. It is a provider, so it can be given
    to a `Tier` as it is. ``calls`` is the ledger of what was asked of it.
    """

    def __init__(self, *steps: Scripted | str, name: str = "scripted") -> None:
        self.name = name
        self.calls: list[ScriptedCall] = []
        self._steps = [Scripted(text=s) if isinstance(s, str) else s for s in steps or ("",)]

    async def complete(self, call: Call, /) -> Answer | None:
        """Do the next step."""
        record = ScriptedCall(call, anyio.current_time())
        step = self._steps[min(len(self.calls), len(self._steps) - 1)]
        self.calls.append(record)
        record.outcome = "cancelled"  # unless one of the lines below is reached
        try:
            answer = await self._follow(step, call)
            record.outcome = "answered"
        except Exception:
            record.outcome = "failed"
            raise
        finally:
            record.ended = anyio.current_time()
        return answer

    async def _follow(self, step: Scripted, call: Call) -> Answer | None:
        if step.delay:
            await anyio.sleep(step.delay)
        if step.error is not None:
            raise step.error
        if step.text is None:
            return None
        size = max(1, -(-len(step.text) // step.chunks))
        for start in range(0, len(step.text), size):
            if start and step.chunk_delay:
                await anyio.sleep(step.chunk_delay)
            call.on_delta(step.text[start : start + size])
        return Answer(
            step.text,
            step.tool_calls,
            step.finish_reason,
            step.usage,
            step.logprobs,
            self.name,
        )


_named: dict[str, ScriptedModel] = {}


def script(name: str, *steps: Scripted | str) -> ScriptedModel:
    """Make a scripted model that ``scripted:NAME`` leads to, in place of one of that name."""
    _named[name] = model = ScriptedModel(*steps, name=f"scripted:{name}")
    return model


class ScriptedProvider:
    """Scripted models by name, as made with `script`."""

    def __init__(self, context: ProviderContext) -> None:
        del context

    def check(self, model: str, params: Mapping[str, Any]) -> None:
        """Refuse a name that was not scripted."""
        del params
        if model not in _named:
            raise UnknownModelError(f"scripted model {model!r}: {nearest(model, _named)}")

    async def complete(self, call: Call, /) -> Answer | None:
        """The answer of the model of that name."""
        return await _named[call.model].complete(call)
