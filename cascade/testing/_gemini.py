"""How a test server writes a `Reply` in the format of Gemini's ``generateContent``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from cascade.testing._dialect import counted, sse, texts_in
from cascade.testing.reply import Reply, ServedRequest

_PATH: Final = re.compile(r"/(?:models|tunedModels)/([^/:]+):(stream)?[gG]enerateContent$")
_REASONS: Final = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",  # the API has no word of its own for it
    "content_filter": "SAFETY",
}
_ERRORS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Gemini:
    """The bytes of one reply to one request."""

    request_id_header: ClassVar[str | None] = None

    def __init__(self, reply: Reply, request: ServedRequest) -> None:
        self._reply = reply
        self._request = request.body
        self._model = reply.model or request.model
        self._id = f"req-{request.number}"
        self._streamed = ":streamGenerateContent" in request.path

    @staticmethod
    def model_asked(path: str, body: Mapping[str, Any]) -> str | None:
        del body
        found = _PATH.search(path)
        return unquote(found[1]) if found else None

    @property
    def streams(self) -> bool:
        return self._streamed and self._reply.status < 400

    @property
    def content_type(self) -> str:
        return "text/event-stream" if self.streams else "application/json; charset=UTF-8"

    def tokens(self) -> Iterator[bytes]:
        """One chunk a token; a reply without any has the end alone."""
        for i, piece in enumerate(self._reply.pieces):
            yield sse(self._chunk([{"text": piece}], i, i + 1))

    def end(self) -> bytes:
        """The tool calls, which are never in pieces, with the finish reason; there is no end
        mark."""
        reply = self._reply
        if reply.error is not None:
            return sse(self._error())
        if reply.ending is None and not reply.tool_calls:
            return b""
        return sse(self._chunk(self._calls(), 0, 0, last=True))

    def whole(self) -> bytes:
        """The answer, or the error, as one JSON body."""
        reply = self._reply
        if reply.status >= 400 or reply.error is not None:
            return json.dumps(self._error()).encode()
        text = "".join(reply.pieces)
        parts = ([{"text": text}] if text else []) + self._calls()
        return json.dumps(self._chunk(parts, 0, len(reply.pieces), last=True)).encode()

    def _chunk(
        self, parts: list[dict[str, Any]], start: int, stop: int, *, last: bool = False
    ) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if last and (reason := self._reply.ending) is not None:
            candidate["finishReason"] = _REASONS.get(reason, reason)
        if tokens := self._logprobs(start, stop):
            candidate["logprobsResult"] = {"chosenCandidates": tokens}
        chunk: dict[str, Any] = {
            "candidates": [candidate],
            "modelVersion": self._model,
            "responseId": self._id,
        }
        if last and (usage := self._usage()) is not None:
            chunk["usageMetadata"] = usage
        return chunk

    def _calls(self) -> list[dict[str, Any]]:
        return [
            {"functionCall": {"name": c.name, "args": json.loads(c.arguments), "id": c.id}}
            for c in self._reply.tool_calls
        ]

    def _logprobs(self, start: int, stop: int) -> list[dict[str, Any]]:
        config = self._request.get("generationConfig") or {}
        values = self._reply.logprobs
        if values is None or not config.get("responseLogprobs"):
            return []
        pairs = list(zip(self._reply.pieces, values, strict=True))[start:stop]
        return [{"token": token, "logProbability": value} for token, value in pairs]

    def _usage(self) -> dict[str, Any] | None:
        prompt = (self._request.get("systemInstruction"), self._request.get("contents"))
        usage = counted(self._reply, (text for part in prompt for text in texts_in(part)))
        if usage is None:
            return None
        thoughts = usage.reasoning_tokens
        counts: dict[str, Any] = {
            "promptTokenCount": usage.input_tokens,
            "candidatesTokenCount": (usage.output_tokens or 0) - (thoughts or 0),
            "totalTokenCount": (usage.input_tokens or 0) + (usage.output_tokens or 0),
        }
        if usage.cached_input_tokens is not None:
            counts["cachedContentTokenCount"] = usage.cached_input_tokens
        if thoughts is not None:
            counts["thoughtsTokenCount"] = thoughts
        return counts

    def _error(self) -> dict[str, Any]:
        status = self._reply.status
        code = status if status >= 400 else 500
        return {
            "error": {
                "code": code,
                "message": self._reply.text or "the server was told to fail",
                "status": _ERRORS.get(code, "UNKNOWN"),
                **(self._reply.error or {}),
            }
        }
