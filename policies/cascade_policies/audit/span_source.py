"""OpenTelemetry spans of model calls, as JSON lines: OTLP/JSON exports, or one span a line.

The attributes are those of the GenAI conventions: https://opentelemetry.io/docs/specs/semconv/gen-ai/
(``gen_ai.input.messages``, ``gen_ai.output.messages``, ``gen_ai.system_instructions``,
``gen_ai.usage.*``), and what came before them: ``gen_ai.prompt.0.content`` and the events
``gen_ai.user.message`` and ``gen_ai.choice``. OTLP/JSON is the mapping of
https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec.structs import replace

from cascade.types import Usage
from cascade_policies.audit.calls import (
    Call,
    Reading,
    call_cost,
    count,
    model_name,
    shorten,
    text_key,
)
from cascade_policies.audit.messages import (
    Answered,
    Asked,
    answered,
    asked,
    full_text,
    parsed,
    text_of,
)
from cascade_policies.audit.request_source import read_time

Span = Mapping[str, Any]
Attributes = Mapping[str, Any]

_DEPTH: Final = 16
_MOST_INDEXED: Final = 200
_CALLS: Final = frozenset({"chat", "text_completion", "generate_content", ""})
_PLACES: Final = ("cascade.policy", "gen_ai.prompt.name", "gen_ai.agent.name", "code.function.name",
                  "code.function")  # fmt: skip
_EVENT_ROLES: Final = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}


def spans_of(data: Mapping[str, object]) -> list[Span] | None:
    """The spans of a line, or None when the line is none of spans."""
    resources = data.get("resourceSpans", data.get("resource_spans"))
    if isinstance(resources, list):
        return list(_exported(resources))
    attributes = data.get("attributes")
    if isinstance(attributes, Mapping | list) and any(
        key in data for key in ("traceId", "trace_id", "context", "spanId", "span_id")
    ):
        return [data]
    if any(key.startswith("gen_ai.") for key in data):
        return [{**data, "attributes": data}]
    return None


def _exported(resources: list[object]) -> Iterator[Span]:
    for resource in resources:
        scopes = _first(resource, "scopeSpans", "scope_spans", "instrumentationLibrarySpans")
        for scope in scopes if isinstance(scopes, list) else ():
            spans = _first(scope, "spans")
            for span in spans if isinstance(spans, list) else ():
                if isinstance(span, Mapping):
                    yield span


class Spans:
    """Gathers the spans of a file: the call site of one may be the name of another."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._names: dict[str, str] = {}
        self._questions: dict[str, Asked] = {}
        self._found: list[tuple[Call, str]] = []

    def add(self, line: int, spans: list[Span]) -> None:
        """Take note of the spans of a line."""
        for span in spans:
            attributes = _attributes(span.get("attributes"))
            own = _id(span, "spanId", "span_id")
            if isinstance(name := span.get("name"), str):
                self._names[own] = name
            operation = attributes.get("gen_ai.operation.name", "")
            models = ("gen_ai.request.model", "gen_ai.response.model")
            if operation not in _CALLS or not any(key in attributes for key in models):
                self._reading.other += 1
                if own and (question := _question(attributes, [])) is not None:
                    self._questions[own] = question
                continue
            parent = _id(span, "parentSpanId", "parent_span_id", "parent_id")
            self._found.append((_call(line, span, attributes), parent))

    def calls(self) -> list[Call]:
        """The model calls. What they do not say themselves, call site and prompt, is the parent's:
        our own spans have the prompt once a call, and not with every attempt."""
        return [self._completed(call, parent) for call, parent in self._found]

    def _completed(self, call: Call, parent: str) -> Call:
        if not call.place and parent:
            call = replace(call, place=self._names.get(parent, ""))
        question = self._questions.get(parent) if call.prompt is None else None
        if question is None:
            return call
        return replace(
            call,
            system=shorten(question.system),
            prompt=shorten(question.prompt),
            prompt_key=text_key(full_text(question)),
            after_tools=question.after_tools,
        )


def _call(line: int, span: Span, attributes: Attributes) -> Call:
    events = span.get("events")
    events = events if isinstance(events, list) else []
    question, told = _question(attributes, events), _told(attributes, events)
    began = _moment(span, "startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime")
    ended = _moment(span, "endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime")
    model = model_name(
        _text(attributes, "gen_ai.provider.name", "gen_ai.system"),
        _text(attributes, "gen_ai.request.model", "gen_ai.response.model"),
    )
    usage = _usage(attributes)
    failed = bool(attributes.get("error.type")) or _is_error(span.get("status"))
    full = "" if question is None else full_text(question)
    text = told.text if told.found and not failed else None
    return Call(
        line=line,
        place=_text(attributes, *_PLACES),
        session=_text(attributes, "gen_ai.conversation.id", "session.id")
        or _id(span, "traceId", "trace_id"),
        model=model,
        system="" if question is None else shorten(question.system),
        prompt=None if question is None else shorten(question.prompt),
        prompt_key=b"" if question is None else text_key(full),
        answer=None if text is None else shorten(text),
        answer_key=b"" if text is None else text_key(text),
        answer_chars=None if text is None else len(text),
        tools=told.tools,
        after_tools=question is not None and question.after_tools,
        began=began,
        latency=None if began is None or ended is None or ended < began else ended - began,
        usage=usage,
        cost=call_cost(model, usage, full or None, text, attributes.get("gen_ai.usage.cost")),
        failed=failed,
    )


def _question(attributes: Attributes, events: list[object]) -> Asked | None:
    system = parsed(attributes.get("gen_ai.system_instructions"))
    for key in ("gen_ai.input.messages", "gen_ai.prompt"):
        if found := asked(parsed(attributes.get(key)), system):
            return found
    if found := asked(_indexed(attributes, "gen_ai.prompt"), system):
        return found
    messages = []
    for name, values in _events(events):
        if found := asked(parsed(values.get("gen_ai.input.messages")), system):
            return found
        if name in _EVENT_ROLES:
            messages.append({"role": _EVENT_ROLES[name], "content": text_of(values.get("content"))})
        elif name == "gen_ai.content.prompt":
            return asked(parsed(values.get("gen_ai.prompt")), system)
    return asked(messages, system)


def _told(attributes: Attributes, events: list[object]) -> Answered:
    for key in ("gen_ai.output.messages", "gen_ai.completion"):
        if (found := answered(parsed(attributes.get(key)))).found:
            return found
    if messages := _indexed(attributes, "gen_ai.completion"):
        return answered(messages)
    for name, values in _events(events):
        for key in ("gen_ai.output.messages", "gen_ai.completion"):
            if (found := answered(parsed(values.get(key)))).found:
                return found
        if name == "gen_ai.choice":
            return answered(parsed(values.get("message", values.get("content"))))
    return Answered("", (), False)


def _indexed(attributes: Attributes, prefix: str) -> list[dict[str, Any]]:
    messages = []
    for index in range(_MOST_INDEXED):
        role = attributes.get(f"{prefix}.{index}.role")
        content = attributes.get(f"{prefix}.{index}.content")
        if role is None and content is None:
            break
        messages.append({"role": role or "user", "content": content or ""})
    return messages


def _events(events: list[object]) -> Iterator[tuple[str, Attributes]]:
    for event in events[:_MOST_INDEXED]:
        if isinstance(event, Mapping):
            name = event.get("name")
            yield name if isinstance(name, str) else "", _attributes(event.get("attributes"))


def _usage(attributes: Attributes) -> Usage | None:
    def tokens(*names: str) -> int | None:
        values = (attributes.get(f"gen_ai.usage.{name}") for name in names)
        return next((found for value in values if (found := count(value)) is not None), None)

    read, written = (
        tokens("input_tokens", "prompt_tokens"),
        tokens("output_tokens", "completion_tokens"),
    )
    if read is None and written is None:
        return None
    cached = tokens("cache_read.input_tokens", "cache_read_input_tokens", "input_tokens.cached")
    return Usage(read, written, cached)


def _attributes(value: object) -> Attributes:
    """As a mapping; OTLP has a list of keys and typed values."""
    if isinstance(value, Mapping):
        return value
    found: dict[str, Any] = {}
    for item in value if isinstance(value, list) else ():
        if isinstance(item, Mapping) and isinstance(key := item.get("key"), str):
            found[key] = _plain(item.get("value"), _DEPTH)
    return found


def _plain(value: object, depth: int) -> Any:
    """An OTLP AnyValue as JSON would have it; what is nested deeper than ``depth`` is left out."""
    if not isinstance(value, Mapping) or depth == 0:
        return None
    for key in ("stringValue", "boolValue", "doubleValue"):
        if key in value:
            return value[key]
    if "intValue" in value:
        return count(value["intValue"])
    items = _first(_first(value, "arrayValue"), "values")
    if isinstance(items, list):
        return [_plain(item, depth - 1) for item in items]
    pairs = _first(_first(value, "kvlistValue"), "values")
    if isinstance(pairs, list):
        return {
            item["key"]: _plain(item.get("value"), depth - 1)
            for item in pairs
            if isinstance(item, Mapping) and isinstance(item.get("key"), str)
        }
    return None


def _is_error(status: object) -> bool:
    code = _first(status, "code", "status_code")
    return code in (2, "STATUS_CODE_ERROR", "ERROR")


def _first(value: object, *keys: str) -> Any:
    if isinstance(value, Mapping):
        return next((value[key] for key in keys if key in value), None)
    return None


def _id(span: Span, *keys: str) -> str:
    context = span.get("context")
    for source in (span, context if isinstance(context, Mapping) else {}):
        for key in keys:
            if isinstance(value := source.get(key), str):
                return value
    return ""


def _moment(span: Span, *keys: str) -> float | None:
    return next((t for key in keys if (t := read_time(span.get(key))) is not None), None)


def _text(attributes: Attributes, *keys: str) -> str:
    return next((v for key in keys if isinstance(v := attributes.get(key), str) and v), "")
