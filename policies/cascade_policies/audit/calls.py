"""One model call as the audit sees it, whatever it was read from."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

from cascade.billing import answered
from cascade.cost import Cost, Price
from cascade.prices import published_price
from cascade.types import Answer, Message, Request, Usage

MAX_TEXT: Final = 16_384
"""Characters of a prompt or an answer that are looked at: of a longer one, its two ends."""

MOST_UNREAD: Final = 20
"""Unread lines that are named one by one; the others are counted."""

_PROVIDERS: Final[Mapping[str, str]] = {
    # OpenTelemetry's gen_ai.provider.name, and what gateways write, to names of our own.
    "azure": "openai",
    "azure.ai.openai": "openai",
    "az.ai.openai": "openai",
    "gcp.gemini": "gemini",
    "gcp.gen_ai": "gemini",
    "gcp.vertex_ai": "gemini",
    "google": "gemini",
    "vertex_ai": "gemini",
}
_FAMILIES: Final = (
    ("openai", re.compile(r"(gpt|chatgpt|o[1-9])\b", re.ASCII)),
    ("anthropic", re.compile(r"claude\b", re.ASCII)),
    ("gemini", re.compile(r"gemini\b", re.ASCII)),
)


class ToolUse(Struct, frozen=True):
    """A tool call of an answer; ``arguments`` is JSON text as the model wrote it."""

    name: str
    arguments: str


class Call(Struct, frozen=True, kw_only=True):
    """One call.

    Attributes:
        line: where it was read, from 1.
        place: call site or task, as far as the source names one; else "".
        session: conversation or trace; else "".
        model: ``provider:model``, the model alone where no provider is known, or "".
        system: the system message.
        prompt: the last user message; None where it was not kept.
        prompt_key: equal for equal requests; empty where that cannot be told.
        answer: None where it was not kept, or there is none.
        answer_key: equal for equal answers; empty where that cannot be told.
        answer_chars: None where it is not known.
        tools: the tool calls of the answer.
        after_tools: whether results of tools are among the messages.
        began: Unix seconds.
        latency: seconds.
        cost: in US dollars, as recorded, or by published prices.
        failed: there was an error instead of an answer.
    """

    line: int
    place: str = ""
    session: str = ""
    model: str = ""
    system: str = ""
    prompt: str | None = None
    prompt_key: bytes = b""
    answer: str | None = None
    answer_key: bytes = b""
    answer_chars: int | None = None
    tools: tuple[ToolUse, ...] = ()
    after_tools: bool = False
    began: float | None = None
    latency: float | None = None
    usage: Usage | None = None
    cost: Cost = field(default_factory=Cost.unknown)
    failed: bool = False


class Reading(Struct, kw_only=True):
    """What was read of a source, and what could not be.

    Attributes:
        form: ``ledger``, ``spans`` or ``requests``.
        calls: in the order of the source.
        lines: how many there were; of a ledger, its calls.
        other: lines that were read and are no model calls.
        unread: the first lines that could not be read, each with its reason.
        reasons: how many lines could not be read, by reason.
    """

    source: str
    form: str = ""
    calls: list[Call] = field(default_factory=list)
    lines: int = 0
    other: int = 0
    unread: list[tuple[int, str]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def skip(self, line: int, reason: str) -> None:
        """Count a line that could not be read."""
        self.reasons[reason] += 1
        if len(self.unread) < MOST_UNREAD:
            self.unread.append((line, reason))


def text_key(text: str) -> bytes:
    """Equal for equal texts; short, so that a hundred thousand of them take little room."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def shorten(text: str) -> str:
    """At most `MAX_TEXT` characters: both ends, where a template's own words usually stand."""
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return text[:half] + text[-half:]


def model_name(provider: str, model: str) -> str:
    """``provider:model`` from what a log says; the model alone where no provider can be told."""
    before, slash, after = model.partition("/")
    if slash and not provider and after:
        provider, model = before, after
    elif slash and _named(before) == _named(provider):
        model = after
    if not provider:
        provider = next((name for name, known in _FAMILIES if known.match(model)), "")
    provider = _named(provider)
    return f"{provider}:{model}" if provider and model else model


def _named(provider: str) -> str:
    return _PROVIDERS.get(provider.lower(), provider.lower())


def price_of(model: str) -> Price | None:
    """The published price of ``provider:model``, or None."""
    provider, colon, name = model.partition(":")
    return published_price(provider, name) if colon else None


def call_cost(
    model: str, usage: Usage | None, prompt: str | None, answer: str | None, recorded: object
) -> Cost:
    """What is recorded; else tokens at the published price; else an estimate from the text.

    Unknown where neither a price nor anything to count is there.
    """
    if (dollars := number(recorded)) is not None and dollars >= 0:
        return Cost(dollars, dollars)
    price = price_of(model)
    if price is None:
        return Cost.unknown()
    exact = price.of(usage) if usage is not None else None
    if exact is not None:
        return Cost(exact, exact)
    if prompt is None or answer is None:
        return Cost.unknown()
    return answered(price, Request((Message("user", prompt),)), Answer(answer))


def number(value: object) -> float | None:
    """A finite number, also when written as text; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and len(value) > 40:
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def count(value: object) -> int | None:
    """A token count: a whole number from 0 to a billion."""
    found = number(value)
    return int(found) if found is not None and 0 <= found <= 1e9 else None
