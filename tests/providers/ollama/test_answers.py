"""From the JSON lines that Ollama sends to an answer.

The files in ``streams`` are written by hand after the API's reference: every line that the server
sends for such an answer, with all its members.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import APIResponseError
from cascade.providers._json_lines import LineDecoder
from cascade.providers._ollama_answer import Assembly
from cascade.providers._sse import Event
from cascade.providers._wire import ErrorInAnswer
from cascade.types import Answer, TokenLogprob, ToolCall, Usage

STREAMS = Path(__file__).parent / "streams"


def answer(model: str, text: str, reason: str, usage: Usage, **more: Any) -> Answer:
    return Answer(text, finish_reason=reason, usage=usage, model=model, request_id="req-1", **more)


ANSWERS = {
    "text.jsonl": answer("llama3.2", "Paris is the capital, voilà 😀", "stop", Usage(26, 9)),
    "thinking.jsonl": answer("qwen3:4b", "42", "stop", Usage(18, 31)),
    "tool_calls.jsonl": answer(
        "qwen3:4b",
        "",
        "tool_calls",
        Usage(170, 48),
        tool_calls=(
            ToolCall("get_weather", '{"city":"Paris","days":2}', "call_9x"),
            ToolCall("now", "{}", "call_9y"),
        ),
    ),
    "logprobs.jsonl": answer(
        "gemma3",
        "Yes.",
        "stop",
        Usage(12, 3),
        logprobs=(TokenLogprob("Yes", -0.125), TokenLogprob(".", -1.5)),
    ),
    "cut_off.jsonl": answer("llama3.2", "Once upon", "length", Usage(12, 2)),
}


def assemble(*pieces: bytes) -> tuple[Answer, list[str]]:
    """What the stream makes, and the deltas it came in."""
    deltas: list[str] = []
    assembly = Assembly(deltas.append)
    decoder = LineDecoder()
    for piece in pieces:
        for event in decoder.feed(piece):
            assert not assembly.ended
            assembly.add(event)
    assert assembly.whole
    return assembly.answer("req-1"), deltas


def made_of(*lines: Any) -> Answer:
    assembly = Assembly(lambda _text: None)
    for line in lines:
        assembly.add(Event(line if isinstance(line, bytes) else json.dumps(line).encode()))
    assert assembly.whole
    return assembly.answer(None)


def text(content: Any, **members: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content}, "done": False, **members}


END = {"message": {"content": ""}, "done": True, "done_reason": "stop"}


@pytest.mark.parametrize("name", ANSWERS)
def test_streams(name: str) -> None:
    found, deltas = assemble((STREAMS / name).read_bytes())
    assert found == ANSWERS[name]
    assert "".join(deltas) == found.text
    assert "" not in deltas


@given(name=st.sampled_from(sorted(ANSWERS)), cuts=st.lists(st.integers(0, 1500), max_size=30))
def test_the_stream_may_be_cut_anywhere(name: str, cuts: list[int]) -> None:
    data = (STREAMS / name).read_bytes()
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    assert assemble(*(data[a:b] for a, b in pairwise(places)))[0] == ANSWERS[name]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_stream_that_stops_before_its_last_line_is_not_whole(name: str) -> None:
    lines = (STREAMS / name).read_bytes().splitlines()
    assembly = Assembly(lambda _text: None)
    for line in lines[:-1]:
        assembly.add(Event(line))
        assert not assembly.whole
        assert not assembly.ended
    assembly.add(Event(lines[-1]))
    assert assembly.whole


def test_a_whole_answer() -> None:
    deltas: list[str] = []
    assembly = Assembly(deltas.append)
    assembly.add_whole((STREAMS / "whole.json").read_bytes())
    calls = (ToolCall("get_weather", '{"city":"Paris"}', None),)
    assert assembly.answer("req-1") == answer(
        "llama3.2", "Looking it up.", "tool_calls", Usage(26, 298), tool_calls=calls
    )
    assert deltas == []


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([text("a"), text("b"), END], id="plain"),
        pytest.param([text("a"), {**END, "message": {"content": "b"}}], id="text in the last line"),
        pytest.param([text("a"), text(None), text(""), {}, {"message": None}, text("b"), END],
                     id="nothing in between"),
        pytest.param([text("a"), {"message": {"content": "", "thinking": "hm"}}, text("b"), END],
                     id="thinking"),
        pytest.param([text("a"), b'{"message":{"content":"b"},"x":NaN}', END], id="NaN"),
        pytest.param([text("a"), text("b"), {"done": True, "done_reason": "stop"}],
                     id="no last message"),
    ],
)  # fmt: skip
def test_text_of_other_servers(lines: list[Any]) -> None:
    found = made_of(*lines)
    assert (found.text, found.finish_reason) == ("ab", "stop")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (b'{"b":2, "a":1.50}', '{"b":2, "a":1.50}'),
        (b'"{\\"a\\":1}"', '{"a":1}'),
        (b"{}", "{}"),
        (b'""', "{}"),
        (b"null", "null"),
    ],
)
def test_arguments_are_kept_as_they_were_written(arguments: bytes, expected: str) -> None:
    call = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":%s}}]}}' % arguments
    assert made_of(call, END).tool_calls == (ToolCall("f", expected, None),)


def test_a_call_without_arguments() -> None:
    call = {"message": {"tool_calls": [{"function": {"name": "f"}}]}}
    assert made_of(call, END).tool_calls == (ToolCall("f", "{}", None),)


@pytest.mark.parametrize(
    ("said", "reason"),
    [("stop", "stop"), ("length", "length"), ("load", "load"), ("", None), (None, None)],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_finish_reasons(said: Any, reason: str | None, streamed: bool) -> None:
    line = {"message": {"content": "a"}, "done": True, "done_reason": said}
    if streamed:
        assert made_of(line).finish_reason == reason
    else:
        assembly = Assembly(lambda _text: None)
        assembly.add_whole(json.dumps(line).encode())
        assert assembly.answer(None).finish_reason == reason


def test_cut_off_after_a_call_is_still_cut_off() -> None:
    call = {"message": {"tool_calls": [{"function": {"name": "f", "arguments": {}}}]}}
    assert made_of(call, {"done": True, "done_reason": "length"}).finish_reason == "length"


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, None),
        ({"prompt_eval_count": 3, "eval_count": 2}, Usage(3, 2)),
        ({"eval_count": 2}, Usage(None, 2)),
        ({"prompt_eval_count": -1, "eval_count": 2.5}, None),
        ({"prompt_eval_count": True, "eval_count": "2"}, None),
    ],
)
def test_usage(counts: dict[str, Any], expected: Usage | None) -> None:
    assert made_of({**END, **counts}).usage == expected


def test_an_error_in_mid_stream() -> None:
    with pytest.raises(ErrorInAnswer) as caught:
        assemble((STREAMS / "error.jsonl").read_bytes())
    assert caught.value.said.message.startswith("an error was encountered while running the model")


def test_an_error_instead_of_an_answer() -> None:
    with pytest.raises(ErrorInAnswer, match="the reason"):
        Assembly(lambda _text: None).add_whole(b'{"error": "the reason"}')


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[1]",
        b'{"x":' + b"[" * 50_000,
        b'{"message":{"content":7}}',
        b'{"message":7}',
        rb'{"message":{"content":"\ud83d"}}',
        b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":"\xff"}}]}}',
    ],
)
def test_what_is_no_answer(line: bytes) -> None:
    with pytest.raises(APIResponseError, match=r"none of Ollama's|no JSON"):
        made_of(line)


@pytest.mark.parametrize("body", [b"{}", b'{"done": false}', b'{"message": {"content": "a"}}'])
def test_a_whole_answer_says_that_it_is_done(body: bytes) -> None:
    with pytest.raises(APIResponseError, match="does not say that it is done"):
        Assembly(lambda _text: None).add_whole(body)


NAMES = ["model", "message", "content", "tool_calls", "function", "name", "arguments", "error",
         "done", "done_reason", "eval_count", "logprobs", "token", "logprob", "id"]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(value=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4))
def test_any_json_is_an_answer_or_a_typed_error(value: dict[str, Any]) -> None:
    data = json.dumps(value).encode()
    assembly = Assembly(lambda _text: None)
    try:
        assembly.add(Event(data))
        assembly.add_whole(data)
    except (APIResponseError, ErrorInAnswer):
        return
    assert isinstance(assembly.answer(None), Answer)


@given(data=st.binary(max_size=200).filter(lambda data: not data.strip().startswith(b"{")))
def test_any_other_bytes_are_a_typed_error(data: bytes) -> None:
    with pytest.raises((APIResponseError, ErrorInAnswer)):
        Assembly(lambda _text: None).add_whole(data)
    with pytest.raises(APIResponseError):
        Assembly(lambda _text: None).add(Event(data))
