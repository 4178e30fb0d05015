"""Answers put together from the JSON lines of Ollama's ``/api/chat``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

from cascade.errors import APIResponseError
from cascade.providers._http_errors import decode_error, parse_error
from cascade.providers._sse import Event
from cascade.providers._wire import ErrorInAnswer
from cascade.types import Answer, TokenLogprob, ToolCall, Usage


class Function(msgspec.Struct, gc=False):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw()


class Call(msgspec.Struct, gc=False):
    id: str | None = None
    function: Function | None = None


class Message(msgspec.Struct, gc=False):
    """What the model wrote. Its ``thinking`` is no answer and not read."""

    content: str | None = None
    tool_calls: list[Call] | None = None


class Token(msgspec.Struct, gc=False):
    token: str = ""
    logprob: float | None = None


class Line(msgspec.Struct, gc=False):
    """One line of a stream, or a whole answer that was not streamed."""

    model: str | None = None
    message: Message | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    logprobs: list[Token] | None = None
    error: Any = None


_decode: Final = msgspec.json.Decoder(Line).decode


def decode_line(data: bytes) -> Line:
    """One line.

    Raises:
        APIResponseError: it is none of Ollama's.
    """
    try:
        return _decode(data)
    except (ValueError, RecursionError) as error:
        try:
            # As for chat completions: Python accepts the NaN that some servers send.
            loose = json.loads(data.decode())
            return _decode(msgspec.json.encode(loose))
        except (ValueError, RecursionError):
            raise APIResponseError(f"the answer is none of Ollama's: {error}") from error


class Assembly:
    """Puts an answer together from the lines of a stream, or from one whole body.

    Attributes:
        whole: whether the server has said that it is done.
        ended: the same; nothing follows the line that says so.
    """

    __slots__ = ("_calls", "_model", "_on_delta", "_reason", "_text", "_tokens", "_usage", "whole")

    def __init__(self, on_delta: Callable[[str], None]) -> None:
        self._on_delta = on_delta
        self._text: list[str] = []
        self._tokens: list[TokenLogprob] = []
        self._calls: list[ToolCall] = []
        self._usage: Usage | None = None
        self._model: str | None = None
        self._reason: str | None = None
        self.whole = False

    @property
    def ended(self) -> bool:
        return self.whole

    @property
    def finish_reason(self) -> str | None:
        """Ollama's own ``stop`` and ``length``; ``stop`` after tool calls is ``tool_calls``."""
        return "tool_calls" if self._reason == "stop" and self._calls else self._reason

    def add(self, event: Event, /) -> None:
        """Take in one line of the stream.

        Raises:
            APIResponseError: it is none of Ollama's.
            ErrorInAnswer: it is an error.
        """
        line = decode_line(event.data)
        if line.error:
            raise ErrorInAnswer(parse_error({"error": line.error}))
        self._model = line.model or self._model
        if line.message is not None:
            self._take(line.message)
        for token in line.logprobs or ():
            value = float("-inf") if token.logprob is None else token.logprob
            self._tokens.append(TokenLogprob(token.token, value))
        if line.done:
            self.whole = True
            self._reason = line.done_reason or None
            used = Usage(_count(line.prompt_eval_count), _count(line.eval_count))
            self._usage = None if used == Usage() else used

    def add_whole(self, data: bytes, /) -> None:
        """Take in the body of an answer that was not streamed. It arrived as no delta.

        Raises:
            APIResponseError: it is no answer of Ollama's, or not done.
            ErrorInAnswer: it is an error.
        """
        if data.lstrip().startswith(b"["):
            raise ErrorInAnswer(decode_error(data))
        self._on_delta = lambda _text: None
        self.add(Event(data))
        if not self.whole:
            raise APIResponseError("the answer does not say that it is done")

    def _take(self, message: Message) -> None:
        if message.content:
            self._text.append(message.content)
            self._on_delta(message.content)
        for call in message.tool_calls or ():
            function = call.function or Function()
            self._calls.append(ToolCall(function.name, _json_text(function.arguments), call.id))

    def answer(self, request_id: str | None, /) -> Answer:
        """The answer as far as it was taken in."""
        return Answer(
            text="".join(self._text),
            tool_calls=tuple(self._calls),
            finish_reason=self.finish_reason,
            usage=self._usage,
            logprobs=tuple(self._tokens) or None,
            model=self._model,
            request_id=request_id,
        )


def _json_text(arguments: msgspec.Raw) -> str:
    """The arguments' JSON as the server wrote it; a string is taken for such JSON."""
    data = bytes(arguments)
    try:
        value = msgspec.json.decode(data, type=str) if data.startswith(b'"') else data.decode()
    except ValueError as error:
        raise APIResponseError(f"the arguments of a tool call are no JSON: {error}") from error
    return value or "{}"


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
