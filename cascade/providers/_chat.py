"""The chat-completions wire format: requests as JSON, answers put together from chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from cascade.errors import APIResponseError
from cascade.providers._chat_chunks import (
    CallDelta,
    Choice,
    Chunk,
    Function,
    decode_chunk,
    join_parts,
    read_usage,
)
from cascade.providers._http_errors import ErrorBody, decode_error, parse_error
from cascade.providers._sse import Event
from cascade.providers._wire import ErrorInAnswer, encode
from cascade.types import Answer, Message, Request, TokenLogprob, ToolCall, Usage


def request_body(model: str, request: Request) -> tuple[bytes, bool]:
    """The body to send, and whether it asks for a stream.

    Raises:
        PromptError: something in the request is not JSON.
    """
    params = request.params
    stream = params.get("stream") is not False
    body: dict[str, Any] = {"stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}
    body.update(params)
    if body.get("stream_options", body) is None:
        del body["stream_options"]  # the way to leave it out, for servers that refuse it
    body["model"] = model
    body["messages"] = [_message(message) for message in request.messages]
    if request.tools:
        body["tools"] = request.tools
    return encode(body), stream


def _message(message: Message) -> dict[str, Any]:
    value: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name is not None:
        value["name"] = message.name
    if message.tool_call_id is not None:
        value["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        value["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return value


class _PartialCall:
    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name = ""
        self.arguments: list[str] = []


class Assembly:
    """Puts an answer together from the chunks of a stream, or from one whole body.

    Attributes:
        whole: whether the server has said that this is all: by a finish reason or by [DONE].
        ended: whether it has said [DONE].
    """

    __slots__ = ("_by_id", "_by_index", "_calls", "_final", "_model", "_on_delta", "_text",
                 "_tokens", "_usage", "ended", "finish_reason")  # fmt: skip

    def __init__(self, on_delta: Callable[[str], None]) -> None:
        self._on_delta = on_delta
        self._text: list[str] = []
        self._tokens: list[TokenLogprob] = []
        self._calls: list[_PartialCall] = []
        self._by_index: dict[int, _PartialCall] = {}
        self._by_id: dict[str, _PartialCall] = {}
        self._usage: Usage | None = None
        self._model: str | None = None
        self._final: bytes | None = None
        self.finish_reason: str | None = None
        self.ended = False

    @property
    def whole(self) -> bool:
        return self.ended or self.finish_reason is not None

    def add(self, event: Event, /) -> None:
        """Take in one event.

        Raises:
            APIResponseError: it is no chunk.
            ErrorInAnswer: it is an error.
        """
        data = event.data
        if data.startswith(b"[DONE]"):
            self.ended = True
            return
        if data == self._final:
            return  # some proxies send the last chunk twice
        self._take(decode_chunk(data), data)

    def add_whole(self, data: bytes, /) -> None:
        """Take in the body of an answer that was not streamed. It arrived as no delta.

        Raises:
            APIResponseError: it is no chat completion.
            ErrorInAnswer: it is an error.
        """
        if data.lstrip().startswith(b"["):
            raise ErrorInAnswer(decode_error(data))
        self._on_delta = lambda _text: None
        chunk = decode_chunk(data)
        self._take(chunk, data)
        if not chunk.choices:
            raise APIResponseError("the answer has no choices")

    def _take(self, chunk: Chunk, data: bytes) -> None:
        if chunk.error or chunk.object == "error":
            raise ErrorInAnswer(parse_error(chunk.error) if chunk.error else decode_error(data))
        if chunk.model is not None:
            self._model = chunk.model
        if chunk.usage is not None:
            self._usage = read_usage(chunk.usage) or self._usage
        for choice in chunk.choices or ():
            if not choice.index:  # one answer is asked for; others would be somebody's mistake
                self._choose(choice)
                if choice.finish_reason == "error":  # OpenRouter's, when the model's host failed
                    raise ErrorInAnswer(ErrorBody("the finish reason is 'error'"))
                if choice.finish_reason:
                    self.finish_reason = choice.finish_reason
                    self._final = data

    def _choose(self, choice: Choice) -> None:
        delta = choice.delta
        if delta is None:
            # A whole message in a stream; after its pieces it would be the same text again.
            delta = choice.message
            if delta is None or self._text or self._calls:
                return
        text = delta.content
        if text is None:
            text = delta.refusal
        if text and type(text) is not str:
            text = join_parts(text)
        if text:
            self._text.append(text)
            self._on_delta(text)
        if delta.tool_calls:
            for call in delta.tool_calls:
                self._call(call)
        if choice.logprobs is not None and choice.logprobs.content:
            for token in choice.logprobs.content:
                value = float("-inf") if token.logprob is None else token.logprob
                self._tokens.append(TokenLogprob(token.token, value))

    def _call(self, delta: CallDelta) -> None:
        function = delta.function or Function()
        call = self._find(delta, function.name)
        if delta.id and call.id is None:
            call.id = delta.id
            self._by_id[delta.id] = call
        if function.name and not call.name:
            call.name = function.name
        arguments = function.arguments
        if arguments is not None:
            if type(arguments) is not str:  # an object where its JSON text belongs
                arguments = msgspec.json.encode(arguments).decode()
            call.arguments.append(arguments)

    def _find(self, delta: CallDelta, name: str | None) -> _PartialCall:
        """The call that a delta goes on with, or a new one.

        Ollama leaves out ``index``, Gemini's compatible endpoint gives every call the index 0;
        there the id, or a name, begins a new call.
        """
        known: _PartialCall | None
        if delta.index is not None:
            known = self._by_index.get(delta.index)
            if known and delta.id and name and known.id not in (None, delta.id):
                known = self._by_id.get(delta.id)
        elif delta.id:
            known = self._by_id.get(delta.id)
        else:
            known = self._calls[-1] if self._calls and not name else None
        if known is None:
            known = _PartialCall()
            self._calls.append(known)
        if delta.index is not None:
            self._by_index[delta.index] = known
        return known

    def answer(self, request_id: str | None, /) -> Answer:
        """The answer as far as it was taken in."""
        return Answer(
            text="".join(self._text),
            tool_calls=tuple(
                ToolCall(call.name, "".join(call.arguments), call.id) for call in self._calls
            ),
            finish_reason=self.finish_reason,
            usage=self._usage,
            logprobs=tuple(self._tokens) or None,
            model=self._model,
            request_id=request_id,
        )
