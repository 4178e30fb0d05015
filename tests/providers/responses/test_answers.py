"""From what the Responses API sends to an answer.

The files in ``streams`` are written by hand after the API's reference: every event that the
service sends for such an answer, in its order, with all its members.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cascade.errors import APIResponseError
from cascade.providers._responses_answer import Assembly
from cascade.providers._sse import Event, SSEDecoder
from cascade.providers._wire import ErrorInAnswer
from cascade.types import Answer, TokenLogprob, ToolCall, Usage

STREAMS = Path(__file__).parent / "streams"
MODEL = "gpt-5-mini-2025-08-07"

ANSWERS = {
    "text.sse": Answer("Paris is the capital, voilà 😀", (), "stop", Usage(11, 9, 0, 0)),
    "reasoning.sse": Answer("42", (), "stop", Usage(1200, 75, 1024, 64)),
    "tool_calls.sse": Answer(
        "",
        (
            ToolCall("get_weather", '{"city":"Paris"}', "call_Kx1"),
            ToolCall("now", "{}", "call_Kx2"),
        ),
        "tool_calls",
        Usage(64, 40, 0, 0),
    ),
    "refusal.sse": Answer("I'm sorry, but no.", (), "stop", Usage(15, 8, 0, 0)),
    "logprobs.sse": Answer(
        "Yes.",
        (),
        "stop",
        Usage(7, 2, 0, 0),
        (TokenLogprob("Yes", -0.125), TokenLogprob(".", -1.5)),
    ),
    "cut_off.sse": Answer("Once upon", (), "length", Usage(7, 16, 0, 0)),
    "filtered.sse": Answer("To", (), "content_filter", Usage(7, 1, 0, 0)),
}


def recorded(answer: Answer) -> Answer:
    return Answer(
        answer.text,
        answer.tool_calls,
        answer.finish_reason,
        answer.usage,
        answer.logprobs,
        model=MODEL,
        request_id="req-1",
    )


def assemble(*pieces: bytes) -> tuple[Answer, list[str]]:
    """What the stream makes, and the deltas it came in."""
    deltas: list[str] = []
    assembly = Assembly(deltas.append)
    decoder = SSEDecoder()
    for piece in pieces:
        for event in decoder.feed(piece):
            assert not assembly.ended
            assembly.add(event)
    assert assembly.whole
    return assembly.answer("req-1"), deltas


def event(kind: str, **members: Any) -> Event:
    return Event(json.dumps({"type": kind, **members}).encode(), kind.encode())


def made_of(*events: Event) -> Answer:
    assembly = Assembly(lambda _text: None)
    for one in events:
        assembly.add(one)
    assert assembly.whole
    return assembly.answer(None)


def completed(*output: Any, **members: Any) -> Event:
    response = {"status": "completed", "output": list(output), **members}
    return event("response.completed", response=response)


def text(delta: Any, **members: Any) -> Event:
    return event("response.output_text.delta", output_index=0, delta=delta, **members)


@pytest.mark.parametrize("name", ANSWERS)
def test_streams(name: str) -> None:
    answer, deltas = assemble((STREAMS / name).read_bytes())
    assert answer == recorded(ANSWERS[name])
    assert "".join(deltas) == answer.text
    assert "" not in deltas


@given(name=st.sampled_from(sorted(ANSWERS)), cuts=st.lists(st.integers(0, 7000), max_size=30))
def test_the_stream_may_be_cut_anywhere(name: str, cuts: list[int]) -> None:
    data = (STREAMS / name).read_bytes()
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    pieces = [data[a:b] for a, b in pairwise(places)]
    assert assemble(*pieces)[0] == recorded(ANSWERS[name])


@pytest.mark.parametrize("name", ANSWERS)
def test_a_stream_that_stops_before_its_last_event_is_not_whole(name: str) -> None:
    events = SSEDecoder().feed((STREAMS / name).read_bytes())
    assembly = Assembly(lambda _text: None)
    for one in events[:-1]:
        assembly.add(one)
        assert not assembly.whole
        assert not assembly.ended
    assembly.add(events[-1])
    assert assembly.whole


def test_a_whole_response() -> None:
    deltas: list[str] = []
    assembly = Assembly(deltas.append)
    assembly.add_whole((STREAMS / "whole.json").read_bytes())
    assert assembly.answer("req-1") == recorded(
        Answer(
            "Looking it up.",
            (ToolCall("get_weather", '{"city":"Paris"}', "call_Kx1"),),
            "tool_calls",
            Usage(300, 44, 256, 12),
        )
    )
    assert deltas == []


MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "ab"}]}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": '{"a":1}'}
BEGUN = {**CALL, "arguments": ""}
ADDED, DONE = "response.output_item.added", "response.output_item.done"
ARGUMENTS = "response.function_call_arguments"


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([completed(MESSAGE)], id="the end only"),
        pytest.param([text("a"), text("b"), completed()], id="an end without output"),
        pytest.param([text("a"), text("b"), event("response.completed")], id="an empty end"),
        pytest.param([text("a"), text("b"), completed(MESSAGE)], id="said twice"),
        pytest.param([text("a"), text(None), text(""), text("b"), completed()], id="null delta"),
        pytest.param([text("a"), event("ping"), event("response.queued"), text("b"), completed()],
                     id="unknown events"),
        pytest.param([text("a"), Event(b'{"delta":"b"}', b"response.output_text.delta"),
                      completed()], id="the type in the event's name only"),
        pytest.param([text("a"), Event(b'{"delta":"b","x":NaN}', b"response.output_text.delta"),
                      completed()], id="NaN"),
        pytest.param([text("a"), event("response.reasoning_text.delta", delta="no"),
                      event("response.reasoning_summary_text.delta", delta="no"),
                      event("response.custom_tool_call_input.delta", delta="no"), text("b"),
                      completed()], id="what is no answer"),
        pytest.param([completed({"type": "mcp_call", "content": 7, "arguments": {"x": 1},
                                 "name": {}}, MESSAGE)], id="other items"),
    ],
)  # fmt: skip
def test_text_of_other_servers(events: list[Event]) -> None:
    answer = made_of(*events)
    assert (answer.text, answer.finish_reason) == ("ab", "stop")


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([completed(CALL)], id="the end only"),
        pytest.param([event(ADDED, output_index=0, item=CALL), completed()], id="whole at once"),
        pytest.param([event(DONE, output_index=0, item=CALL), completed(CALL)], id="done only"),
        pytest.param([event(ADDED, item=BEGUN), event(f"{ARGUMENTS}.delta", item_id="fc_1",
                      delta='{"a":1}'), completed()], id="no index"),
        pytest.param([event(ADDED, output_index=3, item=BEGUN), event(f"{ARGUMENTS}.done",
                      output_index=3, arguments='{"a":1}'), completed()], id="said at the end"),
        pytest.param([event(ADDED, output_index=0, item={**BEGUN, "name": None}),
                      event(f"{ARGUMENTS}.delta", output_index=0, delta='{"a"'),
                      event(f"{ARGUMENTS}.delta", output_index=0, delta=":1}"),
                      event(DONE, output_index=0, item=CALL), completed()], id="name at the end"),
        pytest.param([event(ADDED, output_index=0, item=BEGUN), event(f"{ARGUMENTS}.delta",
                      output_index=0, delta='{"a":1}'), event(DONE, output_index=0, item=BEGUN),
                      completed()], id="nothing at the end"),
        pytest.param([completed({**CALL, "arguments": {"a": 1}})], id="arguments as an object"),
    ],
)  # fmt: skip
def test_calls_of_other_servers(events: list[Event]) -> None:
    answer = made_of(*events)
    assert answer.tool_calls == (ToolCall("f", '{"a":1}', "c"),)
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "max_output_tokens"}, "length"),
        ({"reason": "content_filter"}, "content_filter"),
        ({"reason": "max_messages"}, "length"),
        ({"reason": "new in 2030"}, "length"),
        ({}, "length"),
        (None, "length"),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_an_incomplete_response_is_never_a_success(
    details: Any, reason: str, streamed: bool
) -> None:
    response = {"status": "incomplete", "output": [CALL], "incomplete_details": details}
    assembly = Assembly(lambda _text: None)
    if streamed:
        assembly.add(event("response.incomplete", response=response))
    else:
        assembly.add_whole(json.dumps(response).encode())
    assert assembly.answer(None).finish_reason == reason


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({}, None),
        ("many", None),
        ({"input_tokens": 3, "output_tokens": 2}, Usage(3, 2)),
        ({"input_tokens": -1, "output_tokens": 2.0}, None),
        ({"input_tokens": True, "output_tokens": 2}, Usage(None, 2)),
        ({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 8}, "output_tokens": 5,
          "output_tokens_details": {"reasoning_tokens": 4}}, Usage(9, 5, 8, 4)),
        ({"input_tokens": 9, "input_tokens_details": None, "output_tokens_details": 7}, Usage(9)),
    ],
)  # fmt: skip
def test_usage(usage: Any, expected: Usage | None) -> None:
    assert made_of(text("a"), completed(usage=usage)).usage == expected


def failed(*events: Event) -> ErrorInAnswer:
    with pytest.raises(ErrorInAnswer) as caught:
        made_of(*events)
    return caught.value


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("server_error", 500),
        ("rate_limit_exceeded", 429),
        ("vector_store_timeout", 500),
        ("invalid_prompt", 400),
        ("image_too_large", 400),
        ("new_in_2030", None),
    ],
)
@pytest.mark.parametrize("form", ["failed", "flat", "nested", "whole"])
def test_errors(code: str, status: int | None, form: str) -> None:
    error = {"code": code, "message": "the reason"}
    if form == "failed":
        said = failed(event("response.failed", response={"status": "failed", "error": error})).said
    elif form == "flat":
        said = failed(text("Half"), event("error", **error)).said
    elif form == "nested":
        said = failed(event("error", error={"type": "error", **error})).said
    else:
        with pytest.raises(ErrorInAnswer) as caught:
            Assembly(lambda _text: None).add_whole(json.dumps({"error": error}).encode())
        said = caught.value.said
    assert (said.message, said.status) == ("the reason", status)
    assert code in said.codes


@pytest.mark.parametrize("code", ["bio_policy", "image_content_policy_violation"])
def test_policy_violations(code: str) -> None:
    said = failed(event("response.failed", response={"error": {"code": code}})).said
    assert said.status == 400
    assert "content_policy_violation" in said.codes


def test_a_failure_without_a_reason() -> None:
    assert failed(event("response.failed")).said.message == "the response failed"


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([text(7)], "of type int"),
        ([Event(b"nonsense")], "no response event"),
        ([Event(b"[1]")], "no response event"),
        ([Event(b'{"x":' + b"[" * 50_000)], "no response event"),
        ([Event(rb'{"type":"response.output_text.delta","delta":"\ud83d"}')], "no response event"),
        ([event(f"{ARGUMENTS}.delta", output_index=0, delta="{")], "was not begun"),
        ([text("a"), Event(b"[DONE]")], "before the answer did"),
        ([completed({"type": "message", "content": 7})], "not text"),
        ([completed({"type": "message", "content": [{"text": 7}]})], "not text"),
    ],
)
def test_what_is_no_answer(events: list[Event], message: str) -> None:
    with pytest.raises(APIResponseError, match=message):
        made_of(*events)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "no output"),
        (b"{", "no response"),
        (b'{"status": "completed"}', "no output"),
        (b'{"status": "in_progress", "output": []}', "is 'in_progress', which is no answer"),
        (b'{"status": "cancelled", "output": []}', "is 'cancelled'"),
        (b'{"output": 7}', "no response"),
    ],
)
def test_what_is_no_whole_answer(body: bytes, message: str) -> None:
    with pytest.raises(APIResponseError, match=message):
        Assembly(lambda _text: None).add_whole(body)


KINDS = ["response.completed", "response.incomplete", "response.failed", "error", ADDED, DONE,
         "response.output_text.delta", "response.refusal.delta", f"{ARGUMENTS}.delta",
         f"{ARGUMENTS}.done", "response.created", ""]  # fmt: skip
NAMES = ["type", "delta", "item", "response", "output", "content", "text", "arguments", "error",
         "usage", "status", "logprobs", "token", "name", "output_index", "code"]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(
    kind=st.sampled_from(KINDS), value=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4)
)
@example(kind=ADDED, value={"item": {"type": "function_call", "arguments": {"deep": [[[1.5]]]}}})
def test_any_json_is_an_answer_or_a_typed_error(kind: str, value: dict[str, Any]) -> None:
    for data in (json.dumps({**value, "type": kind}), json.dumps(value)):
        assembly = Assembly(lambda _text: None)
        try:
            assembly.add(Event(data.encode(), kind.encode()))
            assembly.add_whole(data.encode())
        except (APIResponseError, ErrorInAnswer):
            continue
        assert isinstance(assembly.answer(None), Answer)


@given(data=st.binary(max_size=200).filter(lambda data: not data.strip().startswith(b"{")))
def test_any_other_bytes_are_a_typed_error(data: bytes) -> None:
    with pytest.raises((APIResponseError, ErrorInAnswer)):
        Assembly(lambda _text: None).add_whole(data)
    with pytest.raises(APIResponseError):
        Assembly(lambda _text: None).add(Event(data, b"response.completed"))
