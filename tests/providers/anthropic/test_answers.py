"""From what the Messages API sends to an answer.

The files in ``streams`` are written by hand after the API's reference: every event that the
service sends for such an answer, in its order, with all its members.
"""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import APIResponseError
from cascade.providers._anthropic_answer import Assembly
from cascade.providers._sse import Event, SSEDecoder
from cascade.providers._wire import ErrorInAnswer
from cascade.types import Answer, ToolCall, Usage

STREAMS = Path(__file__).parent / "streams"
MODEL = "claude-sonnet-4-5-20250929"

ANSWERS = {
    "text.sse": Answer("Paris is the capital, voilà 😀", (), "stop", Usage(25, 15, 0)),
    "thinking.sse": Answer("42", (), "stop", Usage(43, 61, 0, 52)),
    "tool_calls.sse": Answer(
        "I'll look that up.",
        (
            ToolCall("get_weather", '{"location": "Zürich"}', "toolu_01T1x1fJ34qAmk2tNTrN7Up6"),
            ToolCall("now", "{}", "toolu_01A09q90qw90lq917835lq9"),
        ),
        "tool_calls",
        Usage(472, 89, 0),
    ),
    "cached.sse": Answer("Yes.", (), "stop", Usage(21 + 186038 + 2048, 393, 2048)),
    "own_tools.sse": Answer("Rain.", (), "stop", Usage(2679, 30, 0)),
    "cut_off.sse": Answer("Once upon", (), "length", Usage(9, 16, 0)),
    "stop_sequence.sse": Answer("one, two", (), "stop", Usage(9, 5, 0)),
    "refusal.sse": Answer("To", (), "content_filter", Usage(314, 2, 0)),
    "future.sse": Answer("ok", (), "stop", Usage(3, 2, 0)),
}


def recorded(answer: Answer) -> Answer:
    return Answer(
        answer.text,
        answer.tool_calls,
        answer.finish_reason,
        answer.usage,
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


def delta(text: str, index: int = 0) -> Event:
    return event("content_block_delta", index=index, delta={"type": "text_delta", "text": text})


def finished(reason: str | None, **usage: Any) -> Event:
    return event("message_delta", delta={"stop_reason": reason}, usage=usage)


def made_of(*events: Event) -> Answer:
    assembly = Assembly(lambda _text: None)
    for one in events:
        assembly.add(one)
    return assembly.answer(None)


@pytest.mark.parametrize("name", ANSWERS)
def test_recorded_streams(name: str) -> None:
    answer, deltas = assemble((STREAMS / name).read_bytes())
    assert answer == recorded(ANSWERS[name])
    assert "".join(deltas) == answer.text
    assert all(deltas)


@given(st.sampled_from(sorted(ANSWERS)), st.data())
def test_any_cut_gives_the_same_answer(name: str, data: st.DataObject) -> None:
    stream = (STREAMS / name).read_bytes()
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    edges = [0, *sorted(cuts), len(stream)]
    assert assemble(*(stream[a:b] for a, b in pairwise(edges)))[0] == recorded(ANSWERS[name])


@pytest.mark.parametrize("name", ANSWERS)
def test_a_stream_that_stops_before_its_reason_is_not_whole(name: str) -> None:
    stream = (STREAMS / name).read_bytes()
    assembly = Assembly(lambda _text: None)
    for one in SSEDecoder().feed(stream[: stream.index(b"event: message_delta")]):
        assembly.add(one)
    assert not assembly.whole


def test_a_whole_body() -> None:
    deltas: list[str] = []
    assembly = Assembly(deltas.append)
    assembly.add_whole((STREAMS / "whole.json").read_bytes())
    assert assembly.whole
    assert deltas == []
    answer = assembly.answer("req-1")
    (call,) = answer.tool_calls
    assert (answer.text, answer.finish_reason) == ("I'll add them.", "tool_calls")
    assert answer.usage == Usage(12, 61, 0)
    assert (call.name, call.id) == ("add", "toolu_1")
    assert json.loads(call.arguments) == {"a": 1, "b": [2.0, None]}


@pytest.mark.parametrize(
    ("said", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("refusal", "content_filter"),
        ("something_new", "something_new"),
    ],
)
def test_finish_reasons(said: str, ours: str) -> None:
    assert made_of(delta("a"), finished(said)).finish_reason == ours


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ([{"input_tokens": 5, "output_tokens": 1}, {"output_tokens": 7}], Usage(5, 7)),
        ([{"input_tokens": 5}, {"input_tokens": 9, "output_tokens": 7}], Usage(9, 7)),
        ([{"input_tokens": 5, "cache_read_input_tokens": None}], Usage(5)),
        ([{"input_tokens": 5}, {"input_tokens": None, "output_tokens": 7}], Usage(5, 7)),
        ([{"input_tokens": 5, "cache_read_input_tokens": 3}], Usage(8, None, 3)),
        ([{"input_tokens": 5, "cache_creation_input_tokens": 3}], Usage(8)),
        ([{"input_tokens": 0, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 2},
          {"output_tokens": 1}], Usage(6, 1, 2)),
        ([{"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}],
         Usage(None, 9, None, 4)),
        ([{"input_tokens": -1, "output_tokens": "7"}], None),
        ([{"input_tokens": True}], None),
        ([{}], None),
        ([None], None),
        ([[1]], None),
    ],
)  # fmt: skip
def test_usage(counts: list[Any], usage: Usage | None) -> None:
    first, *rest = counts
    events = [event("message_start", message={"model": "m", "usage": first})]
    events += [event("message_delta", delta={}, usage=value) for value in rest]
    assert made_of(*events).usage == usage


def test_the_end_mark_alone_is_an_end_and_twice_is_no_harm() -> None:
    twice = made_of(delta("a"), finished("end_turn"), finished("end_turn"), finished(None))
    assert (twice.text, twice.finish_reason) == ("a", "stop")
    assembly = Assembly(lambda _text: None)
    assembly.add(delta("a"))
    assert not assembly.whole
    assembly.add(event("message_stop"))
    assert assembly.whole
    assert assembly.ended


def test_arguments_that_come_whole_at_the_start() -> None:
    block = {"type": "tool_use", "id": "1", "name": "f", "input": {"a": "ü"}}
    answer = made_of(event("content_block_start", index=0, content_block=block))
    assert answer.tool_calls == (ToolCall("f", '{"a": "\\u00fc"}', "1"),)


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[1]", b"null", b"{}", b'{"type": 7}', b'{"type": "x"', b"\xff\xfe",
     b'{"type": "content_block_delta", "delta": {"text": 7}}', b'{"a":' * 50_000,
     rb'{"type": "content_block_delta", "delta": {"text": "\ud83d"}}'],
)  # fmt: skip
def test_what_is_no_event(body: bytes) -> None:
    with pytest.raises(APIResponseError, match="no Anthropic message"):
        made_of(Event(body))


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{}", b"null", b'{"type": "completion"}', b'{"content": 7}']
)
def test_what_is_no_message(body: bytes) -> None:
    with pytest.raises(APIResponseError, match="no Anthropic message"):
        Assembly(lambda _text: None).add_whole(body)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"no"}}', 529),
        (b'{"type":"error","error":{"type":"brand_new_error","message":"no"}}', None),
        (b'{"error":{"type":"rate_limit_error","message":"no"}}', 429),
    ],
)
def test_errors_with_status_200(body: bytes, status: int | None) -> None:
    assembly = Assembly(lambda _text: None)
    for take in (assembly.add_whole, lambda body: assembly.add(Event(body))):
        with pytest.raises(ErrorInAnswer) as caught:
            take(body)
        assert (caught.value.said.message, caught.value.said.status) == ("no", status)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "index", "message", "delta", "content_block", "usage", "text", "input",
                 "content", "stop_reason", "partial_json", "error", "input_tokens", "name", "id"]
            ),
            inner,
            max_size=5,
        )
    ),
)  # fmt: skip
KINDS = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop",
     "message_delta", "message_stop", "message", "error", "ping", "x"]
)  # fmt: skip
HOSTILE = st.binary(max_size=200) | st.builds(
    lambda kind, body: json.dumps({**body, "type": kind} if isinstance(body, dict) else body),
    KINDS,
    JSON,
).map(str.encode)


@given(st.lists(HOSTILE, max_size=8))
def test_anything_may_come_and_only_typed_errors_go(bodies: list[bytes]) -> None:
    deltas: list[str] = []
    streamed = Assembly(deltas.append)
    for body in bodies:
        with suppress(APIResponseError, ErrorInAnswer):
            streamed.add(Event(body))
        with suppress(APIResponseError, ErrorInAnswer):
            whole = Assembly(deltas.append)
            whole.add_whole(body)
            whole.answer("req")
    answer = streamed.answer(None)
    assert answer.text == "".join(deltas)
    assert all(isinstance(call.arguments, str) for call in answer.tool_calls)
