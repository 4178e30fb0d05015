"""Chat messages in the shapes that logs have them in: system, prompt, answer and tool calls."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from cascade_policies.audit.calls import ToolUse

MOST_MESSAGES = 200
"""Messages of a request that are read: the first one, and the last."""

_MOST_PARTS = 200


class Asked(NamedTuple):
    """A request: ``history`` is all that was said before the last user message."""

    system: str
    prompt: str
    history: str
    after_tools: bool


def full_text(question: Asked) -> str:
    """All of a request: equal for equal ones."""
    return "\n".join((question.system, question.history, question.prompt))


class Answered(NamedTuple):
    """An answer. ``found`` is False when there is none."""

    text: str
    tools: tuple[ToolUse, ...]
    found: bool


def asked(messages: object, system: object = None) -> Asked | None:
    """From text, or from messages in the form of chat completions, Anthropic or OpenTelemetry."""
    if isinstance(messages, str):
        return Asked(text_of(system), messages, "", False)
    if not isinstance(messages, list) or not messages:
        return None
    if len(messages) > MOST_MESSAGES:
        messages = [messages[0], *messages[1 - MOST_MESSAGES :]]
    instructions, said = [text_of(system)], []
    prompt, after_tools = None, False
    for message in messages:
        if not isinstance(message, Mapping):
            continue
        role, text = message.get("role"), text_of(message)
        if role in ("system", "developer"):
            instructions.append(text)
            continue
        after_tools = after_tools or role == "tool" or _has_tool_result(message)
        if role == "user" and text:
            prompt = text
        said.append(text)
    if prompt is None:
        return None
    last = len(said) - 1 - said[::-1].index(prompt)
    return Asked("\n".join(filter(None, instructions)), prompt, "\n".join(said[:last]), after_tools)


def text_of(value: object) -> str:
    """The text of a message, of its content, or of a list of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        for key in ("content", "parts", "text"):
            if value.get(key):
                return text_of_parts(value[key])
        return ""
    return text_of_parts(value)


def text_of_parts(value: object) -> str:
    """The text parts joined; a part is text, or has it as ``text`` or ``content``."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    texts = []
    for part in value[:_MOST_PARTS]:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping) and part.get("type") not in ("tool_use", "tool_call"):
            found = part.get("text", part.get("content"))
            if isinstance(found, str):
                texts.append(found)
    return "".join(texts)


def answered(value: object) -> Answered:
    """From text, or from the body of a response in any of the known forms."""
    if isinstance(value, str):
        return Answered(value, (), True)
    message = _message(value)
    if message is None:
        return Answered("", (), False)
    return Answered(text_of(message), tuple(_tools(message)), True)


def _message(value: object) -> Mapping[str, Any] | None:
    """The answer's message: of chat completions, Responses, Anthropic, or a list of messages."""
    if isinstance(value, list):
        found = [item for item in value[:_MOST_PARTS] if isinstance(item, Mapping)]
        return found[0] if found else None
    if not isinstance(value, Mapping):
        return None
    choices = value.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        message = choices[0].get("message")
        return message if isinstance(message, Mapping) else choices[0]
    output = value.get("output")
    if isinstance(output, list):  # Responses: items, of which messages have content
        parts: list[Any] = []
        for item in output[:_MOST_PARTS]:
            if isinstance(item, Mapping):
                content = item.get("content")
                parts += content if isinstance(content, list) else [item]
        return {"content": parts}
    if isinstance(output, str):
        return {"content": output}
    return (
        value if any(key in value for key in ("content", "parts", "text", "tool_calls")) else None
    )


def _tools(message: Mapping[str, Any]) -> Iterable[ToolUse]:
    calls = message.get("tool_calls")
    for call in calls[:_MOST_PARTS] if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            yield _tool(function.get("name"), function.get("arguments"))
    for key in ("content", "parts"):
        parts = message.get(key)
        for part in parts[:_MOST_PARTS] if isinstance(parts, list) else ():
            if not isinstance(part, Mapping):
                continue
            kind = part.get("type")
            if kind in ("tool_use", "tool_call", "function_call"):
                yield _tool(part.get("name"), part.get("input", part.get("arguments")))


def _tool(name: object, arguments: object) -> ToolUse:
    if not isinstance(arguments, str):
        arguments = encode(arguments)
    return ToolUse(name if isinstance(name, str) else "", arguments)


def encode(value: object) -> str:
    """What was parsed from JSON, as JSON text again."""
    try:
        return msgspec.json.encode(value).decode()
    except (RecursionError, TypeError, ValueError, OverflowError):
        return "{}"


def parsed(value: object) -> object:
    """JSON in a text as what it says, anything else as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _has_tool_result(message: Mapping[str, Any]) -> bool:
    for key in ("content", "parts"):
        parts = message.get(key)
        if isinstance(parts, Sequence) and not isinstance(parts, str):
            for part in parts[:_MOST_PARTS]:
                if isinstance(part, Mapping) and part.get("type") in (
                    "tool_result",
                    "tool_call_response",
                ):
                    return True
    return False
