"""Requests in the shape of Gemini's ``generateContent``.

What a `Request` says in chat-completions terms is written as the API takes it. The names are
those of Google's Python client (google-genai 3.4, ``types.py``), in the API's own camel case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cascade.errors import PromptError, nearest
from cascade.providers import _chat_shapes as shapes
from cascade.providers._chat_shapes import Data, Link, Refused, Text
from cascade.providers._wire import encode
from cascade.types import Message, Request, ToolCall

_CONFIG: Final[Mapping[str, str]] = {
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "max_completion_tokens": "maxOutputTokens",
    "max_tokens": "maxOutputTokens",
    "mediaResolution": "mediaResolution",
    "presence_penalty": "presencePenalty",
    "seed": "seed",
    "temperature": "temperature",
    "thinkingConfig": "thinkingConfig",
    "top_k": "topK",
    "top_logprobs": "logprobs",
    "top_p": "topP",
}
_BESIDE: Final = frozenset(("cachedContent", "safetySettings"))
_WRITTEN: Final = frozenset(
    ("n", "reasoning_effort", "response_format", "stop", "stream", "tool_choice", "tools")
)  # fmt: skip
_KNOWN: Final = _CONFIG.keys() | _BESIDE | _WRITTEN

_NONE: Final = "the Gemini API has none"
_AS_ALWAYS: Final = "write {!r}, as for every provider"
_REFUSED: Final[Mapping[str, str]] = {
    "candidateCount": "a call takes one answer",
    "contents": "it is set by the tier's 'prompt'",
    "generationConfig": "write each of its members as a parameter of its own",
    "logit_bias": _NONE,
    "maxOutputTokens": _AS_ALWAYS.format("max_tokens"),
    "messages": "it is set by the tier's 'prompt'",
    "model": "it is set by the tier's 'model'",
    "parallel_tool_calls": "the Gemini API leaves that to the model",
    "responseJsonSchema": _AS_ALWAYS.format("response_format"),
    "responseLogprobs": _AS_ALWAYS.format("logprobs"),
    "responseMimeType": _AS_ALWAYS.format("response_format"),
    "responseSchema": _AS_ALWAYS.format("response_format"),
    "stopSequences": _AS_ALWAYS.format("stop"),
    "stream_options": "usage is always reported",
    "systemInstruction": "it is set by the tier's 'prompt'",
    "toolConfig": _AS_ALWAYS.format("tool_choice"),
    "topK": _AS_ALWAYS.format("top_k"),
    "topP": _AS_ALWAYS.format("top_p"),
    "user": _NONE,
}

_SYSTEM: Final = ("system", "developer")
_LEVELS: Final = ("minimal", "low", "medium", "high", "xhigh")
_MODES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY", "function": "ANY"}

_NO_SIGNATURE: Final = "skip_thought_signature_validator"
"""Gemini 3 signs its calls and wants the signature back. Ours carry none, and this stands for
calls made elsewhere: https://ai.google.dev/gemini-api/docs/thought-signatures."""


def refusal(model: str, params: Mapping[str, Any]) -> str | None:
    """Why these parameters cannot be sent, naming the first that cannot; None when all can."""
    try:
        _parameters(model, params)
    except Refused as error:
        return str(error)
    return None


def request_body(model: str, request: Request) -> tuple[bytes, bool]:
    """The body to send, and whether it asks for a stream, which the address says, not the body.

    Raises:
        PromptError: something in the request has no place in it, or is not JSON.
    """
    try:
        body = _parameters(model, request.params)
    except Refused as error:
        raise PromptError(str(error)) from None
    tools = request.tools or request.params.get("tools") or ()
    if tools:
        body["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in tools]}]
    start = 0
    while start < len(request.messages) and request.messages[start].role in _SYSTEM:
        start += 1
    if system := [part for message in request.messages[:start] for part in _parts(message)]:
        body["systemInstruction"] = {"parts": system}
    body["contents"] = _contents(request.messages[start:])
    return encode(body), request.params.get("stream") is not False


def _parameters(model: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The members of the body that the parameters make.

    Raises:
        Refused: one cannot be sent.
    """
    given = {name: value for name, value in params.items() if value is not None}
    for name in given:
        if name in _REFUSED:
            raise Refused(name, _REFUSED[name])
        if name not in _KNOWN:
            raise Refused(name, nearest(name, _KNOWN))
    if given.get("n", 1) != 1:
        raise Refused("n", "a call takes one answer")
    for name in ("logprobs", "stream"):
        if not isinstance(given.get(name, True), bool):
            raise Refused(name, "write true or false")
    shapes.one_of(given, "max_tokens", "max_completion_tokens")
    body: dict[str, Any] = {name: given[name] for name in sorted(_BESIDE & given.keys())}
    if config := _generation_config(model, given):
        body["generationConfig"] = config
    if "tool_choice" in given:
        choice = shapes.choice_of(given["tool_choice"])
        calling: dict[str, Any] = {"mode": _MODES[choice.kind]}
        if choice.name is not None:
            calling["allowedFunctionNames"] = [choice.name]
        body["toolConfig"] = {"functionCallingConfig": calling}
    return body


def _generation_config(model: str, given: Mapping[str, Any]) -> dict[str, Any]:
    config = {ours: given[name] for name, ours in _CONFIG.items() if name in given}
    if "stop" in given:
        config["stopSequences"] = shapes.stops_of(given["stop"])
    kind, schema = shapes.schema_of(given.get("response_format", {"type": "text"}))
    if kind != "text":
        config["responseMimeType"] = "application/json"
    if schema is not None:
        config["responseJsonSchema"] = schema
    if "reasoning_effort" in given:
        shapes.one_of(given, "reasoning_effort", "thinkingConfig")
        config["thinkingConfig"] = {"thinkingLevel": _level(model, given["reasoning_effort"])}
    return config


def _level(model: str, effort: object) -> str:
    if model.startswith(("gemini-1", "gemini-2")):
        raise Refused(
            "reasoning_effort",
            "models before Gemini 3 take a number of tokens: "
            "write thinkingConfig = {thinkingBudget = …}",
        )
    if effort not in _LEVELS:
        raise Refused("reasoning_effort", f"the Gemini API has {', '.join(_LEVELS)}")
    return str(effort).upper()


def _declaration(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = shapes.function_of(tool)
    if function.strict:
        raise PromptError(f"the tool {function.name!r}: the Gemini API has no 'strict'")
    value: dict[str, Any] = {"name": function.name, "parametersJsonSchema": function.parameters}
    if function.description is not None:
        value["description"] = function.description
    return value


def _contents(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The turns. Messages of one side that follow each other are one turn."""
    contents: list[dict[str, Any]] = []
    waiting: list[ToolCall] = []  # calls that no message has answered yet
    for message in messages:
        if message.role in _SYSTEM:
            raise PromptError(
                "a system message after the first turn: the Gemini API takes none there"
            )
        if message.role == "tool":
            role, parts = "user", [_response(message, waiting)]
        else:
            role, parts = "user" if message.role == "user" else "model", list(_parts(message))
            if message.tool_calls:
                waiting = list(message.tool_calls)
                parts += [_call(call) for call in message.tool_calls]
        if not parts:
            continue
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts})
    return contents


def _parts(message: Message) -> Iterator[dict[str, Any]]:
    if message.name is not None:
        raise PromptError(
            f"message name {message.name!r}: the Gemini API has none; write it into the content"
        )
    for part in shapes.content_of(message):
        match part:
            case Text(text):
                yield {"text": text}
            case Data(media_type, data):
                yield {"inlineData": {"mimeType": media_type, "data": data}}
            case Link():
                raise PromptError(
                    "an image_url: the Gemini API fetches none of unknown type; "
                    "give it as data:…;base64,…"
                )


def _call(call: ToolCall) -> dict[str, Any]:
    value: dict[str, Any] = {"name": call.name, "args": shapes.arguments_of(call)}
    if call.id is not None:
        value["id"] = call.id
    return {"functionCall": value, "thoughtSignature": _NO_SIGNATURE}


def _response(message: Message, waiting: list[ToolCall]) -> dict[str, Any]:
    """The result of a call, which the API wants by the function's name. A message that does not
    say which call it answers answers the first that is left."""
    given = message.tool_call_id
    call = next((c for c in waiting if given is None or c.id == given), None)
    if call is not None:
        waiting.remove(call)
    name = message.name or (call.name if call is not None else None)
    if name is None:
        raise PromptError("a message of role 'tool' answers no call: give 'name' or 'tool_call_id'")
    if any(not isinstance(part, Text) for part in shapes.content_of(message)):
        raise PromptError("a message of role 'tool': the Gemini API takes text there")
    value: dict[str, Any] = {"name": name, "response": {"output": message.text}}
    if given is not None:
        value["id"] = given
    return {"functionResponse": value}
