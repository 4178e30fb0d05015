"""Requests in the shape of Ollama's ``/api/chat``.

What a `Request` says in chat-completions terms is written as Ollama takes it. Ollama passes over
what it does not know, in the body as in its options, so every name is checked here. They are
those of ``api/types.go`` of the server and of its Python client (ollama 0.6.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cascade.errors import PromptError, nearest
from cascade.providers import _chat_shapes as shapes
from cascade.providers._chat_shapes import Data, Link, Refused, Text
from cascade.providers._wire import encode
from cascade.types import Message, Request, ToolCall

_OPTIONS: Final = frozenset(
    ("frequency_penalty", "main_gpu", "min_p", "mirostat", "mirostat_eta", "mirostat_tau",
     "num_batch", "num_ctx", "num_gpu", "num_keep", "num_thread", "penalize_newline",
     "presence_penalty", "repeat_last_n", "repeat_penalty", "seed", "stop", "temperature",
     "tfs_z", "top_k", "top_p", "typical_p", "use_mlock", "use_mmap")
)  # fmt: skip
_BESIDE: Final = frozenset(("keep_alive", "logprobs", "shift", "think", "top_logprobs", "truncate"))
_OURS: Final = frozenset(
    ("max_completion_tokens", "max_tokens", "n", "reasoning_effort", "response_format", "stream",
     "tool_choice", "tools")
)  # fmt: skip

_REFUSED: Final[Mapping[str, str]] = {
    "format": "write 'response_format', as for every provider",
    "logit_bias": "Ollama has none",
    "messages": "it is set by the tier's 'prompt'",
    "model": "it is set by the tier's 'model'",
    "num_predict": "write 'max_tokens', as for every provider",
    "options": "write each option as a parameter of its own",
    "parallel_tool_calls": "Ollama leaves that to the model",
}

_THINK: Final = {"none": False, "low": "low", "medium": "medium", "high": "high"}


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
    messages = list(_messages(request.messages))
    return encode({"model": model, **body, "messages": messages}), body["stream"]


def _parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """The members of the body that the parameters make.

    Raises:
        Refused: one cannot be sent.
    """
    given = {name: value for name, value in params.items() if value is not None}
    known = _OPTIONS | _BESIDE | _OURS
    for name in given:
        if name in _REFUSED:
            raise Refused(name, _REFUSED[name])
        if name not in known:
            raise Refused(name, f"Ollama would pass over it; {nearest(name, known)}")
    _check_values(given)
    # By default Ollama drops the beginning of a prompt that is too long, and of one that becomes
    # so while it is answered: the answer would be to another question.
    body: dict[str, Any] = {"stream": True, "truncate": False, "shift": False}
    body.update((name, given[name]) for name in sorted((_BESIDE | {"stream"}) & given.keys()))
    if "reasoning_effort" in given:
        shapes.one_of(given, "reasoning_effort", "think")
        body["think"] = _THINK[given["reasoning_effort"]]
    kind, schema = shapes.schema_of(given.get("response_format", {"type": "text"}))
    if kind != "text":
        body["format"] = "json" if schema is None else schema
    if options := _options(given):
        body["options"] = options
    return body


def _check_values(given: Mapping[str, Any]) -> None:
    if given.get("n", 1) != 1:
        raise Refused("n", "a call takes one answer")
    for name in ("logprobs", "stream"):
        if not isinstance(given.get(name, True), bool):
            raise Refused(name, "write true or false")
    if given.get("tool_choice", "auto") != "auto":
        raise Refused("tool_choice", "Ollama leaves it to the model, which is 'auto'")
    effort = given.get("reasoning_effort", "none")
    if not isinstance(effort, str) or effort not in _THINK:
        raise Refused("reasoning_effort", f"Ollama has {', '.join(_THINK)}")


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: given[name] for name in sorted(_OPTIONS & given.keys())}
    limit = shapes.one_of(given, "max_tokens", "max_completion_tokens")
    if limit is not None:
        options["num_predict"] = limit
    if "stop" in options:
        options["stop"] = shapes.stops_of(options["stop"])
    return options


def _tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    function = shapes.function_of(tool)
    if function.strict:
        raise PromptError(f"the tool {function.name!r}: Ollama has no 'strict'")
    return tool  # in the same shape


def _messages(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    called: dict[str | None, str] = {}  # the tool's name by the id of its call
    for message in messages:
        # Ollama's models know no developer; a system message is what it is called there.
        role = "system" if message.role == "developer" else message.role
        value: dict[str, Any] = {"role": role, **_content(message)}
        if message.tool_calls:
            value["tool_calls"] = [_call(call) for call in message.tool_calls]
            called.update((call.id, call.name) for call in message.tool_calls)
        if role == "tool":
            value["tool_name"] = message.name or called.get(message.tool_call_id, "")
            if message.tool_call_id is not None:
                value["tool_call_id"] = message.tool_call_id
        elif message.name is not None:
            raise PromptError(
                f"message name {message.name!r}: Ollama has none; write it into the content"
            )
        yield value


def _content(message: Message) -> dict[str, Any]:
    """The text, and beside it the images as base64."""
    texts: list[str] = []
    images: list[str] = []
    for part in shapes.content_of(message):
        match part:
            case Text(text):
                texts.append(text)
            case Data(media_type, data) if media_type.startswith("image/"):
                images.append(data)
            case Link():
                raise PromptError("an image_url: Ollama fetches none; give it as a data: URL")
            case Data(media_type):
                raise PromptError(
                    f"a content part of type {media_type!r}: Ollama takes text and images"
                )
    content: dict[str, Any] = {"content": "".join(texts)}
    return {**content, "images": images} if images else content


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": shapes.arguments_of(call)}
    return {"function": function} if call.id is None else {"id": call.id, "function": function}
