"""How a test server writes a `Reply` in the chat-completions format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cascade.testing.reply import Reply
from cascade.types import Usage

PATH = "/chat/completions"


class ChatCompletions:
    """The bodies of one reply to one request, as bytes."""

    def __init__(self, reply: Reply, request: Mapping[str, Any], number: int) -> None:
        self._reply = reply
        self._request = request
        self._id = f"chatcmpl-{number}"

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream."""
        return self._request.get("stream") is True and self._reply.status < 400

    @property
    def content_type(self) -> str:
        return "text/event-stream; charset=utf-8" if self.streams else "application/json"

    def tokens(self) -> list[bytes]:
        """One event a token; the role and the tool calls go before the first one's text."""
        reply = self._reply
        events = [
            self._event({"content": piece}, logprobs=self._logprobs(i, i + 1))
            for i, piece in enumerate(reply.pieces)
        ]
        first = self._event({"role": "assistant", "content": None})
        for i, call in enumerate(reply.tool_calls):
            half = len(call.arguments) // 2
            function = {"name": call.name, "arguments": call.arguments[:half]}
            start = {"index": i, "id": call.id, "type": "function", "function": function}
            rest = {"index": i, "function": {"arguments": call.arguments[half:]}}
            first += self._event({"tool_calls": [start]}) + self._event({"tool_calls": [rest]})
        if not events:
            return [first]
        return [first + events[0], *events[1:]]

    def end(self) -> bytes:
        """What follows the last token."""
        reply = self._reply
        if reply.error is not None:
            return _data(self.error())
        end = self._event({}, finish_reason=reply.ending) if reply.ending is not None else b""
        options = self._request.get("stream_options") or {}
        if reply.usage is not None and options.get("include_usage"):
            end += _data({**self._envelope("chat.completion.chunk"), "choices": [],
                          "usage": self._usage()})  # fmt: skip
        return end + b"data: [DONE]\n\n" if reply.done else end

    def whole(self) -> bytes:
        """The answer, or the error, as one JSON body."""
        reply = self._reply
        if reply.status >= 400 or reply.error is not None:
            return json.dumps(self.error()).encode()
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
        if reply.usage is not None:
            body["usage"] = self._usage()
        return json.dumps(body).encode()

    def error(self) -> dict[str, Any]:
        """The error object and what is around it."""
        given = self._reply.error or {}
        message = self._reply.text or "the server was told to fail"
        return {"error": {"message": message, "type": "error", "code": None, **given}}

    def _envelope(self, kind: str) -> dict[str, Any]:
        model = self._request.get("model")
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
        return _data({**self._envelope("chat.completion.chunk"), "choices": [choice]})

    def _logprobs(self, start: int, stop: int) -> dict[str, Any] | None:
        values = self._reply.logprobs
        if values is None or not self._request.get("logprobs"):
            return None
        pairs = list(zip(self._reply.pieces, values, strict=True))[start:stop]
        return {"content": [{"token": token, "logprob": value} for token, value in pairs]}

    def _usage(self) -> dict[str, Any]:
        usage = self._reply.usage
        if not isinstance(usage, Usage):
            words = sum(len(str(m.get("content")).split()) for m in self._messages())
            usage = Usage(words, len(self._reply.pieces))
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

    def _messages(self) -> list[Mapping[str, Any]]:
        messages = self._request.get("messages")
        return messages if isinstance(messages, list) else []


def _data(value: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
