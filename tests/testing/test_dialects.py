"""One server, every wire format: the path says which."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from cascade.testing import FaultyServer, Reply, ServerLedger
from cascade.testing._dialects import DIALECTS
from cascade.types import ToolCall, Usage

CALL = ToolCall("add", '{"a": 1}', "id1")


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer(default=Reply("one two")) as server:
        yield server


def connect(server: FaultyServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)


def ask(server: FaultyServer, path: str, **body: Any) -> tuple[int, str | None, bytes]:
    connection = connect(server)
    connection.request("POST", path, json.dumps(body))
    with connection.getresponse() as response:
        found = response.status, response.getheader("content-type"), response.read()
    connection.close()
    return found


def events(body: bytes) -> list[Any]:
    lines = body.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]


def messages(server: FaultyServer, **body: Any) -> tuple[int, str | None, bytes]:
    said = [{"role": "user", "content": [{"type": "text", "text": "a b"}]}]
    return ask(server, "/v1/messages", model="m", messages=said, **body)


def generate(
    server: FaultyServer, method: str = "generateContent", model: str = "m", **body: Any
) -> tuple[int, str | None, bytes]:
    said = [{"role": "user", "parts": [{"text": "a b"}]}]
    return ask(server, f"/v1beta/models/{model}:{method}", contents=said, **body)


def test_no_two_formats_claim_a_path() -> None:
    paths = ["/v1/chat/completions", "/v1/messages", "/v1beta/models/m:generateContent",
             "/v1beta/models/m:streamGenerateContent", "/v1/responses", "/api/chat",
             "/v1/models", "/v1/messages/count_tokens", "/v1beta/models/m:countTokens",
             "/"]  # fmt: skip
    claims = [[d.model_asked(path, {"model": "m"}) for d in DIALECTS].count("m") for path in paths]
    assert claims == [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]


def test_messages_streamed(server: FaultyServer) -> None:
    server.on("m", Reply("one two", tool_calls=[CALL], usage=Usage(9, 5, 4, 3)))
    status, kind, body = messages(server, stream=True, system="c")
    assert (status, kind) == (200, "text/event-stream; charset=utf-8")
    found = events(body)
    assert [event["type"] for event in found] == [
        "message_start", "content_block_start", "ping", "content_block_delta",
        "content_block_delta", "content_block_stop", "content_block_start", "content_block_delta",
        "content_block_delta", "content_block_delta", "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip
    named = [line[7:].decode() for line in body.splitlines() if line.startswith(b"event: ")]
    assert named == [event["type"] for event in found]
    assert found[-2]["delta"]["stop_reason"] == "tool_use"
    assert found[-2]["usage"] == {
        "input_tokens": 5,
        "cache_read_input_tokens": 4,
        "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 3},
    }
    assert server.requests[0].tokens_sent == 2


def test_messages_whole_and_errors(server: FaultyServer) -> None:
    status, kind, body = messages(server, system="c")
    answer = json.loads(body)
    assert (status, kind) == (200, "application/json")
    assert answer["content"] == [{"type": "text", "text": "one two"}]
    assert answer["stop_reason"] == "end_turn"
    assert answer["usage"] == {"input_tokens": 3, "output_tokens": 2}
    server.on("m", Reply("busy", status=529), Reply("no", error={"type": "api_error"}))
    status, _, body = messages(server)
    assert (status, json.loads(body)["error"]) == (
        529,
        {"type": "overloaded_error", "message": "busy"},
    )
    _, _, body = messages(server, stream=True)
    assert events(body)[-1]["error"] == {"type": "api_error", "message": "no"}
    server.on("m", Reply("x", usage=None, finish_reason=None, done=False))
    _, _, body = messages(server, stream=True)
    assert events(body)[-1] == {"type": "content_block_stop", "index": 0}
    assert b"usage" not in body


def test_gemini_streamed(server: FaultyServer) -> None:
    server.on("m", Reply("one two", tool_calls=[CALL], usage=Usage(9, 5, 4, 3)))
    status, kind, body = generate(server, "streamGenerateContent?alt=sse")
    assert (status, kind) == (200, "text/event-stream")
    one, two, end = (chunk["candidates"][0] for chunk in events(body))
    assert one["content"]["parts"] == [{"text": "one"}]
    assert two["content"]["parts"] == [{"text": " two"}]
    assert end["content"]["parts"] == [
        {"functionCall": {"name": "add", "args": {"a": 1}, "id": "id1"}}
    ]
    assert end["finishReason"] == "STOP"
    assert events(body)[-1]["usageMetadata"] == {
        "promptTokenCount": 9,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 3,
        "cachedContentTokenCount": 4,
        "totalTokenCount": 14,
    }


def test_gemini_whole_and_errors(server: FaultyServer) -> None:
    _, kind, body = generate(server, model="tuned%2Fm", generationConfig={})
    answer = json.loads(body)
    assert kind == "application/json; charset=UTF-8"
    assert server.requests[0].model == "tuned/m"
    assert answer["candidates"][0]["content"]["parts"] == [{"text": "one two"}]
    assert answer["usageMetadata"]["promptTokenCount"] == 2
    server.on("m", Reply("busy", status=503), Reply("no", error={"status": "INTERNAL"}))
    status, _, body = generate(server)
    assert (status, json.loads(body)["error"]) == (
        503,
        {"code": 503, "message": "busy", "status": "UNAVAILABLE"},
    )
    _, _, body = generate(server, "streamGenerateContent")
    assert events(body)[-1]["error"]["code"] == 500
    server.on("m", Reply("x", finish_reason=None))
    _, _, body = generate(server, "streamGenerateContent")
    assert len(events(body)) == 1


@pytest.mark.parametrize("ask_for", [messages, generate])
def test_unknown_models_are_not_found(ask_for: Any) -> None:
    with FaultyServer() as bare:
        status, _, body = ask_for(bare)
    assert status == 404
    assert "'m' does not exist" in json.loads(body)["error"]["message"]


def test_the_ledger_counts(server: FaultyServer) -> None:
    assert server.ledger == ServerLedger()
    messages(server, stream=True)
    generate(server)
    assert server.ledger == ServerLedger(starts=2, finishes=2, tokens=2)
    server.on("m", Reply("one two", hang="end"))
    connection = connect(server)
    connection.request("POST", "/v1/messages", '{"model": "m", "stream": true}')
    server.wait_for(lambda: server.ledger.tokens == 4)
    assert server.ledger.running == 1
    before = time.monotonic()
    connection.close()
    server.wait_for(lambda: server.ledger.aborts == 1)
    assert server.ledger == ServerLedger(starts=3, finishes=2, aborts=1, tokens=4)
    assert server.ledger.running == 0
    aborted = server.requests[-1].aborted
    assert aborted is not None
    assert before <= aborted <= time.monotonic()


def test_each_token_has_its_delay(server: FaultyServer) -> None:
    reply = Reply(tokens=["a", "b", "c", "d"], token_delay=[0.0, 0.0, 60.0])
    assert [reply.delay_of(i) for i in range(5)] == [0.0, 0.0, 60.0, 60.0, 60.0]
    assert Reply("a", token_delay=0.5).delay_of(7) == 0.5
    server.on("m", reply)
    connection = connect(server)
    connection.request("POST", "/v1/messages", '{"model": "m", "stream": true}')
    server.wait_for(partial(_sent, server, 2))
    connection.close()
    server.wait_for(lambda: server.ledger.aborts == 1)
    assert server.requests[0].tokens_sent == 2
    with pytest.raises(ValueError, match="token_delay is empty"):
        Reply("a", token_delay=[])


def _sent(server: FaultyServer, tokens: int) -> bool:
    return server.ledger.tokens == tokens
