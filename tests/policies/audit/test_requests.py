"""Logs of requests, in the shapes that are about."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cascade.types import Usage
from cascade_policies.audit.calls import Call
from tests.policies.audit.conftest import Read, line

CHAT: dict[str, Any] = {
    "model": "gpt-5",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "First?"},
        {"role": "assistant", "content": "One."},
        {"role": "user", "content": [{"type": "text", "text": "Second?"}]},
    ],
}
TOLD = {
    "choices": [{"message": {"role": "assistant", "content": "Two."}}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3},
}


def only(read: Read, data: dict[str, Any]) -> Call:
    (call,) = read([data]).calls
    return call


@pytest.mark.parametrize(
    "data",
    [
        {"request": CHAT, "response": TOLD},
        {"request": {"body": CHAT}, "response": {"status": 200, "body": TOLD}},
        {"request": json.dumps(CHAT), "response": json.dumps(TOLD)},
        {"reqPayload": json.dumps(CHAT), "respPayload": json.dumps(TOLD)},
        {"providerRequest": {"json": CHAT}, "providerResponse": {"json": TOLD}},
        {"kwargs": CHAT, "response": TOLD},
        {**CHAT, "response": TOLD},
        {**CHAT, **TOLD},
        {**CHAT, "response": "Two.", "usage": TOLD["usage"]},
        {**CHAT, "completion": {"role": "assistant", "content": "Two."}, "usage": TOLD["usage"]},
        {"input": CHAT["messages"], "output": {"role": "assistant", "content": "Two."},
         "model": "gpt-5", "usage": TOLD["usage"]},
        {"request": {"model": "gpt-5", "instructions": "Be brief.", "input": "Second?"},
         "response": {"output": [{"type": "message", "content": [{"type": "output_text",
                                                                  "text": "Two."}]}],
                      "usage": {"input_tokens": 12, "output_tokens": 3}}},
        {"request": {"model": "gpt-5", "system": "Be brief.", "messages": CHAT["messages"][1:]},
         "response": {"content": [{"type": "text", "text": "Two."}],
                      "usage": {"input_tokens": 12, "output_tokens": 3}}},
    ],
)  # fmt: skip
def test_shapes(read: Read, data: dict[str, Any]) -> None:
    call = only(read, data)
    assert (call.system, call.prompt, call.answer) == ("Be brief.", "Second?", "Two.")
    assert call.model == "openai:gpt-5"
    assert call.usage == Usage(12, 3)
    assert not call.failed
    assert call.cost.low == pytest.approx((12 * 1.25 + 3 * 10) / 1e6)


@pytest.mark.parametrize(
    ("more", "began", "latency"),
    [
        ({"created": 1_700_000_000, "latency_s": 1.5}, 1_700_000_000, 1.5),
        ({"timestamp": 1_700_000_000_500, "latency_ms": 250}, 1_700_000_000.5, 0.25),
        ({"timestamp": "2023-11-14T22:13:20Z", "duration": "2"}, 1_700_000_000, 2),
        ({"startTime": 1_700_000_000.0, "endTime": 1_700_000_003.0}, 1_700_000_000, 3),
        ({"start_time": "2023-11-14 22:13:20", "end_time": "2023-11-14 22:13:21"},
         1_700_000_000, 1),
        ({"created": "soon", "latency": -1}, None, None),
        ({"created": True, "latency": 1e400}, None, None),
        ({"created": -5}, None, None),
    ],
)  # fmt: skip
def test_times(read: Read, more: dict[str, Any], began: float | None, latency: float) -> None:
    text = json.dumps({"request": CHAT, "response": TOLD, **more}).replace("Infinity", "1e308")
    call = only(read, json.loads(text))
    assert (call.began, call.latency if latency != more.get("latency") else None) == (
        began, latency
    ) or more.get("latency") == 1e400  # fmt: skip


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-5", "openai:gpt-5"),
        ("openai/gpt-5", "openai:gpt-5"),
        ("o3-mini", "openai:o3-mini"),
        ("claude-opus-4-1", "anthropic:claude-opus-4-1"),
        ("gemini-2.5-flash", "gemini:gemini-2.5-flash"),
        ("vertex_ai/gemini-2.5-flash", "gemini:gemini-2.5-flash"),
        ("our-own-model", "our-own-model"),
        ("", ""),
    ],
)
def test_models(read: Read, model: str, name: str) -> None:
    assert only(read, {"request": {**CHAT, "model": model}, "response": TOLD}).model == name


def test_a_price_that_is_not_known_stays_unknown(read: Read) -> None:
    call = only(read, {"request": {**CHAT, "model": "our-own-model"}, "response": TOLD})
    assert call.cost.low is None
    assert call.cost.high is None


def test_a_recorded_cost_is_taken_over_the_published_price(read: Read) -> None:
    call = only(read, {"request": CHAT, "response": TOLD, "response_cost": 0.5})
    assert (call.cost.low, call.cost.high) == (0.5, 0.5)


def test_without_counts_the_cost_is_an_estimate(read: Read) -> None:
    call = only(read, {**CHAT, "response": "Two."})
    assert call.cost.basis == "estimated"
    assert call.cost.low is not None
    assert call.cost.high is not None
    assert 0 < call.cost.low < call.cost.high


def test_a_cache_is_counted_as_its_provider_counts_it(read: Read) -> None:
    openai = {"prompt_tokens": 12, "completion_tokens": 3,
              "prompt_tokens_details": {"cached_tokens": 8}}  # fmt: skip
    anthropic = {"input_tokens": 3, "output_tokens": 3, "cache_read_input_tokens": 8,
                 "cache_creation_input_tokens": 1}  # fmt: skip
    for usage in (openai, anthropic):
        assert only(read, {**CHAT, "response": "x", "usage": usage}).usage == Usage(12, 3, 8)


@pytest.mark.parametrize(
    "more",
    [{"error": {"message": "no"}}, {"status_code": 500}, {"response": {"error": "overloaded"}}],
)
def test_a_failed_call_has_no_answer(read: Read, more: dict[str, Any]) -> None:
    call = only(read, {"request": CHAT, "response": TOLD, **more})
    assert call.failed
    assert call.answer is None


def test_tool_calls_and_what_came_of_earlier_ones(read: Read) -> None:
    function = {"name": "refund", "arguments": '{"order": "A1"}'}
    message = {"content": None, "tool_calls": [{"type": "function", "function": function}]}
    told = {"choices": [{"message": message}]}
    call = only(read, {"request": CHAT, "response": told})
    assert [(tool.name, tool.arguments) for tool in call.tools] == [("refund", '{"order": "A1"}')]
    assert not call.after_tools
    after = {**CHAT, "messages": [*CHAT["messages"], {"role": "tool", "content": "done"}]}
    assert only(read, {"request": after, "response": told}).after_tools


def test_places_and_sessions(read: Read) -> None:
    call = only(read, line("a", "b", metadata={"task": "triage", "session_id": "s1"}))
    assert (call.place, call.session) == ("triage", "s1")


def test_the_whole_chat_tells_equal_requests(read: Read) -> None:
    first, second = read([{"request": CHAT, "response": TOLD}] * 2).calls
    other = only(read, {"request": {**CHAT, "messages": CHAT["messages"][2:]}, "response": TOLD})
    assert first.prompt_key == second.prompt_key != other.prompt_key
