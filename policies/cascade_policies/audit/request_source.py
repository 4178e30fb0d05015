"""Logs of requests in the style of OpenAI's API, in the shapes that gateways write them.

One object a line: the request and the response under any of their usual names, or the request's
own keys at the top. What is read: ``messages``, ``prompt`` or ``input``; ``choices``, ``output``
or ``content``; ``usage``; and a time, a duration, a cost and a name of the task where they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cascade.types import Usage
from cascade_policies.audit.calls import (
    Call,
    Reading,
    call_cost,
    count,
    model_name,
    number,
    shorten,
    text_key,
)
from cascade_policies.audit.messages import Answered, Asked, answered, asked, full_text, parsed
from cascade_policies.audit.sources import Line

_REQUESTS: Final = ("request", "req", "reqPayload", "providerRequest", "kwargs", "input", "body")
_RESPONSES: Final = ("response", "resp", "respPayload", "providerResponse", "completion", "output",
                     "answer")  # fmt: skip
_BODIES: Final = ("body", "json", "data")
_PLACES: Final = ("task", "call_site", "callsite", "feature", "operation", "prompt_name",
                  "generation_name", "function", "name", "run_name")  # fmt: skip
_SESSIONS: Final = ("session_id", "session", "conversation_id", "thread_id", "trace_id", "traceId",
                    "trace", "ticket_id", "workflow_id", "request_group")  # fmt: skip
_TIMES: Final = ("created", "timestamp", "time", "started_at", "start_time", "startTime",
                 "created_at", "requestedAt", "date")  # fmt: skip
_ENDS: Final = ("end_time", "endTime", "ended_at", "finished_at", "receivedAt")
_SECONDS: Final = ("latency_s", "latency", "duration_s", "duration", "response_time", "elapsed",
                   "elapsed_s", "seconds")  # fmt: skip
_MILLISECONDS: Final = ("latency_ms", "duration_ms", "response_time_ms", "elapsed_ms", "latencyMs",
                        "durationMs")  # fmt: skip
_COSTS: Final = ("response_cost", "cost_usd", "total_cost", "cost")
_LONGEST_NAME: Final = 120


def read_request(line: Line, reading: Reading) -> Call | None:
    """The call of a line; None, and counted, where there is none to be read."""
    data = line.data
    request, response = _body(data, _REQUESTS), _body(data, _RESPONSES)
    question = _question(data, request)
    if question is None:
        reading.skip(line.number, "no messages or prompt")
        return None
    told = answered(response)
    failed = _failed(data, response) or not told.found
    return _call(line, request, response, question, told, failed=failed)


def _call(
    line: Line, request: object, response: object, question: Asked, told: Answered, *, failed: bool
) -> Call:
    data = line.data
    sources = _maps(data, data.get("metadata"), data.get("meta"), request, response)
    if isinstance(request, Mapping):
        sources += _maps(request.get("metadata"))
    usage = read_usage(_first_map(sources, "usage") or data)
    began = _time(data, response)
    model = model_name(
        _text(sources, ("provider", "custom_llm_provider")),
        _text([*_maps(request), data, *_maps(response)], ("model",)),
    )
    recorded = next((data[key] for key in _COSTS if key in data), None)
    full = full_text(question)
    return Call(
        line=line.number,
        place=_text(sources, _PLACES),
        session=_text(sources, _SESSIONS),
        model=model,
        system=shorten(question.system),
        prompt=shorten(question.prompt),
        prompt_key=text_key(full),
        answer=None if failed else shorten(told.text),
        answer_key=b"" if failed else text_key(told.text),
        answer_chars=None if failed else len(told.text),
        tools=told.tools,
        after_tools=question.after_tools,
        began=began,
        latency=_latency(data, began),
        usage=usage,
        cost=call_cost(model, usage, full, None if failed else told.text, recorded),
        failed=failed,
    )


def _body(data: Mapping[str, object], names: Iterable[str]) -> object:
    """What stands under one of the names, unwrapped: text of JSON, and an envelope's body."""
    for name in names:
        value = parsed(data.get(name)) if name not in ("input", "output") else data.get(name)
        if not value:
            continue
        if isinstance(value, Mapping):
            for key in _BODIES:
                inner = parsed(value.get(key))
                if isinstance(inner, Mapping):
                    return inner
        return value
    # No envelope: the keys of the request, and those of the response, stand at the top.
    return data


def _question(data: Mapping[str, object], request: object) -> Asked | None:
    for source in (request, data):
        if isinstance(source, Mapping):
            system = source.get("system", source.get("instructions"))
            for key in ("messages", "prompt", "input", "prompt_messages"):
                if found := asked(parsed(source.get(key)), system):
                    return found
        elif found := asked(source):
            return found
    return None


def _failed(data: Mapping[str, object], response: object) -> bool:
    for source in _maps(data, response):
        if source.get("error") or source.get("exception"):
            return True
        for key in ("status", "status_code", "statusCode"):
            if (status := number(source.get(key))) is not None and status >= 400:
                return True
    return False


def read_usage(data: Mapping[str, Any]) -> Usage | None:
    """Token counts under OpenAI's or Anthropic's names; None when there are none."""
    read = count(data.get("prompt_tokens", data.get("input_tokens")))
    written = count(data.get("completion_tokens", data.get("output_tokens")))
    if read is None and written is None:
        return None
    cached = None
    for key in ("prompt_tokens_details", "input_tokens_details"):
        details = data.get(key)
        if isinstance(details, Mapping):
            cached = count(details.get("cached_tokens"))
    hit = count(data.get("cache_read_input_tokens"))
    if hit is not None and read is not None:
        # Anthropic counts what it read from, and wrote to, its cache apart.
        read += hit + (count(data.get("cache_creation_input_tokens")) or 0)
        cached = hit
    return Usage(read, written, cached)


def read_time(value: object) -> float | None:
    """Unix seconds from seconds, milli-, micro- or nanoseconds, or an ISO date and time."""
    seconds = number(value)
    if seconds is not None:
        for scale in (1.0, 1e3, 1e6, 1e9):
            if 0 <= seconds / scale < 1e11:
                return seconds / scale
        return None
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _time(data: Mapping[str, object], response: object) -> float | None:
    for source in _maps(data, response):
        for key in _TIMES:
            if (found := read_time(source.get(key))) is not None:
                return found
    return None


def _latency(data: Mapping[str, object], began: float | None) -> float | None:
    for keys, scale in ((_SECONDS, 1.0), (_MILLISECONDS, 1e-3)):
        for key in keys:
            found = number(data.get(key))
            if found is not None and found >= 0:
                return found * scale
    for key in _ENDS:
        ended = read_time(data.get(key))
        if ended is not None and began is not None and ended >= began:
            return ended - began
    return None


def _maps(*values: object) -> list[Mapping[str, object]]:
    return [value for value in values if isinstance(value, Mapping)]


def _first_map(sources: Iterable[Mapping[str, object]], key: str) -> Mapping[str, Any] | None:
    return next((found for source in sources for found in _maps(source.get(key))), None)


def _text(sources: Iterable[Mapping[str, object]], keys: Iterable[str]) -> str:
    for source in sources:
        for key in keys:
            value = source.get(key)
            if isinstance(value, str) and value and len(value) <= _LONGEST_NAME:
                return value
    return ""
