"""Prompt templates: text with ``{{name}}`` in it.

Double braces, because prompts are full of JSON, prices and code, where single braces and dollar
signs mean themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from cascade.types import Message, Request

_PLACE = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")


class Template:
    """A template, taken apart once.

    Attributes:
        names: the variables it needs.
    """

    __slots__ = ("_parts", "names")

    def __init__(self, text: str) -> None:
        self._parts = _PLACE.split(text)
        self.names = frozenset(self._parts[1::2])

    def render(self, values: Mapping[str, str]) -> str:
        """The text with every name replaced; a value is never searched for names again."""
        parts = self._parts
        if len(parts) == 1:
            return parts[0]
        return "".join(values[p] if i % 2 else p for i, p in enumerate(parts))


def with_prompt(request: Request, text: str) -> Request:
    """The request with the text of its last user message replaced; other parts stay."""
    messages = list(request.messages)
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "user":
            messages[index] = _with_text(messages[index], text)
            break
    else:
        messages.append(Message("user", text))
    return replace(request, messages=tuple(messages))


def with_system(request: Request, text: str) -> Request:
    """The request with a system message before the others."""
    return replace(request, messages=(Message("system", text), *request.messages))


def with_examples(request: Request, examples: Sequence[tuple[str, str]]) -> Request:
    """The request with the examples as turns of the chat, after what the system says."""
    turns = [
        message
        for asked, answer in examples
        for message in (Message("user", asked), Message("assistant", answer))
    ]
    at = 0
    while at < len(request.messages) and request.messages[at].role in ("system", "developer"):
        at += 1
    return replace(request, messages=(*request.messages[:at], *turns, *request.messages[at:]))


def _with_text(message: Message, text: str) -> Message:
    if message.content is None or isinstance(message.content, str):
        return replace(message, content=text)
    rest: list[Mapping[str, Any]] = [p for p in message.content if p.get("type") != "text"]
    return replace(message, content=({"type": "text", "text": text}, *rest))
