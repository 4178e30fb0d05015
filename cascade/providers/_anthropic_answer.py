"""Answers of Anthropic's Messages API, put together from the events of a stream.

The events are those of the client's ``types/raw_message_stream_event.py`` (anthropic 2.12).
Whatever is missing or null is left out; what is not read is skipped without being decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import msgspec

from cascade.errors import APIResponseError
from cascade.providers._anthropic_errors import read_error
from cascade.providers._sse import Event
from cascade.providers._wire import ErrorInAnswer
from cascade.types import Answer, ToolCall, Usage

_FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",  # the API's own tools took too long; the rest would be another call
    "refusal": "content_filter",
}


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"")


class _Delta(msgspec.Struct, gc=False):
    text: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Message(msgspec.Struct, gc=False):
    type: str = ""
    model: str | None = None
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: Any = None
    error: Any = None


class _StreamEvent(msgspec.Struct, gc=False):
    type: str = ""
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: Any = None
    error: Any = None


_decode_event: Final = msgspec.json.Decoder(_StreamEvent).decode
_decode_message: Final = msgspec.json.Decoder(_Message).decode


class _PartialCall:
    __slots__ = ("arguments", "id", "name", "whole")

    def __init__(self, block: _Block) -> None:
        self.id = block.id
        self.name = block.name or ""
        self.whole = bytes(block.input).decode("utf-8", "replace")
        self.arguments: list[str] = []

    def finished(self) -> ToolCall:
        """A stream begins with an empty input and sends it in pieces; a whole body has it."""
        return ToolCall(self.name, "".join(self.arguments) or self.whole or "{}", self.id)


class Assembly:
    """Puts an answer together from the events of a stream, or from one whole body.

    Attributes:
        whole: whether the server has said that this is all: by a stop reason or at the end mark.
        ended: whether it has sent the end mark, ``message_stop``.
    """

    __slots__ = ("_calls", "_counts", "_finish_reason", "_model", "_on_delta", "_text", "ended")

    def __init__(self, on_delta: Callable[[str], None]) -> None:
        self._on_delta = on_delta
        self._text: list[str] = []
        self._calls: dict[int, _PartialCall] = {}
        self._counts: dict[str, Any] = {}
        self._model: str | None = None
        self._finish_reason: str | None = None
        self.ended = False

    @property
    def whole(self) -> bool:
        return self.ended or self._finish_reason is not None

    def add(self, event: Event) -> None:
        """Take in one event.

        Raises:
            APIResponseError: it is none of this API's.
            ErrorInAnswer: it is an error.
        """
        try:
            said = _decode_event(event.data)
        except (ValueError, RecursionError) as error:
            _no_message(error)
        if said.error:
            raise ErrorInAnswer(read_error(event.data))
        match said.type:
            case "content_block_delta":
                if said.delta is not None:
                    self._add_delta(said.index, said.delta)
            case "content_block_start":
                if said.content_block is not None:
                    self._add_block(said.index, said.content_block)
            case "message_start":
                if said.message is not None:
                    self._add_message(said.message)
            case "message_delta":
                if said.delta is not None:
                    self._finish(said.delta.stop_reason)
                self._count(said.usage)
            case "message_stop":
                self.ended = True
            case "":
                raise APIResponseError("the answer is no Anthropic message: an event has no type")
            case _:
                pass  # ping, content_block_stop, and what the API may add, as its rules allow

    def add_whole(self, body: bytes) -> None:
        """Take in the body of an answer that was not streamed. It arrived as no delta.

        Raises:
            APIResponseError: it is no message.
            ErrorInAnswer: it is an error.
        """
        self._on_delta = lambda _text: None
        try:
            message = _decode_message(body)
        except (ValueError, RecursionError) as error:
            _no_message(error)
        if message.error:
            raise ErrorInAnswer(read_error(body))
        if message.type != "message":
            raise APIResponseError("the answer is no Anthropic message")
        self._add_message(message)
        self.ended = True

    def _add_message(self, message: _Message) -> None:
        self._model = message.model or self._model
        for index, block in enumerate(message.content or ()):
            self._add_block(index, block)
        self._finish(message.stop_reason)
        self._count(message.usage)

    def _add_block(self, index: int, block: _Block) -> None:
        """Thinking is no answer, and the API's own tools are no calls of ours."""
        if block.type == "text" and block.text:
            self._add_text(block.text)
        elif block.type == "tool_use":
            self._calls[index] = _PartialCall(block)

    def _add_delta(self, index: int, delta: _Delta) -> None:
        if delta.text:
            self._add_text(delta.text)
        elif delta.partial_json and index in self._calls:
            self._calls[index].arguments.append(delta.partial_json)

    def _add_text(self, text: str) -> None:
        self._text.append(text)
        self._on_delta(text)

    def _finish(self, reason: str | None) -> None:
        if reason is not None:
            self._finish_reason = _FINISH.get(reason, reason)

    def _count(self, usage: object) -> None:
        """Counts are totals until now, so the last one that is given holds."""
        if isinstance(usage, dict):
            self._counts.update((key, value) for key, value in usage.items() if value is not None)

    def answer(self, request_id: str | None) -> Answer:
        """The answer as far as it was taken in."""
        return Answer(
            text="".join(self._text),
            tool_calls=tuple(call.finished() for call in self._calls.values()),
            finish_reason=self._finish_reason,
            usage=read_usage(self._counts),
            model=self._model,
            request_id=request_id,
        )


def read_usage(counts: Mapping[str, Any]) -> Usage | None:
    """Cached tokens, read or written, are counted beside ``input_tokens``, not in them; thinking
    is part of ``output_tokens``."""
    details = counts.get("output_tokens_details")
    fresh, cached, written = (
        _count(counts, name)
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    found = Usage(
        input_tokens=None if fresh is None else fresh + (cached or 0) + (written or 0),
        output_tokens=_count(counts, "output_tokens"),
        cached_input_tokens=cached,
        reasoning_tokens=_count(details, "thinking_tokens"),
    )
    return None if found == Usage() else found


def _count(value: object, key: str) -> int | None:
    count = value.get(key) if isinstance(value, Mapping) else None
    return count if type(count) is int and count >= 0 else None


def _no_message(error: Exception) -> NoReturn:
    raise APIResponseError(f"the answer is no Anthropic message: {error}") from error
