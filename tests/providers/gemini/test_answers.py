"""From what the Gemini API sends to an answer.

The files in ``streams`` are written by hand after the API's reference: every chunk that the
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
from cascade.providers._gemini_answer import Assembly
from cascade.providers._sse import Event, SSEDecoder
from cascade.providers._wire import ErrorInAnswer
from cascade.types import Answer, TokenLogprob, ToolCall, Usage

STREAMS = Path(__file__).parent / "streams"
MODEL = "gemini-2.5-flash"
REQUEST = "7WQhaf7iCpaQvdIPj6qw4Qk"

ANSWERS = {
    "text.sse": Answer("Paris is the capital, voilà 😀", (), "stop", Usage(8, 12)),
    "thinking.sse": Answer("42", (), "stop", Usage(10, 54, None, 52)),
    "tool_calls.sse": Answer(
        "I'll look that up.",
        (ToolCall("get_weather", '{"location": "Zürich"}', "fc_1"), ToolCall("now", "{}", None)),
        "tool_calls",
        Usage(70, 56, None, 31),
    ),
    "cached.sse": Answer("Yes.", (), "stop", Usage(2182, 4, 2027)),
    "logprobs.sse": Answer(
        "Yes.",
        (),
        "stop",
        Usage(7, 2),
        (TokenLogprob("Yes", -0.125), TokenLogprob(".", -1.5)),
    ),
    "cut_off.sse": Answer("Once upon", (), "length", Usage(7, 16)),
    "filtered.sse": Answer("To", (), "content_filter", Usage(7, 1)),
    "blocked.sse": Answer("", (), "content_filter", Usage(16, 0)),
}


def recorded(answer: Answer) -> Answer:
    return Answer(
        answer.text,
        answer.tool_calls,
        answer.finish_reason,
        answer.usage,
        answer.logprobs,
        model=MODEL,
        request_id=REQUEST,
    )


def assemble(*pieces: bytes) -> tuple[Answer, list[str]]:
    """What the stream makes, and the deltas it came in."""
    deltas: list[str] = []
    assembly = Assembly(deltas.append)
    decoder = SSEDecoder()
    for piece in pieces:
        for event in decoder.feed(piece):
            assembly.add(event)
    assert assembly.whole
    assert not assembly.ended
    return assembly.answer(None), deltas


def chunk(*parts: Any, finish: str | None = None, usage: Any = None, **more: Any) -> Event:
    candidate = {"content": {"parts": list(parts)}, "finishReason": finish, **more}
    return Event(json.dumps({"candidates": [candidate], "usageMetadata": usage}).encode())


def made_of(*events: Event) -> Answer:
    assembly = Assembly(lambda _text: None)
    for one in events:
        assembly.add(one)
    return assembly.answer("req-1")


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


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_a_stream_that_stops_before_its_reason_is_not_whole(name: str) -> None:
    events = SSEDecoder().feed((STREAMS / name).read_bytes())
    assembly = Assembly(lambda _text: None)
    for one in events[:-1]:
        assembly.add(one)
    assert not assembly.whole


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_the_last_chunk_may_come_twice(name: str) -> None:
    stream = (STREAMS / name).read_bytes()
    last = stream[stream.rindex(b"data: ") :]
    assert assemble(stream + last)[0] == recorded(ANSWERS[name])


def test_a_whole_body() -> None:
    deltas: list[str] = []
    assembly = Assembly(deltas.append)
    assembly.add_whole((STREAMS / "whole.json").read_bytes())
    assert assembly.whole
    assert deltas == []
    answer = assembly.answer(None)
    (call,) = answer.tool_calls
    assert (answer.text, answer.finish_reason) == ("I'll add them.", "tool_calls")
    assert answer.usage == Usage(12, 61, None, 40)
    assert json.loads(call.arguments) == {"a": 1, "b": [2.0, None]}


@pytest.mark.parametrize(
    ("said", "ours"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("CONTINUATION", "length"),
     ("SOMETHING_NEW", "something_new"), ("FINISH_REASON_UNSPECIFIED", None),
     *((reason, "content_filter") for reason in (
         "BLOCKLIST", "ESCALATION", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "IMAGE_SAFETY",
         "LANGUAGE", "MODEL_ARMOR", "PROHIBITED_CONTENT", "RECITATION", "SAFETY", "SPII"))],
)  # fmt: skip
def test_finish_reasons(said: str, ours: str | None) -> None:
    assert made_of(chunk({"text": "a"}, finish=said)).finish_reason == ours


@pytest.mark.parametrize(
    ("said", "status"),
    [("IMAGE_OTHER", None), ("MALFORMED_FUNCTION_CALL", None), ("MALFORMED_RESPONSE", None),
     ("MISSING_THOUGHT_SIGNATURE", 400), ("NO_IMAGE", None), ("OTHER", None),
     ("PUP_LIMITED_DISABLED", 403), ("TOO_MANY_TOOL_CALLS", None), ("UNEXPECTED_TOOL_CALL", None)],
)  # fmt: skip
def test_finish_reasons_that_are_failures(said: str, status: int | None) -> None:
    with pytest.raises(ErrorInAnswer, match=f"the finish reason is '{said}': why") as caught:
        made_of(chunk({"text": "half"}, finish=said, finishMessage="why"))
    assert caught.value.said.status == status
    with pytest.raises(ErrorInAnswer, match=f"the finish reason is '{said}'$"):
        made_of(chunk({"text": "half"}, finish=said))


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"promptTokenCount": 5, "candidatesTokenCount": 7}, Usage(5, 7)),
        ({"promptTokenCount": 5}, Usage(5, 0)),
        ({"promptTokenCount": 5, "cachedContentTokenCount": 3}, Usage(5, 0, 3)),
        ({"promptTokenCount": 5, "toolUsePromptTokenCount": 4}, Usage(9, 0)),
        ({"candidatesTokenCount": 2, "thoughtsTokenCount": 9}, Usage(0, 11, None, 9)),
        ({"promptTokenCount": -5, "candidatesTokenCount": "7"}, Usage(0, 0)),
        ({}, None),
        (None, None),
        ([1], None),
    ],
)
def test_usage(counts: Any, usage: Usage | None) -> None:
    assert made_of(chunk({"text": "a"}, finish="STOP", usage=counts)).usage == usage


def test_usage_is_that_of_the_last_chunk_that_has_it() -> None:
    first = chunk({"text": "a"}, usage={"promptTokenCount": 5, "candidatesTokenCount": 1})
    last = {"promptTokenCount": 5, "candidatesTokenCount": 2}
    assert made_of(first, chunk(usage=last, finish="STOP")).usage == Usage(5, 2)
    assert made_of(first, chunk(finish="STOP")).usage == Usage(5, 1)


def test_other_candidates_and_other_parts_are_left_out() -> None:
    answer = made_of(
        chunk({"text": "a"}, {"executableCode": {"code": "1"}}, {"text": "hm", "thought": True}),
        chunk({"text": "no"}, index=1, finish="MAX_TOKENS"),
        Event(b'{"candidates": null}'),
        Event(b'{"candidates": [{"content": null}, {"content": {"parts": null}}]}'),
        chunk({"text": "b"}, finish="STOP"),
    )
    assert (answer.text, answer.finish_reason, answer.request_id) == ("ab", "stop", "req-1")


def test_a_missing_logprob_is_minus_infinity() -> None:
    tokens = {"chosenCandidates": [{"token": "a"}]}
    answer = made_of(chunk({"text": "a"}, finish="STOP", logprobsResult=tokens))
    assert answer.logprobs == (TokenLogprob("a", float("-inf")),)


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[1]", b"null", b'{"candidates": 7}', b'{"candidates": [', b"\xff\xfe",
     b'{"candidates": [{"content": {"parts": [{"text": 7}]}}]}', b'{"a":' * 50_000,
     rb'{"candidates": [{"content": {"parts": [{"text": "\ud83d"}]}}]}'],
)  # fmt: skip
def test_what_is_no_chunk(body: bytes) -> None:
    with pytest.raises(APIResponseError, match="no Gemini response"):
        made_of(Event(body))


def test_a_whole_body_may_leave_the_reason_out() -> None:
    assembly = Assembly(lambda _text: None)
    assembly.add_whole(b'{"candidates": [{"content": {"parts": [{"text": "a"}]}}]}')
    assert (assembly.answer(None).text, assembly.answer(None).finish_reason) == ("a", None)


@pytest.mark.parametrize("body", [b"{}", b'{"candidates": []}', b'{"candidates": null}'])
def test_a_whole_body_needs_a_candidate(body: bytes) -> None:
    with pytest.raises(APIResponseError, match="no candidates"):
        Assembly(lambda _text: None).add_whole(body)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}', 503),
        (b'[{"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}}]', 429),
        (b'{"error": {"message": "no"}}', None),
    ],
)
def test_errors_with_status_200(body: bytes, status: int | None) -> None:
    with pytest.raises(ErrorInAnswer) as caught:
        Assembly(lambda _text: None).add_whole(body)
    assert (caught.value.said.message, caught.value.said.status) == ("no", status)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["candidates", "content", "parts", "text", "thought", "functionCall", "name", "id",
                 "args", "finishReason", "index", "usageMetadata", "promptTokenCount", "error",
                 "promptFeedback", "blockReason", "details", "retryDelay", "violations", "code"]
            ),
            inner,
            max_size=5,
        )
    ),
)  # fmt: skip
PART = st.dictionaries(st.sampled_from(["text", "thought", "functionCall"]), JSON)
CHUNK = st.builds(
    lambda parts, rest: {"candidates": [{"content": {"parts": parts}}], **rest},
    st.lists(PART, max_size=3),
    st.dictionaries(st.sampled_from(["usageMetadata", "error", "promptFeedback"]), JSON),
)
HOSTILE = st.binary(max_size=200) | (JSON | CHUNK).map(json.dumps).map(str.encode)


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
