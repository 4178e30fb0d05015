"""How a test server writes a `Reply` in the format of OpenAI's Responses API."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from cascade.testing._dialect import counted, model_in, sse, texts_in
from cascade.testing.reply import Reply, ServedRequest
from cascade.types import ToolCall

_INCOMPLETE = {"length": "max_output_tokens"}


class Responses:
    """The bytes of one reply to one request.

    The tool calls are the first output items, the text is the last. The finish reason and the end
    mark are one event here, so leaving out either leaves it out.
    """

    request_id_header: ClassVar[str | None] = "X-Request-Id"

    def __init__(self, reply: Reply, request: ServedRequest) -> None:
        self._reply = reply
        self._request = request.body
        self._number = request.number
        self._sequence = itertools.count()

    @staticmethod
    def model_asked(path: str, body: Mapping[str, Any]) -> str | None:
        return model_in(body) if path.endswith("/responses") else None

    @property
    def streams(self) -> bool:
        return self._request.get("stream") is True and self._reply.status < 400

    @property
    def content_type(self) -> str:
        return "text/event-stream; charset=utf-8" if self.streams else "application/json"

    def tokens(self) -> Iterator[bytes]:
        """One delta a token; everything that begins the response goes before the first one."""
        before = self._start()
        for i, piece in enumerate(self._reply.pieces):
            yield before + self._text_event("delta", delta=piece, logprobs=self._logprobs(i, i + 1))
            before = b""
        if before:
            yield before

    def _start(self) -> bytes:
        begun = self._response("in_progress", output=[])
        start = self._event("response.created", response=begun)
        start += self._event("response.in_progress", response=begun)
        for index, call in enumerate(self._reply.tool_calls):
            start += self._call_events(index, call)
        if self._has_text:
            item = {**self._message("in_progress"), "content": []}
            start += self._event("response.output_item.added", output_index=self._at, item=item)
            part = {"type": "output_text", "text": "", "annotations": []}
            start += self._event("response.content_part.added", **self._where, part=part)
        return start

    def _call_events(self, index: int, call: ToolCall) -> bytes:
        item = _call_item(index, call)
        half = len(call.arguments) // 2
        where = {"item_id": item["id"], "output_index": index}
        begun = {**item, "arguments": "", "status": "in_progress"}
        events = self._event("response.output_item.added", output_index=index, item=begun)
        for part in (call.arguments[:half], call.arguments[half:]):
            events += self._event("response.function_call_arguments.delta", **where, delta=part)
        events += self._event(
            "response.function_call_arguments.done", **where, arguments=call.arguments
        )
        return events + self._event("response.output_item.done", output_index=index, item=item)

    def end(self) -> bytes:
        """What follows the last token."""
        reply = self._reply
        if reply.error is not None:
            failed = self._response("failed", output=[])
            failed["error"] = {"code": "server_error", "message": self._said, **reply.error}
            return self._event("response.failed", response=failed)
        end = b""
        if self._has_text:
            text, logprobs = "".join(reply.pieces), self._logprobs(0, None)
            item = self._message("completed")
            end += self._text_event("done", text=text, logprobs=logprobs)
            end += self._event("response.content_part.done", **self._where, part=item["content"][0])
            end += self._event("response.output_item.done", output_index=self._at, item=item)
        if reply.ending is None or not reply.done:
            return end
        response = self._finished()
        return end + self._event(f"response.{response['status']}", response=response)

    def whole(self) -> bytes:
        """The answer, or the error, as one JSON body."""
        reply = self._reply
        if reply.status >= 400 or reply.error is not None:
            code = "model_not_found" if reply.status == 404 else None
            error = {"message": self._said, "type": "error", "param": None, "code": code}
            return json.dumps({"error": {**error, **(reply.error or {})}}).encode()
        return json.dumps(self._finished()).encode()

    def _finished(self) -> dict[str, Any]:
        reply = self._reply
        output = [_call_item(index, call) for index, call in enumerate(reply.tool_calls)]
        if self._has_text:
            output.append(self._message("completed"))
        if reply.ending in ("stop", "tool_calls"):
            response = self._response("completed", output)
        else:
            response = self._response("incomplete", output)
            reason = None if reply.ending is None else _INCOMPLETE.get(reply.ending, reply.ending)
            response["incomplete_details"] = {"reason": reason}
        response["usage"] = self._usage()
        return response

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"resp_{self._number}",
            "object": "response",
            "created_at": 0,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self._reply.model or self._request.get("model"),
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": None,
        }

    def _message(self, status: str) -> dict[str, Any]:
        part: dict[str, Any] = {
            "type": "output_text",
            "text": "".join(self._reply.pieces),
            "annotations": [],
            "logprobs": self._logprobs(0, None),
        }
        return {
            "id": "msg_0",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [part],
        }

    def _logprobs(self, start: int, stop: int | None) -> list[dict[str, Any]]:
        values = self._reply.logprobs
        if values is None or "message.output_text.logprobs" not in self._request.get("include", ()):
            return []
        pairs = list(zip(self._reply.pieces, values, strict=True))[start:stop]
        return [
            {"token": token, "bytes": list(token.encode()), "logprob": value, "top_logprobs": []}
            for token, value in pairs
        ]

    def _usage(self) -> dict[str, Any] | None:
        usage = counted(self._reply, texts_in(self._request.get("input")))
        if usage is None:
            return None
        counts: dict[str, Any] = {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": (usage.input_tokens or 0) + (usage.output_tokens or 0),
        }
        if usage.cached_input_tokens is not None:
            counts["input_tokens_details"] = {"cached_tokens": usage.cached_input_tokens}
        if usage.reasoning_tokens is not None:
            counts["output_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
        return counts

    @property
    def _said(self) -> str:
        return self._reply.text or "the server was told to fail"

    @property
    def _has_text(self) -> bool:
        return bool(self._reply.pieces) or not self._reply.tool_calls

    @property
    def _at(self) -> int:
        return len(self._reply.tool_calls)

    @property
    def _where(self) -> dict[str, Any]:
        return {"item_id": "msg_0", "output_index": self._at, "content_index": 0}

    def _text_event(self, what: str, **members: Any) -> bytes:
        return self._event(f"response.output_text.{what}", **self._where, **members)

    def _event(self, kind: str, **members: Any) -> bytes:
        return sse({"type": kind, "sequence_number": next(self._sequence), **members}, kind)


def _call_item(index: int, call: ToolCall) -> dict[str, Any]:
    return {
        "id": f"fc_{index}",
        "type": "function_call",
        "status": "completed",
        "arguments": call.arguments,
        "call_id": call.id,
        "name": call.name,
    }
