"""What a check in another program is sent and what it answers: JSON, both ways.

It gets ``{"request": {...}, "answer": {...}}`` and answers ``{"outcome": "accepted"}``, or
``rejected`` or ``abstained``, with ``score``, ``reason``, ``code``, ``repairable``, ``parsed`` and
``text`` where it has them. Anything else is no verdict, so an abstention.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from sys import float_info
from typing import Any, Literal, get_args

import msgspec
from anyio import to_thread

from cascade.errors import ConfigError, nearest
from cascade.types import Answer, Message, Request, ToolCall
from cascade.verdict import Verdict
from cascade.verify import CostClass
from cascade_verifiers.extract import MAX_CHARS

TIMEOUT = 10.0
MAX_BYTES = 1_000_000
INLINE_CHARS = 50_000


class _Reply(msgspec.Struct, forbid_unknown_fields=True):
    outcome: Literal["accepted", "rejected", "abstained"]
    score: float | None = None  # no `msgspec.Meta`: processes crash as they end (its issue 717)
    reason: str = ""
    code: str = ""
    repairable: bool = False
    parsed: Any = None
    text: str | None = None


def too_long(answer: Answer) -> Verdict | None:
    """The abstention on an answer that is too long to be sent; else None."""
    size = len(answer.text) + sum(len(call.arguments) for call in answer.tool_calls)
    if size <= MAX_CHARS:
        return None
    reason = f"the answer is longer than {MAX_CHARS:,} characters"
    return Verdict.abstain(reason, code="external.answer_too_long")


async def encode(request: Request, answer: Answer) -> bytes:
    """What the other program is sent; made in a thread where it is long."""
    size = len(answer.text) + sum(len(message.text) for message in request.messages)
    if size > INLINE_CHARS:
        return await to_thread.run_sync(_encode, request, answer, abandon_on_cancel=True)
    return _encode(request, answer)


def _encode(request: Request, answer: Answer) -> bytes:
    value = {
        "request": {
            "text": request.text,
            "messages": [_message(message) for message in request.messages],
            "tools": list(request.tools),
            "params": dict(request.params),
        },
        "answer": {
            "text": answer.text,
            "tool_calls": [_tool_call(call) for call in answer.tool_calls],
            "finish_reason": answer.finish_reason,
            "model": answer.model,
        },
    }
    # ASCII: half of a surrogate pair is no UTF-8, and goes as the escape that it came as.
    return json.dumps(value, default=_plain).encode("ascii") + b"\n"


def decode(reply: bytes, who: str) -> Verdict:
    """The verdict in ``reply``; an abstention that says why where there is none."""
    try:
        read = msgspec.json.decode(reply, type=_Reply)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        reason = f"{who} did not answer with a verdict: {error}" if reply else f"{who} said nothing"
        return Verdict.abstain(reason[:300], code="external.unreadable")
    if read.score is not None and not 0 <= read.score <= 1:
        reason = f"{who} did not answer with a verdict: score {read.score!r} is not in [0, 1]"
        return Verdict.abstain(reason[:300], code="external.unreadable")
    match read.outcome:
        case "accepted":
            return Verdict.accept(score=read.score, parsed=read.parsed, text=read.text)
        case "abstained":
            return Verdict.abstain(read.reason or f"{who} abstained", code=read.code)
    return Verdict.reject(
        read.reason or f"{who} rejected the answer",
        code=read.code or "external.rejected",
        score=read.score,
        repairable=read.repairable,
        parsed=read.parsed,
        text=read.text,
    )


def check_cost_class(given: str) -> None:
    """Refuse a class of cost that is none.

    Raises:
        ConfigError: with the nearest right name.
    """
    if given not in get_args(CostClass):
        raise ConfigError(f"cost_class={given!r}: {nearest(str(given), get_args(CostClass))}")


def check_limits(**limits: Any) -> None:
    """Refuse limits that are none.

    Raises:
        ConfigError: with the name of the limit first.
    """
    for name, limit in limits.items():
        number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if not number or not 0 < limit <= float_info.max:
            raise ConfigError(f"{name}={limit!r}: needs a number above 0")


def _message(message: Message) -> dict[str, Any]:
    content = message.content
    return {
        "role": message.role,
        "content": content if content is None or isinstance(content, str) else list(content),
        "name": message.name,
        "tool_calls": [_tool_call(call) for call in message.tool_calls],
        "tool_call_id": message.tool_call_id,
    }


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
