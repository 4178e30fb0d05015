"""How a test server writes a `Reply` in the format of Ollama's ``/api/chat``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from cascade.testing._dialect import counted, model_in, texts_in
from cascade.testing.reply import Reply, ServedRequest
from cascade.types import ToolCall


class Ollama:
    """The bytes of one reply to one request: JSON lines.

    Error members (`Reply.error`) are put beside the message, as an error has no members here.
    """

    request_id_header: ClassVar[str | None] = None

    def __init__(self, reply: Reply, request: ServedRequest) -> None:
        self._reply = reply
        self._request = request.body

    @staticmethod
    def model_asked(path: str, body: Mapping[str, Any]) -> str | None:
        return model_in(body) if path.endswith("/api/chat") else None

    @property
    def streams(self) -> bool:
        return self._request.get("stream") is not False and self._reply.status < 400

    @property
    def content_type(self) -> str:
        return "application/x-ndjson" if self.streams else "application/json; charset=utf-8"

    def tokens(self) -> Iterator[bytes]:
        """One line a token; the tool calls, which come whole, have a line before the first."""
        before = b""
        if self._reply.tool_calls:
            before = self._line({"content": "", "tool_calls": self._calls()})
        for i, piece in enumerate(self._reply.pieces):
            yield before + self._line({"content": piece}, **self._logprobs(i, i + 1))
            before = b""
        if before:
            yield before

    def end(self) -> bytes:
        """What follows the last token."""
        if self._reply.error is not None:
            return _json_line(self._error())
        return self._line({"content": ""}, **self._end()) if self._reply.done else b""

    def whole(self) -> bytes:
        """The answer, or the error, as one JSON body."""
        reply = self._reply
        if reply.status >= 400 or reply.error is not None:
            return _json_line(self._error())
        message: dict[str, Any] = {"content": "".join(reply.pieces)}
        if reply.tool_calls:
            message["tool_calls"] = self._calls()
        return self._line(message, **self._logprobs(0, None), **self._end())

    def _error(self) -> dict[str, Any]:
        message = self._reply.text or "the server was told to fail"
        return {"error": message, **(self._reply.error or {})}

    def _line(self, message: Mapping[str, Any], **members: Any) -> bytes:
        return _json_line(
            {
                "model": self._reply.model or self._request.get("model"),
                "created_at": "2026-01-01T00:00:00.000000001Z",
                "message": {"role": "assistant", **message},
                "done": False,
                **members,
            }
        )

    def _end(self) -> dict[str, Any]:
        end: dict[str, Any] = {"done": True, "total_duration": 1, "load_duration": 1}
        reason = self._reply.ending
        if reason is not None:
            end["done_reason"] = "stop" if reason == "tool_calls" else reason
        usage = counted(self._reply, texts_in(self._request.get("messages")))
        if usage is not None:
            end["prompt_eval_count"] = usage.input_tokens
            end["eval_count"] = usage.output_tokens
        return end

    def _calls(self) -> list[dict[str, Any]]:
        return [_call(index, call) for index, call in enumerate(self._reply.tool_calls)]

    def _logprobs(self, start: int, stop: int | None) -> dict[str, Any]:
        values = self._reply.logprobs
        if values is None or not self._request.get("logprobs"):
            return {}
        pairs = list(zip(self._reply.pieces, values, strict=True))[start:stop]
        return {"logprobs": [{"token": token, "logprob": value} for token, value in pairs]}


def _call(index: int, call: ToolCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments)
    except ValueError:
        arguments = call.arguments  # a reply may be told to be wrong
    function = {"index": index, "name": call.name, "arguments": arguments}
    return {"id": call.id, "function": function}


def _json_line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
