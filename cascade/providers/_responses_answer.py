"""Answers put together from what the Responses API sends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from cascade.errors import APIResponseError
from cascade.providers._http_errors import decode_error, parse_error
from cascade.providers._responses_events import (
    Item,
    Response,
    StreamEvent,
    Token,
    classified,
    decode_event,
    decode_response,
    read_parts,
    read_usage,
)
from cascade.providers._sse import Event
from cascade.providers._wire import ErrorInAnswer
from cascade.types import Answer, TokenLogprob, ToolCall, Usage

_TEXT: Final = ("response.output_text.delta", "response.refusal.delta")
_ITEMS: Final = ("response.output_item.added", "response.output_item.done")
_ENDS: Final = {
    "response.completed": "completed",
    "response.failed": "failed",
    "response.incomplete": "incomplete",
}


class _PartialCall:
    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name = ""
        self.arguments: list[str] = []


class Assembly:
    """Puts an answer together from the events of a stream, or from one whole response.

    The deltas make the answer. The finished response that ends a stream repeats it, and is only
    read where nothing came before.

    Attributes:
        whole: whether the server has said that this is all.
        ended: the same; nothing follows the event that says so.
    """

    __slots__ = ("_calls", "_model", "_on_delta", "_text", "_tokens", "_usage", "finish_reason")

    def __init__(self, on_delta: Callable[[str], None]) -> None:
        self._on_delta = on_delta
        self._text: list[str] = []
        self._tokens: list[TokenLogprob] = []
        self._calls: dict[int | str | None, _PartialCall] = {}
        self._usage: Usage | None = None
        self._model: str | None = None
        self.finish_reason: str | None = None

    @property
    def whole(self) -> bool:
        return self.finish_reason is not None

    @property
    def ended(self) -> bool:
        return self.whole

    def add(self, event: Event, /) -> None:
        """Take in one event.

        Raises:
            APIResponseError: it is no event of a response.
            ErrorInAnswer: it is an error, or says that the response failed.
        """
        if event.data.startswith(b"[DONE]"):  # chat completions' end, which some servers add
            raise APIResponseError("the stream ended before the answer did")
        found = decode_event(event.data)
        kind = found.type or event.type.decode("latin-1")
        if kind in _TEXT:
            self._write(found.delta, found.logprobs)
        elif kind.startswith("response.function_call_arguments."):
            self._arguments(found)
        elif kind in _ITEMS:
            if found.item is not None and found.item.type == "function_call":
                self._call(found.item, found.output_index)
        elif kind in _ENDS:
            self._end(found.response or Response(), _ENDS[kind])
        elif kind == "error" or found.error:
            raise ErrorInAnswer(classified(decode_error(event.data)))
        elif found.response is not None:
            self._model = found.response.model or self._model

    def add_whole(self, data: bytes, /) -> None:
        """Take in the body of an answer that was not streamed. It arrived as no delta.

        Raises:
            APIResponseError: it is no finished response.
            ErrorInAnswer: it is an error, or says that the response failed.
        """
        if data.lstrip().startswith(b"["):
            raise ErrorInAnswer(decode_error(data))
        self._on_delta = lambda _text: None
        response = decode_response(data)
        if response.error:
            raise ErrorInAnswer(classified(parse_error(response.error)))
        if response.output is None:
            raise APIResponseError("the answer has no output")
        self._end(response, response.status or "completed")

    def _end(self, response: Response, status: str) -> None:
        if status == "failed":
            said = parse_error(response.error or "the response failed")
            raise ErrorInAnswer(classified(said))
        if status not in ("completed", "incomplete"):
            raise APIResponseError(f"the response is {status!r}, which is no answer")
        self._model = response.model or self._model
        self._usage = read_usage(response.usage)
        self._fill(response.output or ())
        if status == "completed":
            self.finish_reason = "tool_calls" if self._calls else "stop"
        else:
            # Besides the filter there are limits on tokens and messages; all cut the answer off.
            details = response.incomplete_details
            filtered = details is not None and details.reason == "content_filter"
            self.finish_reason = "content_filter" if filtered else "length"

    def _fill(self, output: Iterable[Item]) -> None:
        """Take from the finished response what no event had said."""
        no_text, no_calls = not self._text, not self._calls
        for index, item in enumerate(output):
            if item.type == "message" and no_text:
                for part in read_parts(item):
                    self._write(part.refusal if part.text is None else part.text, part.logprobs)
            elif item.type == "function_call" and no_calls:
                self._call(item, index)

    def _write(self, text: Any, logprobs: Iterable[Token] | None) -> None:
        if text is not None and type(text) is not str:
            raise APIResponseError(f"the text is of type {type(text).__name__}")
        for token in logprobs or ():
            value = float("-inf") if token.logprob is None else token.logprob
            self._tokens.append(TokenLogprob(token.token, value))
        if text:
            self._text.append(text)
            self._on_delta(text)

    def _arguments(self, event: StreamEvent) -> None:
        call = self._calls.get(_key(event.output_index, event.item_id))
        if call is None:
            raise APIResponseError("arguments came for a function call that was not begun")
        if event.arguments is not None:
            call.arguments = [_json_text(event.arguments)]
        elif event.delta is not None:
            call.arguments.append(_json_text(event.delta))

    def _call(self, item: Item, index: int | None) -> None:
        call = self._calls.setdefault(_key(index, item.id), _PartialCall())
        call.id = item.call_id or call.id
        call.name = item.name if isinstance(item.name, str) else call.name
        if item.arguments:
            call.arguments = [_json_text(item.arguments)]

    def answer(self, request_id: str | None, /) -> Answer:
        """The answer as far as it was taken in."""
        return Answer(
            text="".join(self._text),
            tool_calls=tuple(
                ToolCall(call.name, "".join(call.arguments), call.id)
                for call in self._calls.values()
            ),
            finish_reason=self.finish_reason,
            usage=self._usage,
            logprobs=tuple(self._tokens) or None,
            model=self._model,
            request_id=request_id,
        )


def _key(index: int | None, item_id: str | None) -> int | str | None:
    """What tells the calls of one answer apart. Some servers leave the index out."""
    return item_id if index is None else index


def _json_text(arguments: Any) -> str:
    if type(arguments) is str:
        return arguments
    try:
        return msgspec.json.encode(arguments).decode()  # an object where its JSON text belongs
    except RecursionError:
        raise APIResponseError("the arguments of a function call are nested too deeply") from None
