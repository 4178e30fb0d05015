"""Requests in the shape of Anthropic's Messages API.

What a `Request` says in chat-completions terms is written as the API takes it. The names are
those of Anthropic's Python client (anthropic 2.12, ``types/message_create_params.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cascade.errors import PromptError, nearest
from cascade.providers import _chat_shapes as shapes
from cascade.providers._chat_shapes import Data, Link, Refused, Text
from cascade.providers._wire import encode
from cascade.types import Message, Request, ToolCall

DEFAULT_MAX_TOKENS: Final = 8192
"""Sent when a tier does not say ``max_tokens``, which the API cannot do without. Thinking counts
towards it, so it is not small; every model that is served today can write as much."""

_IMAGES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_SAMPLING: Final = ("temperature", "top_p", "top_k")

# Models released after Opus 4.6 answer 400, "`temperature` is deprecated for this model", and the
# same for top_p and top_k; the client does not even name them any more. Other vendors' models
# behind the same API are not called claude.
_TAKES_SAMPLING: Final = re.compile(
    r"(?!claude-)|claude-(?:[123]|instant)|"
    r"claude-(?:opus|sonnet|haiku)-4(?:-[0-6])?(?:[-@]\d{8})?(?:-latest)?$"
)

_NONE: Final = "the Messages API has none"
_REFUSED: Final[Mapping[str, str]] = {
    "frequency_penalty": _NONE,
    "logit_bias": _NONE,
    "messages": "it is set by the tier's 'prompt'",
    "model": "it is set by the tier's 'model'",
    "presence_penalty": _NONE,
    "seed": _NONE,
    "stop_sequences": "write 'stop', as for every provider",
    "stream_options": "usage is always reported",
    "system": "it is set by the tier's 'prompt'",
    "top_logprobs": _NONE,
}
_NATIVE: Final = frozenset(
    ("cache_control", "container", "inference_geo", "metadata", "service_tier", "speed",
     "temperature", "thinking", "top_k", "top_p")
)  # fmt: skip
_WRITTEN: Final = frozenset(
    ("logprobs", "max_completion_tokens", "max_tokens", "n", "output_config",
     "parallel_tool_calls", "reasoning_effort", "response_format", "stop", "stream",
     "tool_choice", "tools", "user")
)  # fmt: skip


def refusal(model: str, params: Mapping[str, Any]) -> str | None:
    """Why these parameters cannot be sent, naming the first that cannot; None when all can."""
    try:
        _parameters(model, params)
    except Refused as error:
        return str(error)
    return None


def request_body(model: str, request: Request) -> tuple[bytes, bool]:
    """The body to send, and whether it asks for a stream.

    Raises:
        PromptError: something in the request has no place in it, or is not JSON.
    """
    try:
        body = _parameters(model, request.params)
    except Refused as error:
        raise PromptError(str(error)) from None
    tools = request.tools or request.params.get("tools") or ()
    if tools:
        body["tools"] = [_tool(tool) for tool in tools]
    system, messages = _conversation(request.messages)
    if system:
        body["system"] = system
    return encode({"model": model, **body, "messages": messages}), body["stream"]


def _parameters(model: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The members of the body that the parameters make.

    Raises:
        Refused: one cannot be sent.
    """
    given = {name: value for name, value in params.items() if value is not None}
    for name in given:
        if name in _REFUSED:
            raise Refused(name, _REFUSED[name])
        if name not in _NATIVE | _WRITTEN:
            raise Refused(name, nearest(name, _NATIVE | _WRITTEN))
    _check_values(model, given)
    body = {name: given[name] for name in sorted(_NATIVE & given.keys())}
    limit = shapes.one_of(given, "max_tokens", "max_completion_tokens")
    body["max_tokens"] = DEFAULT_MAX_TOKENS if limit is None else limit
    body["stream"] = given.get("stream", True)
    if "stop" in given:
        body["stop_sequences"] = _stops(given["stop"])
    if "user" in given:
        shapes.one_of(given, "user", "metadata")
        body["metadata"] = {"user_id": given["user"]}
    if config := _output_config(given):
        body["output_config"] = config
    if choice := _tool_choice(given):
        body["tool_choice"] = choice
    return body


def _check_values(model: str, given: Mapping[str, Any]) -> None:
    if given.get("n", 1) != 1:
        raise Refused("n", "a call takes one answer")
    if given.get("logprobs", False) is not False:
        raise Refused("logprobs", _NONE)
    for name in ("parallel_tool_calls", "stream"):
        if not isinstance(given.get(name, True), bool):
            raise Refused(name, "write true or false")
    temperature = given.get("temperature", 1)
    if isinstance(temperature, int | float) and not 0 <= temperature <= 1:
        raise Refused("temperature", "the Messages API takes 0 to 1")
    if not _TAKES_SAMPLING.match(model):
        for name in _SAMPLING:
            if given.get(name, 1) != 1:
                raise Refused(name, "Anthropic's models since Claude Opus 4.7 take none")


def _stops(value: object) -> list[str]:
    stops = shapes.stops_of(value)
    if any(not stop.strip() for stop in stops):
        raise Refused("stop", "the Messages API takes no text that is only white space")
    return stops


def _output_config(given: Mapping[str, Any]) -> dict[str, Any]:
    native = given.get("output_config", {})
    if not isinstance(native, Mapping):
        raise Refused("output_config", "write a table")
    config = dict(native)
    if "reasoning_effort" in given:
        if given["reasoning_effort"] not in _EFFORTS:
            raise Refused("reasoning_effort", f"the Messages API has {', '.join(_EFFORTS)}")
        if "effort" in config:
            raise Refused("reasoning_effort", "'output_config.effort' says it too: keep one")
        config["effort"] = given["reasoning_effort"]
    kind, schema = shapes.schema_of(given.get("response_format", {"type": "text"}))
    if kind == "json_object":
        raise Refused("response_format", "the Messages API has no 'json_object': give a schema")
    if schema is not None:
        if "format" in config:
            raise Refused("response_format", "'output_config.format' says it too: keep one")
        config["format"] = {"type": "json_schema", "schema": schema}
    return config


def _tool_choice(given: Mapping[str, Any]) -> dict[str, Any] | None:
    if "tool_choice" not in given and given.get("parallel_tool_calls", True):
        return None
    choice = shapes.choice_of(given.get("tool_choice", "auto"))
    kinds = {"required": "any", "function": "tool"}
    value: dict[str, Any] = {"type": kinds.get(choice.kind, choice.kind)}
    if choice.name is not None:
        value["name"] = choice.name
    if not given.get("parallel_tool_calls", True) and choice.kind != "none":
        value["disable_parallel_tool_use"] = True
    return value


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = shapes.function_of(tool)
    value: dict[str, Any] = {"name": function.name, "input_schema": function.parameters}
    if function.description is not None:
        value["description"] = function.description
    if function.strict is not None:
        value["strict"] = function.strict
    return value


def _conversation(messages: Sequence[Message]) -> tuple[str, list[dict[str, Any]]]:
    """The system prompt, and the turns after it.

    A system message further down keeps its place: newer models take it there, of which Claude
    Opus 4.8 was the first, and others say that they do not.
    """
    start = 0
    while start < len(messages) and messages[start].role in ("system", "developer"):
        start += 1
    system = "\n\n".join(text for m in messages[:start] if (text := _only_text(m)))
    turns: list[dict[str, Any]] = []
    waiting: list[str] = []  # ids of calls that no message has answered yet
    for message in messages[start:]:
        role, blocks = _turn(message, waiting)
        if not blocks:
            continue
        # Results of parallel calls belong into one turn.
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    return system, turns


def _turn(message: Message, waiting: list[str]) -> tuple[str, list[dict[str, Any]]]:
    if message.role == "tool":
        return "user", [_result(message, waiting)]
    if message.name is not None:
        raise PromptError(
            f"message name {message.name!r}: the Messages API has none; write it into the content"
        )
    if message.role in ("system", "developer"):
        return "system", [{"type": "text", "text": _only_text(message)}]
    blocks = list(_blocks(message))
    if message.tool_calls:
        waiting.clear()
        blocks += [_call(call, waiting) for call in message.tool_calls]
    return message.role, blocks


def _only_text(message: Message) -> str:
    if any(not isinstance(part, Text) for part in shapes.content_of(message)):
        raise PromptError(f"a message of role {message.role!r}: the Messages API takes text there")
    return message.text


def _blocks(message: Message) -> Iterator[dict[str, Any]]:
    for part in shapes.content_of(message):
        match part:
            case Text(text):
                yield {"type": "text", "text": text}
            case Link(url):
                yield {"type": "image", "source": {"type": "url", "url": url}}
            case Data(media_type, data) if media_type in (*_IMAGES, "application/pdf"):
                source = {"type": "base64", "media_type": media_type, "data": data}
                yield {"type": "image" if media_type in _IMAGES else "document", "source": source}
            case Data(media_type):
                raise PromptError(
                    f"a content part of type {media_type!r}: the Messages API takes "
                    f"{', '.join(_IMAGES)} and application/pdf"
                )


def _call(call: ToolCall, waiting: list[str]) -> dict[str, Any]:
    # Not every provider gives its calls an id; its answers then follow in the same order.
    name = call.id or f"call_{len(waiting)}"
    waiting.append(name)
    return {"type": "tool_use", "id": name, "name": call.name, "input": shapes.arguments_of(call)}


def _result(message: Message, waiting: list[str]) -> dict[str, Any]:
    name = message.tool_call_id or (waiting[0] if waiting else None)
    if name is None:
        raise PromptError("a message of role 'tool' needs the 'tool_call_id' it answers")
    if name in waiting:
        waiting.remove(name)
    return {"type": "tool_result", "tool_use_id": name, "content": list(_blocks(message))}
