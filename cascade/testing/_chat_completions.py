"""How a test server writes a `Reply` in the chat-completions format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from cascade.testing._dialect import counted, model_in, sse, texts_in
from cascade.testing.reply import Reply, ServedRequest


class ChatCompletions:
    """The bytes of one reply to one request."""

    request_id_header: ClassVar[str | None] = "X-Request-Id"

    def __init__(self, reply: Reply, request: ServedRequest) -> None:
        self._reply = reply
        self._request = request.body
        self._id = f"chatcmpl-{request.number}"

    @staticmethod
    def model_asked(path: str, body: Mapping[str, Any]) -> str | None:
        return model_in(body) if path.endswith("/chat/completions") else None

    @property
    def streams(self) -> bool:
        return self._request.get("stream") is True and self._reply.status < 400

    @property
    def content_type(self) -> str:
        return "text/event-stream; charset=utf-8" if self.streams else "application/json"

    def tokens(self) -> Iterator[bytes]:
        """One event a token; the role and the tool calls go before the first one's text."""
        before = self._start()
        for i, piece in enumerate(self._reply.pieces):
            yield before + self._event({"content": piece}, logprobs=self._logprobs(i, i + 1))
            before = b""
        if before:
            yield before

    def _start(self) -> bytes:
        start = self._event({"role": "assistant", "content": None})
        for i, call in enumerate(self._reply.tool_calls):
            half = len(call.arguments) // 2
            function = {"name": call.name, "arguments": call.arguments[:half]}
            first = {"index": i, "id": call.id, "type": "function", "function": function}
            rest = {"index": i, "function": {"arguments": call.arguments[half:]}}
            start += self._event({"tool_calls": [first]}) + self._event({"tool_calls": [rest]})
        return start

    def end(self) -> bytes:
        """What follows the last token."""
        reply = self._reply
        if reply.error is not None:
            return sse(self._error())
        end = self._event({}, finish_reason=reply.ending) if reply.ending is not None else b""
        options = self._request.get("stream_options") or {}
        usage = self._usage()
        if usage is not None and options.get("include_usage"):
            end += sse({**self._envelope("chat.completion.chunk"), "choices": [], "usage": usage})
        return end + b"data: [DONE]\n\n" if reply.done else end

    def whole(self) -> bytes:
        """The answer, or the error, as one JSON body."""
        reply = self._reply
        if reply.status >= 400 or reply.error is not None:
            return json.dumps(self._error()).encode()
        message: dict[str, Any] = {"role": "assistant", "content": "".join(reply.pieces) or None}
        if reply.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in reply.tool_calls
            ]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": self._logprobs(0, len(reply.pieces)),
            "finish_reason": reply.ending,
        }
        body = {**self._envelope("chat.completion"), "choices": [choice]}
        if (usage := self._usage()) is not None:
            body["usage"] = usage
        return json.dumps(body).encode()

    def _error(self) -> dict[str, Any]:
        given = self._reply.error or {}
        message = self._reply.text or "the server was told to fail"
        code = "model_not_found" if self._reply.status == 404 else None
        return {"error": {"message": message, "type": "error", "code": code, **given}}

    def _envelope(self, kind: str) -> dict[str, Any]:
        model = self._reply.model or self._request.get("model")
        return {"id": self._id, "object": kind, "created": 0, "model": model}

    def _event(
        self,
        delta: Mapping[str, Any],
        *,
        finish_reason: str | None = None,
        logprobs: Mapping[str, Any] | None = None,
    ) -> bytes:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        if logprobs is not None:
            choice["logprobs"] = logprobs
        return sse({**self._envelope("chat.completion.chunk"), "choices": [choice]})

    def _logprobs(self, start: int, stop: int) -> dict[str, Any] | None:
        values = self._reply.logprobs
        if values is None or not self._request.get("logprobs"):
            return None
        pairs = list(zip(self._reply.pieces, values, strict=True))[start:stop]
        return {"content": [{"token": token, "logprob": value} for token, value in pairs]}

    def _usage(self) -> dict[str, Any] | None:
        usage = counted(self._reply, texts_in(self._request.get("messages")))
        if usage is None:
            return None
        counts: dict[str, Any] = {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": (usage.input_tokens or 0) + (usage.output_tokens or 0),
        }
        if usage.cached_input_tokens is not None:
            counts["prompt_tokens_details"] = {"cached_tokens": usage.cached_input_tokens}
        if usage.reasoning_tokens is not None:
            counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
        return counts
