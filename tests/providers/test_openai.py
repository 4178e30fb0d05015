"""What is sent, and how answers are read: from good servers, and from careless ones."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from cascade.errors import PromptError
from cascade.provider import Call
from cascade.providers.openai import OpenAIProvider
from cascade.testing.faulty_server import FaultyServer, Reply
from cascade.types import Answer, Message, Request, TokenLogprob, ToolCall, Usage

pytestmark = pytest.mark.anyio

Make = Callable[..., OpenAIProvider]


def call(model: str = "m", prompt: Any = "hi", **params: Any) -> Call:
    return Call(model, Request.of(prompt).with_params(**params))


def events(*values: Any, done: bool = True) -> bytes:
    """A stream of these chunks."""
    data = [v if isinstance(v, str) else json.dumps(v) for v in values]
    return "".join(f"data: {d}\n\n" for d in [*data, *(["[DONE]"] if done else [])]).encode()


def piece(content: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}]}


async def read(server: FaultyServer, openai: Make, raw: bytes, **reply: Any) -> Answer:
    server.on("raw", Reply(raw=raw, **reply))
    return await openai().complete(call("raw"))


async def test_streams_by_default(server: FaultyServer, openai: Make) -> None:
    pieces: list[str] = []
    answer = await openai().complete(Call("m", Request.of("one two"), pieces.append))
    assert pieces == ["Hello", " there."]
    assert answer == Answer(
        text="Hello there.",
        finish_reason="stop",
        usage=Usage(input_tokens=2, output_tokens=2),
        model="m",
        request_id="req-0",
    )
    sent = server.requests[0]
    assert sent.path == "/v1/chat/completions"
    assert "authorization" not in sent.headers
    assert sent.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "one two"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_does_not_stream_when_told(server: FaultyServer, openai: Make) -> None:
    pieces: list[str] = []
    request = Request.of("hi").with_params(stream=False)
    answer = await openai().complete(Call("m", request, pieces.append))
    assert (answer.text, answer.finish_reason) == ("Hello there.", "stop")
    assert answer.usage == Usage(1, 2)
    assert pieces == []
    assert "stream_options" not in server.requests[0].body


async def test_parameters_pass_through(server: FaultyServer, openai: Make) -> None:
    tools = ({"type": "function", "function": {"name": "f", "parameters": {}}},)
    params = {"temperature": 0, "max_tokens": 5, "top_k": 3, "stream_options": None}
    await openai().complete(Call("m", Request((Message("user", "hi"),), tools, params)))
    assert server.requests[0].body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "temperature": 0,
        "max_tokens": 5,
        "top_k": 3,
        "tools": list(tools),
    }


async def test_writes_messages_as_they_were_given(server: FaultyServer, openai: Make) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Grüße 😀"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}], "name": "eve"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "content": "4", "tool_call_id": "1"},
    ]
    await openai().complete(call(prompt=messages))
    assert server.requests[0].body["messages"] == messages


async def test_what_is_not_json_is_refused(server: FaultyServer, openai: Make) -> None:
    with pytest.raises(PromptError, match="written as JSON"):
        await openai().complete(call(response_format=int))
    with pytest.raises(PromptError, match="written as JSON"):
        await openai().complete(call(prompt="half a pair: \ud83d"))
    assert server.requests == ()


@pytest.mark.parametrize("stream", [True, False])
async def test_tool_calls(server: FaultyServer, openai: Make, stream: bool) -> None:
    calls = (ToolCall("add", '{"a": 1, "b": 2}', "id1"), ToolCall("now", "{}", "id2"))
    server.on("m", Reply(tool_calls=calls))
    answer = await openai().complete(call(stream=stream))
    assert (answer.text, answer.tool_calls, answer.finish_reason) == ("", calls, "tool_calls")


@pytest.mark.parametrize("stream", [True, False])
async def test_logprobs_and_usage(server: FaultyServer, openai: Make, stream: bool) -> None:
    usage = Usage(100, 20, cached_input_tokens=64, reasoning_tokens=18)
    server.on("m", Reply("Yes .", logprobs=[-0.25, -1.5], usage=usage))
    answer = await openai().complete(call(stream=stream, logprobs=True))
    assert answer.logprobs == (TokenLogprob("Yes", -0.25), TokenLogprob(" .", -1.5))
    assert answer.usage == usage


@pytest.mark.parametrize("stream", [True, False])
async def test_nothing_and_half_an_answer_are_the_engines_to_judge(
    server: FaultyServer, openai: Make, stream: bool
) -> None:
    server.on("m", Reply(""), Reply("half", finish_reason="length"))
    provider = openai()
    empty = await provider.complete(call(stream=stream))
    assert (empty.text, empty.finish_reason) == ("", "stop")
    half = await provider.complete(call(stream=stream))
    assert (half.text, half.finish_reason) == ("half", "length")


A, B = piece("a"), piece("b", "stop")
USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(events(A, B, done=False), id="no [DONE]"),
        pytest.param(events(A, piece("b")), id="no finish reason"),
        pytest.param(events(A, B).rstrip(), id="no last line end"),
        pytest.param(events(A, B, B), id="last chunk twice"),
        pytest.param(events(A, {"choices": []}, {"choices": None}, {}, B), id="no choices"),
        pytest.param(events(piece(None, role="assistant"), A, B), id="null content"),
        pytest.param(events(A, B, {"choices": [], "usage": None}), id="null usage"),
        pytest.param(events(A, {"choices": [{"index": 1, "delta": {"content": "no"}}]}, B),
                     id="second choice"),
        pytest.param(events(A, {"choices": [{"delta": {"reasoning_content": "hm"}}]}, B),
                     id="reasoning"),
        pytest.param(events(piece([{"type": "thinking", "text": "hm"}, {"type": "text",
                     "text": "a"}]), B), id="content in parts"),
        pytest.param(events(A, piece("b"), {"choices": [{"message": {"content": "ab"},
                     "finish_reason": "stop"}]}), id="pieces, then the message"),
        pytest.param(events({"choices": [{"message": {"content": "ab"}}]}), id="whole message"),
        pytest.param(b"\xef\xbb\xbf: hello\r\n\r\n" + events(A, B).replace(b"\n", b"\r\n"),
                     id="BOM and CRLF"),
        pytest.param(b'{"choices":[{"message":{"content":"ab"}}]}', id="plain JSON"),
        pytest.param(b' \n{"choices":[{"message":{"content":"ab","refusal":null}}]}\n',
                     id="plain JSON in spaces"),
        pytest.param(events({"choices": [{"delta": {"content": None, "refusal": "ab"}}]}),
                     id="refusal"),
        pytest.param(events(A, '{"choices":[{"delta":{"content":"b"}}],"x":NaN}'), id="NaN"),
        pytest.param(events(A, B) + b"data: never read\n\n", id="after the end"),
        pytest.param(events(A, B, done=False) + b'data: {"usa', id="cut after the answer"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", ""])
async def test_careless_servers_are_understood(
    server: FaultyServer, openai: Make, raw: bytes, content_type: str
) -> None:
    answer = await read(server, openai, raw, content_type=content_type)
    assert answer.text == "ab"


async def test_utf8_may_be_cut_anywhere(server: FaultyServer, openai: Make) -> None:
    raw = 'data: {"choices":[{"delta":{"content":"Grüße 😀"}}]}\n\ndata: [DONE]\n\n'.encode()
    server.on("m", Reply(raw=[raw[i : i + 1] for i in range(len(raw))]))
    assert (await openai().complete(call())).text == "Grüße 😀"


async def test_usage_is_read_from_the_last_chunk_that_has_it(
    server: FaultyServer, openai: Make
) -> None:
    answer = await read(server, openai, events({**A, "usage": {"prompt_tokens": 3}}, B, USAGE))
    assert answer.usage == Usage(3, 2)
    answer = await read(server, openai, events(A, {**B, "usage": {"prompt_tokens": "?"}}))
    assert answer.usage is None


def delta(**call: Any) -> dict[str, Any]:
    return {"choices": [{"delta": {"tool_calls": [call]}}]}


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(
            [delta(id="1", function={"name": "f", "arguments": '{"a":1}'}),
             delta(id="2", function={"name": "g", "arguments": "{}"})], id="no index"),
        pytest.param(
            [delta(index=0, id="1", function={"name": "f", "arguments": '{"a'}),
             delta(index=0, function={"arguments": '":1}'}),
             delta(index=0, id="2", function={"name": "g", "arguments": "{"}),
             delta(index=0, function={"arguments": "}"})], id="always index 0"),
        pytest.param(
            [delta(index=0, id="1", function={"name": "f", "arguments": ""}),
             delta(index=1, id="2", function={"name": "g", "arguments": "{"}),
             delta(index=0, id="1", function={"name": "f", "arguments": '{"a":1}'}),
             delta(index=1, id="", function={"name": None, "arguments": "}"})], id="interleaved"),
        pytest.param(
            [delta(id="1", function={"name": "f", "arguments": {"a": 1}}),
             delta(id="2", function={"name": "g"}), delta(function={"arguments": "{}"})],
            id="arguments as an object"),
    ],
)  # fmt: skip
async def test_tool_calls_of_careless_servers(
    server: FaultyServer, openai: Make, chunks: list[Any]
) -> None:
    answer = await read(server, openai, events(*chunks, piece(None, "tool_calls")))
    assert answer.tool_calls == (ToolCall("f", '{"a":1}', "1"), ToolCall("g", "{}", "2"))


async def test_null_logprobs_are_minus_infinity(server: FaultyServer, openai: Make) -> None:
    tokens: Any = {"content": [{"token": "a", "logprob": None, "top_logprobs": []}]}
    answer = await read(server, openai, events(piece("a", "stop", logprobs=tokens)))
    assert answer.logprobs == (TokenLogprob("a", float("-inf")),)


@pytest.mark.parametrize(
    ("encoding", "raw"),
    [
        ("gzip", gzip.compress(events(A, B))),
        ("deflate", zlib.compress(events(A, B))),
        ("deflate", zlib.compress(events(A, B), wbits=-15)),
    ],
)
async def test_compressed_answers_are_understood(
    server: FaultyServer, openai: Make, encoding: str, raw: bytes
) -> None:
    headers = {"Content-Encoding": encoding}
    server.on("m", Reply(raw=[raw[:30], raw[30:]], headers=headers))
    assert (await openai().complete(call())).text == "ab"
    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_connections_are_used_again(server: FaultyServer, openai: Make) -> None:
    server.on("whole", Reply("hi"))
    server.on("refused", Reply("no", status=400))
    provider = openai()
    for _ in range(3):
        await provider.complete(call())
        await provider.complete(call("whole", stream=False))
        with pytest.raises(Exception, match="no"):
            await provider.complete(call("refused"))
    assert server.connections_made == 1
