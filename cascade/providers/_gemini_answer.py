"""Answers of Gemini's ``generateContent``, put together from the chunks of a stream.

A chunk has the shape of a whole answer (google-genai 3.4, ``GenerateContentResponse``), so both
are read alike. Zeros and empty texts are left out by the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from cascade.errors import APIResponseError
from cascade.providers._gemini_errors import read_error
from cascade.providers._http_errors import ErrorBody
from cascade.providers._sse import Event
from cascade.providers._wire import ErrorInAnswer
from cascade.types import Answer, TokenLogprob, ToolCall, Usage

_FINISH: Final[Mapping[str, str]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",  # the rest would be another call
} | dict.fromkeys(
    ("BLOCKLIST", "ESCALATION", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "IMAGE_SAFETY",
     "LANGUAGE", "MODEL_ARMOR", "PROHIBITED_CONTENT", "RECITATION", "SAFETY", "SPII"),
    "content_filter",
)  # fmt: skip

# The model, or the server around it, failed in the middle; what came before is half an answer.
_FAILED: Final[Mapping[str, int | None]] = {
    "IMAGE_OTHER": None,
    "MALFORMED_FUNCTION_CALL": None,
    "MALFORMED_RESPONSE": None,
    "MISSING_THOUGHT_SIGNATURE": 400,
    "NO_IMAGE": None,
    "OTHER": None,
    "PUP_LIMITED_DISABLED": 403,
    "TOO_MANY_TOOL_CALLS": None,
    "UNEXPECTED_TOOL_CALL": None,
}


class _Call(msgspec.Struct, gc=False):
    name: str = ""
    args: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | None = None


class _Part(msgspec.Struct, gc=False, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    function_call: _Call | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Token(msgspec.Struct, gc=False, rename="camel"):
    token: str = ""
    log_probability: float | None = None


class _Logprobs(msgspec.Struct, gc=False, rename="camel"):
    chosen_candidates: list[_Token] | None = None


class _Candidate(msgspec.Struct, gc=False, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int | None = None
    logprobs_result: _Logprobs | None = None


class _Feedback(msgspec.Struct, gc=False, rename="camel"):
    block_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: Any = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Chunk).decode


class Assembly:
    """Puts an answer together from the chunks of a stream, or from one whole body.

    Attributes:
        whole: whether the server has said that this is all, by a finish reason or by blocking the
            prompt.
        ended: never: the format has no end mark, its stream just ends.
    """

    __slots__ = ("_calls", "_counts", "_final", "_finish_reason", "_model", "_on_delta",
                 "_response_id", "_text", "_tokens", "ended")  # fmt: skip

    def __init__(self, on_delta: Callable[[str], None]) -> None:
        self._on_delta = on_delta
        self._text: list[str] = []
        self._tokens: list[TokenLogprob] = []
        self._calls: list[ToolCall] = []
        self._counts: dict[str, Any] = {}
        self._model: str | None = None
        self._response_id: str | None = None
        self._finish_reason: str | None = None
        self._final: bytes | None = None
        self.ended = False

    @property
    def whole(self) -> bool:
        return self._finish_reason is not None

    def add(self, event: Event) -> None:
        """Take in one event.

        Raises:
            APIResponseError: it is no chunk.
            ErrorInAnswer: it is an error, or the model failed.
        """
        if event.data == self._final:
            return  # the last chunk once more would be its text once more
        self._take(event.data)

    def add_whole(self, body: bytes) -> None:
        """Take in the body of an answer that was not streamed. It arrived as no delta.

        Raises:
            APIResponseError: it is no answer.
            ErrorInAnswer: it is an error, or the model failed.
        """
        if body.lstrip().startswith(b"["):  # without alt=sse the API wraps all in a list
            raise ErrorInAnswer(read_error(body))
        self._on_delta = lambda _text: None
        if not self._take(body).candidates and not self.whole:
            raise APIResponseError("the answer has no candidates")

    def _take(self, data: bytes) -> _Chunk:
        try:
            chunk = _decode(data)
        except (ValueError, RecursionError) as error:
            raise APIResponseError(f"the answer is no Gemini response: {error}") from error
        if chunk.error:
            raise ErrorInAnswer(read_error(data))
        self._model = chunk.model_version or self._model
        self._response_id = chunk.response_id or self._response_id
        if isinstance(chunk.usage_metadata, dict):
            self._counts = chunk.usage_metadata or self._counts
        for candidate in chunk.candidates or ():
            if not candidate.index:  # one answer is asked for
                self._choose(candidate)
                if candidate.finish_reason not in (None, "FINISH_REASON_UNSPECIFIED"):
                    self._finish(candidate)
                    self._final = data
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
            self._finish_reason = "content_filter"
        return chunk

    def _choose(self, candidate: _Candidate) -> None:
        for part in (candidate.content and candidate.content.parts) or ():
            if part.function_call is not None:
                call = part.function_call
                arguments = bytes(call.args).decode("utf-8", "replace")
                self._calls.append(ToolCall(call.name, arguments, call.id))
            elif part.text and not part.thought:
                self._text.append(part.text)
                self._on_delta(part.text)
        result = candidate.logprobs_result
        for token in (result and result.chosen_candidates) or ():
            value = float("-inf") if token.log_probability is None else token.log_probability
            self._tokens.append(TokenLogprob(token.token, value))

    def _finish(self, candidate: _Candidate) -> None:
        reason = candidate.finish_reason or ""
        if reason in _FAILED:
            more = f": {candidate.finish_message}" if candidate.finish_message else ""
            message = f"the finish reason is {reason!r}{more}"
            raise ErrorInAnswer(ErrorBody(message, status=_FAILED[reason]))
        self._finish_reason = _FINISH.get(reason, reason.lower())

    def answer(self, request_id: str | None) -> Answer:
        """The answer as far as it was taken in. The request's id is in the body, not in a header;
        the one given here is used when it is missing."""
        reason = self._finish_reason
        return Answer(
            text="".join(self._text),
            tool_calls=tuple(self._calls),
            finish_reason="tool_calls" if reason == "stop" and self._calls else reason,
            usage=read_usage(self._counts),
            logprobs=tuple(self._tokens) or None,
            model=self._model,
            request_id=self._response_id or request_id,
        )


def read_usage(counts: Mapping[str, Any]) -> Usage | None:
    """Cached tokens are part of the prompt's; thoughts are counted beside the candidates'. What
    the API's own tools put into the prompt is counted by itself."""
    if not counts:
        return None
    thoughts = _count(counts, "thoughtsTokenCount")
    return Usage(
        input_tokens=(_count(counts, "promptTokenCount") or 0)
        + (_count(counts, "toolUsePromptTokenCount") or 0),
        output_tokens=(_count(counts, "candidatesTokenCount") or 0) + (thoughts or 0),
        cached_input_tokens=_count(counts, "cachedContentTokenCount"),
        reasoning_tokens=thoughts,
    )


def _count(counts: Mapping[str, Any], key: str) -> int | None:
    count = counts.get(key)
    return count if type(count) is int and count >= 0 else None
