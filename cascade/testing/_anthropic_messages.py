"""How a test server writes a `Reply` in the format of Anthropic's Messages API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from cascade.testing._dialect import counted, model_in, sse, texts_in
from cascade.testing.reply import Reply, ServedRequest

_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_ERRORS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class AnthropicMessages:
    """The bytes of one reply to one request."""

    request_id_header: ClassVar[str | None] = "request-id"

    def __init__(self, reply: Reply, request: ServedRequest) -> None:
        self._reply = reply
        self._request = request.body
        self._number = request.number

    @staticmethod
    def model_asked(path: str, body: Mapping[str, Any]) -> str | None:
        return model_in(body) if path.endswith("/v1/messages") else None

    @property
    def streams(self) -> bool:
        return self._request.get("stream") is True and self._reply.status < 400

    @property
    def content_type(self) -> str:
        return "text/event-stream; charset=utf-8" if self.streams else "application/json"

    def tokens(self) -> Iterator[bytes]:
        """One event a token; the message's start goes before the first one."""
        before = _event("message_start", message=self._message([], None, 1))
        before += _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        before += _event("ping")
        for piece in self._reply.pieces:
            delta = {"type": "text_delta", "text": piece}
            yield before + _event("content_block_delta", index=0, delta=delta)
            before = b""
        if before:
            yield before

    def end(self) -> bytes:
        """The text's end, the tool calls, each a block of its own, and the message's end."""
        reply = self._reply
        if reply.error is not None:
            return sse(self._error(), "error")
        end = _event("content_block_stop", index=0)
        for index, call in enumerate(reply.tool_calls, 1):
            block: dict[str, Any] = {"type": "tool_use", "id": call.id, "name": call.name}
            block["input"] = {}  # it follows in pieces
            end += _event("content_block_start", index=index, content_block=block)
            half = len(call.arguments) // 2
            for part in ("", call.arguments[:half], call.arguments[half:]):
                delta = {"type": "input_json_delta", "partial_json": part}
                end += _event("content_block_delta", index=index, delta=delta)
            end += _event("content_block_stop", index=index)
        if reply.ending is not None:
            usage = self._usage()
            counts = {} if usage is None else {"usage": usage}
            end += _event("message_delta", delta=self._ending(), **counts)
        return end + _event("message_stop") if reply.done else end

    def whole(self) -> bytes:
        """The answer, or the error, as one JSON body."""
        reply = self._reply
        if reply.status >= 400 or reply.error is not None:
            return json.dumps(self._error()).encode()
        content: list[dict[str, Any]] = []
        if text := "".join(reply.pieces):
            content.append({"type": "text", "text": text})
        for call in reply.tool_calls:
            arguments = json.loads(call.arguments)
            content.append(
                {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}
            )
        return json.dumps(self._message(content, self._ending(), None)).encode()

    def _message(
        self, content: list[dict[str, Any]], ending: Mapping[str, Any] | None, output: int | None
    ) -> dict[str, Any]:
        """``output`` is what a message's start says instead of the tokens there will be."""
        message: dict[str, Any] = {
            "id": f"msg_{self._number}",
            "type": "message",
            "role": "assistant",
            "model": self._reply.model or model_in(self._request),
            "content": content,
            **(ending or {"stop_reason": None, "stop_sequence": None}),
        }
        if (usage := self._usage()) is not None:
            message["usage"] = usage if output is None else {**usage, "output_tokens": output}
        return message

    def _ending(self) -> dict[str, Any]:
        reason = self._reply.ending
        return {"stop_reason": reason and _REASONS.get(reason, reason), "stop_sequence": None}

    def _usage(self) -> dict[str, Any] | None:
        prompt = (self._request.get("system"), self._request.get("messages"))
        usage = counted(self._reply, (text for part in prompt for text in texts_in(part)))
        if usage is None:
            return None
        cached = usage.cached_input_tokens
        fresh = None if usage.input_tokens is None else usage.input_tokens - (cached or 0)
        counts: dict[str, Any] = {"input_tokens": fresh, "output_tokens": usage.output_tokens}
        if cached is not None:
            counts["cache_read_input_tokens"] = cached
        if usage.reasoning_tokens is not None:
            counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
        return counts

    def _error(self) -> dict[str, Any]:
        status = self._reply.status
        return {
            "type": "error",
            "error": {
                "type": _ERRORS.get(status, "api_error"),
                "message": self._reply.text or "the server was told to fail",
                **(self._reply.error or {}),
            },
            "request_id": f"req-{self._number}",
        }


def _event(name: str, **members: Any) -> bytes:
    return sse({"type": name, **members}, name)
