"""Requests in the shape of OpenAI's Responses API.

What a `Request` says in chat-completions terms is written as the Responses API takes it. The
names are those of OpenAI's Python client (openai 3.54, ``types/responses``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cascade.errors import PromptError
from cascade.providers import _chat_shapes as shapes
from cascade.providers._chat_shapes import Refused
from cascade.providers._wire import encode
from cascade.types import Message, Request

_LOGPROBS: Final = "message.output_text.logprobs"
_THOUGHTS: Final = "reasoning.encrypted_content"
_NONE: Final = "the Responses API has none; the provider 'openai' does"

_REFUSED: Final[Mapping[str, str]] = {
    "audio": _NONE,
    "background": "a call that was cancelled would go on, and be billed",
    "conversation": "the answers of all attempts would be added to it, the losers' too",
    "frequency_penalty": _NONE,
    "function_call": "write 'tool_choice'",
    "functions": "write 'tools'",
    "input": "it is set by the tier's 'prompt'",
    "logit_bias": _NONE,
    "max_output_tokens": "write 'max_tokens', as for every provider",
    "messages": "it is set by the tier's 'prompt'",
    "modalities": _NONE,
    "model": "it is set by the tier's 'model'",
    "prediction": _NONE,
    "presence_penalty": _NONE,
    "seed": _NONE,
    "stop": _NONE,
}

_INSIDE: Final[Mapping[str, tuple[str, str]]] = {
    "reasoning_effort": ("reasoning", "effort"),
    "response_format": ("text", "format"),
    "verbosity": ("text", "verbosity"),
}
_WRITTEN: Final = frozenset(
    ("logprobs", "max_completion_tokens", "max_tokens", "n", "tool_choice", "tools", *_INSIDE)
)


def refusal(params: Mapping[str, Any]) -> str | None:
    """Why these parameters cannot be sent, naming the first that cannot; None when all can."""
    try:
        _parameters(params)
    except Refused as error:
        return str(error)
    return None


def request_body(model: str, request: Request) -> tuple[bytes, bool]:
    """The body to send, and whether it asks for a stream.

    Raises:
        PromptError: something in the request has no place in it, or is not JSON.
    """
    try:
        body = _parameters(request.params)
    except Refused as error:
        raise PromptError(str(error)) from None
    if tools := request.tools or request.params.get("tools"):
        body["tools"] = [_tool(tool) for tool in tools]
    items = list(_items(request.messages))
    return encode({"model": model, **body, "input": items}), body["stream"]


def _parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """The members of the body that the parameters make. Those that are not known here are passed
    on: the API refuses what it does not know.

    Raises:
        Refused: one cannot be sent.
    """
    given = {name: value for name, value in params.items() if value is not None}
    for name, reason in _REFUSED.items():
        if name in given:
            raise Refused(name, reason)
    if given.get("n", 1) != 1:
        raise Refused("n", "a call takes one answer")
    for name in ("logprobs", "stream"):
        if not isinstance(given.get(name, True), bool):
            raise Refused(name, "write true or false")
    # The API keeps every answer for a month unless it is told not to, the losers' too.
    body: dict[str, Any] = {"stream": True, "store": False}
    body.update((name, value) for name, value in given.items() if name not in _WRITTEN)
    included = given.get("include", ())
    if isinstance(included, Sequence) and _THOUGHTS in included:
        raise Refused("include", f"'{_THOUGHTS}' does nothing, as what a model thought is not kept")
    limit = shapes.one_of(given, "max_tokens", "max_completion_tokens")
    if limit is not None:
        body["max_output_tokens"] = limit
    if given.get("logprobs"):
        body["include"] = [*included, _LOGPROBS]
    if "tool_choice" in given:
        body["tool_choice"] = _choice(given["tool_choice"])
    for name in _INSIDE:
        if name in given:
            _put_inside(body, name, given[name])
    return body


def _put_inside(body: dict[str, Any], name: str, value: Any) -> None:
    outer, inner = _INSIDE[name]
    holder = body.get(outer, {})
    if not isinstance(holder, Mapping):
        raise Refused(outer, "write a table")
    if inner in holder:
        raise Refused(name, f"'{outer}.{inner}' says it too: keep one of them")
    if name == "response_format":
        shapes.schema_of(value)
        value = _flat(value)
    body[outer] = {**holder, inner: value}


def _flat(value: Any) -> Any:
    """``{"type": "x", "x": {…}}``, as chat completions nests it, without the nesting."""
    if not isinstance(value, Mapping):
        return value
    kind = value.get("type")
    inner = value.get(kind) if isinstance(kind, str) else None
    return {"type": kind, **inner} if isinstance(inner, Mapping) else value


def _choice(value: Any) -> Any:
    flat = _flat(value)
    if isinstance(flat, Mapping) and isinstance(flat.get("tools"), list):  # allowed_tools
        return {**flat, "tools": [_flat(tool) for tool in flat["tools"]]}
    return flat


def _tool(tool: Mapping[str, Any]) -> Any:
    flat = _flat(tool)
    if flat.get("type") == "custom":
        raise PromptError("a tool of type 'custom': its calls are no JSON; give it as a function")
    if flat.get("type") == "function":
        # The Responses API is strict where nothing is said, chat completions is not.
        return {"strict": False, **flat}
    return flat


def _items(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    """The input items of the messages: one for the content of each, and one for each tool call."""
    waiting: list[str] = []  # ids of calls that no message has answered yet
    for message in messages:
        if message.role == "tool":
            yield _result(message, waiting)
            continue
        if message.name is not None:
            raise PromptError(
                f"message name {message.name!r}: the Responses API has none; "
                "write it into the content"
            )
        if message.content or not message.tool_calls:
            yield {"role": message.role, "content": _content(message)}
        if message.tool_calls:
            waiting.clear()
        for call in message.tool_calls:
            # Not every provider gives its calls an id; its answers then follow in the same order.
            waiting.append(call.id or f"call_{len(waiting)}")
            yield {
                "type": "function_call",
                "call_id": waiting[-1],
                "name": call.name,
                "arguments": call.arguments,
            }


def _result(message: Message, waiting: list[str]) -> dict[str, Any]:
    name = message.tool_call_id or (waiting[0] if waiting else None)
    if name is None:
        raise PromptError("a message of role 'tool' needs the 'tool_call_id' it answers")
    if name in waiting:
        waiting.remove(name)
    return {"type": "function_call_output", "call_id": name, "output": _content(message)}


def _content(message: Message) -> Any:
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    return [_part(part, message.role) for part in message.content]


def _part(part: Mapping[str, Any], role: str) -> Mapping[str, Any]:
    kind = part.get("type")
    value = part.get(kind) if isinstance(kind, str) else None
    if kind == "text":
        return {"type": "output_text" if role == "assistant" else "input_text", "text": value}
    if kind == "image_url" and isinstance(value, Mapping):
        return {"type": "input_image", "image_url": value.get("url"),
                "detail": value.get("detail", "auto")}  # fmt: skip
    if kind == "file" and isinstance(value, Mapping):
        return {"type": "input_file", **value}
    if kind in ("input_text", "input_image", "input_file", "output_text", "refusal"):
        return part
    raise PromptError(
        f"a content part of type {kind!r}: the Responses API takes text, image_url and file"
    )
