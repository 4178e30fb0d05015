"""Spans: OTLP/JSON exports, single spans, and what they were like before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cascade.types import Usage
from cascade_policies.audit.calls import Call
from tests.policies.audit.conftest import Read

ASKED = [{"role": "user", "parts": [{"type": "text", "content": "How much?"}]}]
TOLD = [{"role": "assistant", "parts": [{"type": "text", "content": "Five."}]}]
BASE: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-5",
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.output_tokens": 3,
}
NOW = {
    **BASE,
    "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Be brief."}]),
    "gen_ai.input.messages": json.dumps(ASKED),
    "gen_ai.output.messages": json.dumps(TOLD),
}
STRUCTURED = {**NOW, "gen_ai.input.messages": ASKED, "gen_ai.output.messages": TOLD}
INDEXED = {
    **BASE,
    "gen_ai.prompt.0.role": "system",
    "gen_ai.prompt.0.content": "Be brief.",
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": "How much?",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": "Five.",
}
EVENTS = [
    {"name": "gen_ai.system.message", "attributes": {"content": "Be brief."}},
    {"name": "gen_ai.user.message", "attributes": {"content": "How much?"}},
    {"name": "gen_ai.choice", "attributes": {"message": '{"content": "Five."}'}},
]


def otlp(value: object) -> dict[str, Any]:
    match value:
        case str():
            return {"stringValue": value}
        case int():
            return {"intValue": str(value)}
        case list():
            return {"arrayValue": {"values": [otlp(item) for item in value]}}
        case dict():
            pairs = [{"key": key, "value": otlp(item)} for key, item in value.items()]
            return {"kvlistValue": {"values": pairs}}
    raise TypeError(value)


def export(*spans: dict[str, Any]) -> dict[str, Any]:
    for span in spans:
        pairs = span["attributes"].items()
        span["attributes"] = [{"key": key, "value": otlp(value)} for key, value in pairs]
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": list(spans)}]}]}


def span(attributes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "traceId": "t1",
        "spanId": "s1",
        "name": "chat gpt-5",
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000001500000000",
        "attributes": attributes,
        **more,
    }


@pytest.mark.parametrize(
    "data",
    [
        export(span(NOW)),
        export(span(STRUCTURED)),
        span(NOW),
        span(STRUCTURED),
        span(INDEXED),
        span(BASE, events=EVENTS),
        {**NOW, "trace_id": "t1", "start_time": 1_700_000_000, "end_time": 1_700_000_001.5},
        {"name": "chat gpt-5", "context": {"trace_id": "t1", "span_id": "s1"},
         "start_time": "2023-11-14T22:13:20.000000Z", "end_time": "2023-11-14T22:13:21.500000Z",
         "attributes": NOW},
    ],
)  # fmt: skip
def test_forms(read: Read, data: dict[str, Any]) -> None:
    reading = read([data])
    assert reading.form == "spans"
    (call,) = reading.calls
    assert (call.system, call.prompt, call.answer) == ("Be brief.", "How much?", "Five.")
    assert (call.model, call.usage) == ("openai:gpt-5", Usage(12, 3))
    assert (call.session, call.began, call.latency) == ("t1", 1_700_000_000, 1.5)
    assert not call.failed


def only(read: Read, attributes: dict[str, Any], **more: Any) -> Call:
    (call,) = read([span(attributes, **more)]).calls
    return call


def test_the_call_site_is_named_by_the_span_or_its_parent(read: Read) -> None:
    outer = {**span({}), "spanId": "p1", "name": "triage"}
    inner = span(NOW, parentSpanId="p1")
    reading = read([export(inner), export(outer)])
    assert [call.place for call in reading.calls] == ["triage"]
    assert reading.other == 1
    assert only(read, {**NOW, "gen_ai.agent.name": "clerk"}).place == "clerk"


@pytest.mark.parametrize("operation", ["embeddings", "execute_tool", "invoke_agent"])
def test_other_spans_are_no_calls(read: Read, operation: str) -> None:
    reading = read([span({**NOW, "gen_ai.operation.name": operation}), span(NOW)])
    assert len(reading.calls) == 1
    assert reading.other == 1


def test_without_content_the_call_counts_and_its_texts_are_unknown(read: Read) -> None:
    call = only(read, BASE)
    assert (call.prompt, call.answer, call.prompt_key) == (None, None, b"")
    assert call.cost.low is not None
    assert not call.failed


@pytest.mark.parametrize(
    ("attributes", "more"),
    [({"error.type": "timeout"}, {}), ({}, {"status": {"code": 2}}),
     ({}, {"status": {"status_code": "ERROR"}})],
)  # fmt: skip
def test_errors(read: Read, attributes: dict[str, Any], more: dict[str, Any]) -> None:
    assert only(read, {**NOW, **attributes}, **more).failed


def test_tool_calls_in_parts(read: Read) -> None:
    part = {"type": "tool_call", "name": "refund", "arguments": {"order": "A1"}}
    told = json.dumps([{"role": "assistant", "parts": [part]}])
    call = only(read, {**NOW, "gen_ai.output.messages": told})
    assert [(tool.name, tool.arguments) for tool in call.tools] == [("refund", '{"order":"A1"}')]
    assert call.answer == ""


def test_what_was_read_from_a_cache(read: Read) -> None:
    call = only(read, {**NOW, "gen_ai.usage.cache_read.input_tokens": 8})
    assert call.usage == Usage(12, 3, 8)


def test_values_nested_without_end_are_left_out(read: Read) -> None:
    value: dict[str, Any] = {"stringValue": "x"}
    for _ in range(60):
        value = {"arrayValue": {"values": [value]}}
    data = export(span(BASE))
    spans = data["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans[0]["attributes"].append({"key": "gen_ai.input.messages", "value": value})
    (call,) = read([data]).calls
    assert call.prompt is None


def test_a_prompt_that_only_the_parent_has(read: Read) -> None:
    """As our own spans have it: once a call, and not with every attempt."""
    workflow = {"gen_ai.operation.name": "invoke_workflow",
                "gen_ai.input.messages": json.dumps(ASKED)}  # fmt: skip
    outer = {**span(workflow), "spanId": "p1", "name": "invoke_workflow triage"}
    told = {**BASE, "gen_ai.output.messages": json.dumps(TOLD), "cascade.policy": "triage"}
    (call,) = read([span(told, parentSpanId="p1"), outer]).calls
    assert (call.place, call.prompt, call.answer) == ("triage", "How much?", "Five.")
    assert call.prompt_key != b""
