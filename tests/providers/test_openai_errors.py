"""Every way in which a call fails, and the error it fails with."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from cascade import errors
from cascade.provider import Call
from cascade.providers import _reading, _wire
from cascade.providers.http import TIMEOUT
from cascade.providers.openai import OpenAIProvider
from cascade.testing.faulty_server import FaultyServer, Reply
from cascade.transport import make_transport
from cascade.types import Request
from tests.providers.conftest import RUNS, Context

pytestmark = pytest.mark.anyio

KEY = "sk-test-0123456789"
Make = Callable[..., OpenAIProvider]


async def failure(
    provider: OpenAIProvider, model: str = "m", **params: Any
) -> errors.ProviderError:
    with pytest.raises(errors.ProviderError) as caught:
        await provider.complete(Call(model, Request.of("hi").with_params(**params)))
    return caught.value


@pytest.mark.parametrize(
    ("status", "error", "kind", "retryable"),
    [
        (400, {}, errors.BadRequestError, False),
        (400, {"code": "context_length_exceeded"}, errors.ContextWindowExceededError, False),
        (400, {"type": "exceed_context_size_error", "code": 400},
         errors.ContextWindowExceededError, False),
        (400, {"message": "This model's maximum context length is 8 tokens.", "code": 400},
         errors.ContextWindowExceededError, False),
        (400, {"message": "request (9 tokens) exceeds the available context size (8 tokens)"},
         errors.ContextWindowExceededError, False),
        (500, {"message": "Context size has been exceeded.", "code": 500},
         errors.ContextWindowExceededError, False),
        (400, {"code": "content_filter"}, errors.ContentPolicyError, False),
        (400, {"code": "content_policy_violation"}, errors.ContentPolicyError, False),
        (401, {}, errors.AuthenticationError, False),
        (403, {}, errors.PermissionDeniedError, False),
        (404, {}, errors.NotFoundError, False),
        (408, {}, errors.RequestTimeoutError, True),
        (409, {}, errors.ConflictError, True),
        (413, {}, errors.BadRequestError, False),
        (418, {}, errors.APIStatusError, False),
        (422, {}, errors.UnprocessableEntityError, False),
        (429, {}, errors.RateLimitError, True),
        (429, {"code": "insufficient_quota"}, errors.RateLimitError, False),
        (429, {"type": "insufficient_quota", "code": None}, errors.RateLimitError, False),
        (500, {}, errors.InternalServerError, True),
        (502, {}, errors.InternalServerError, True),
        (503, {}, errors.OverloadedError, True),
        (529, {}, errors.OverloadedError, True),
    ],
)  # fmt: skip
async def test_status_and_code_make_the_error(
    server: FaultyServer,
    openai: Make,
    status: int,
    error: dict[str, Any],
    kind: type[errors.APIStatusError],
    retryable: bool,
) -> None:
    server.on("m", Reply("the reason", status=status, error=error))
    found = await failure(openai(api_key=KEY))
    assert type(found) is kind
    assert (found.status, found.retryable, found.request_id) == (status, retryable, "req-0")
    message = error.get("message", "the reason")
    host = server.base_url.removeprefix("http://").removesuffix("/v1")
    assert found.message == f"model 'm' at {host} answered {status}: {message} (request req-0)"


async def test_a_refusal_says_when_no_key_was_sent(server: FaultyServer, openai: Make) -> None:
    server.on("m", Reply("no", status=401), Reply("no", status=401), Reply("no", status=404))
    assert (await failure(openai())).message.endswith(
        " answered 401: no (request req-0); no key was sent: give the tier an api_key"
    )
    for _ in range(2):  # a wrong key, an unknown model
        assert "no key was sent" not in (await failure(openai(api_key=KEY))).message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "model not found"}', "model not found"),
        (b'{"object": "error", "message": "no", "code": 400}', "no"),
        (b'[{"error": {"message": "listed"}}]', "listed"),
        (b'{"detail": [{"loc": ["body"]}]}', "[{'loc': ['body']}]"),
        (b"<h1>Bad\r\n gateway</h1>\x00\xff", "<h1>Bad gateway</h1>\ufffd\ufffd"),
        (b"", "no message"),
        (b"null", "no message"),
        (b'{"error": {"message": null}}', "no message"),
        (b"[" * 70_000, "[" * 499 + "…"),
        (b"x" * 1_000_000, "x" * 499 + "…"),
    ],
)
async def test_any_error_body_is_understood(
    server: FaultyServer, openai: Make, body: bytes, message: str
) -> None:
    server.on("m", Reply(raw=body, status=500, headers={"X-Request-Id": ""}))
    found = await failure(openai())
    assert isinstance(found, errors.InternalServerError)
    assert found.message.endswith(f" answered 500: {message}")


async def test_an_error_body_that_never_ends_is_not_waited_for(
    server: FaultyServer, openai: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_wire, "_ERROR_BODY_SECONDS", 0.01)
    server.on("m", Reply(raw=b'{"error": ', status=503, hang="end"))
    assert isinstance(await failure(openai()), errors.OverloadedError)
    server.wait_for(lambda: server.open_connections == 0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "rate_limit_exceeded"}, errors.RateLimitError),
        ({"code": 429}, errors.RateLimitError),
        ({"code": "429"}, errors.RateLimitError),
        ({"type": "server_error"}, errors.InternalServerError),
        ({"type": "overloaded_error"}, errors.OverloadedError),
        ({"code": 502}, errors.InternalServerError),
        ({"code": "context_length_exceeded", "type": "other"}, errors.ContextWindowExceededError),
        ({"code": "content_filter"}, errors.ContentPolicyError),
        ({"code": 400, "type": "exceed_context_size_error"}, errors.ContextWindowExceededError),
        ({"code": "strange"}, errors.APIResponseError),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_errors_with_status_200(
    server: FaultyServer,
    openai: Make,
    error: dict[str, Any],
    kind: type[errors.ProviderError],
    stream: bool,
) -> None:
    server.on("m", Reply("the reason", error=error))
    found = await failure(openai(), stream=stream)
    assert type(found) is kind
    assert "the reason" in found.message
    assert found.request_id == "req-0"
    server.wait_for(lambda: server.open_connections <= 1)


@pytest.mark.parametrize(
    ("raw", "kind", "message"),
    [
        (b'event: error\ndata: {"code":400,"details":"21 logprobs"}\n\ndata: [DONE]\n\n',
         errors.BadRequestError, "21 logprobs"),
        (b"event: error\ndata: gone\n\n", errors.APIResponseError, "broke off with an error: gone"),
        (b'data: {"object":"error","message":"no","type":"NotFoundError","code":404}\n\n',
         errors.NotFoundError, "answered 404: no"),
        (b'[{"error": {"code": 503, "message": "busy"}}]', errors.OverloadedError, "busy"),
        (b'data: {"choices":[{"delta":{},"finish_reason":"error"}]}\n\n',
         errors.APIResponseError, "finish reason is 'error'"),
        (b"", errors.APIResponseError, "the answer is empty"),
        (b" \n ", errors.APIResponseError, "the answer is empty"),
        (b"data: nonsense\n\n", errors.APIResponseError, "no chat completion"),
        (b"data: [1]\n\n", errors.APIResponseError, "no chat completion"),
        (b'data: {"choices": 7}\n\n', errors.APIResponseError, "no chat completion"),
        (b'data: {"choices":[{"delta":{"content":7}}]}\n\n', errors.APIResponseError, "type int"),
        (b'data: {"x":' + b"[" * 50_000 + b"\n\n", errors.APIResponseError, "no chat completion"),
        (rb'data: {"choices":[{"delta":{"content":"\ud83d"}}]}' b"\n\n",
         errors.APIResponseError, "no chat completion"),
        (b"{}", errors.APIResponseError, "no choices"),
        (b"{", errors.APIResponseError, "no chat completion"),
        (b"plain text", errors.APIResponseError, "ended before"),
        (b"<!doctype html>", errors.APIResponseError, "is the base_url right?"),
    ],
)  # fmt: skip
async def test_what_is_no_answer(
    server: FaultyServer, openai: Make, raw: bytes, kind: type[errors.ProviderError], message: str
) -> None:
    server.on("m", Reply(raw=raw))
    found = await failure(openai())
    assert type(found) is kind
    assert message in found.message
    assert found.request_id == "req-0"


@pytest.mark.parametrize("cut_after", [0, 1, 2])
async def test_a_stream_cut_short_is_no_success(
    server: FaultyServer, openai: Make, cut_after: int
) -> None:
    server.on("end", Reply("Hello there.", cut_after=cut_after, chunked=False))
    server.on("break", Reply("Hello there.", cut_after=cut_after))
    ended, broken = await failure(openai(), "end"), await failure(openai(), "break")
    assert type(ended) is errors.APIResponseError
    assert "ended before the answer did" in ended.message or "is empty" in ended.message
    assert type(broken) is errors.APIConnectionError
    assert "broke" in broken.message
    assert ended.retryable
    assert broken.retryable
    assert broken.request_id == "req-1"
    server.on("silent", Reply("Hello", finish_reason=None, done=False))
    assert "ended before" in (await failure(openai(), "silent")).message


async def test_a_break_after_the_last_chunk_loses_nothing(
    server: FaultyServer, openai: Make
) -> None:
    last = {"choices": [{"delta": {"content": "all"}, "finish_reason": "stop"}]}
    raw = [b"data: " + json.dumps(last).encode() + b"\n\n"]
    server.on("m", Reply(raw=raw, cut_after=1))
    assert (await openai().complete(Call("m", Request.of("hi")))).text == "all"


async def test_a_server_that_forgets_to_end_the_body_is_not_waited_for(
    server: FaultyServer, openai: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_reading, "_END_SECONDS", 0.01)
    raw = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'
    server.on("m", Reply(raw=raw, hang="end"))
    assert (await openai().complete(Call("m", Request.of("hi")))).text == "a"
    server.wait_for(lambda: server.open_connections == 0)


async def test_sizes_are_bounded(
    server: FaultyServer, openai: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_reading, "_MAX_BODY", 10_000)
    monkeypatch.setattr(_reading, "MAX_EVENT_BYTES", 10_000)
    server.on("long", Reply(tokens=["word "] * 1000))
    for stream, word in ((True, "stream"), (False, "answer")):
        if not stream:
            server.on("long", Reply("x" * 20_000_000))
        found = await failure(openai(), "long", stream=stream)
        assert f"the {word} is longer than 10,000 bytes" in found.message
        assert not found.retryable
    server.wait_for(lambda: server.open_connections == 0)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(server: FaultyServer, openai: Make, status: int) -> None:
    for target in ("https://elsewhere.example/v1?key=secret", "https://me:pw@elsewhere.example/"):
        server.on("m", Reply(raw=b"", status=status, headers={"Location": target}))
        found = await failure(openai(api_key="sk-abc"))
        assert type(found) is errors.APIResponseError
        assert f"redirects ({status}) to https://elsewhere.example, which is not" in found.message
        assert not found.retryable
    server.on("m", Reply(raw=b"", status=status, headers={"Location": "http://[nowhere"}))
    assert "to what is no address, which is not" in (await failure(openai())).message
    server.on("m", Reply(raw=b"", status=204, chunked=False))
    assert "answered 204, which is no answer" in (await failure(openai())).message


async def test_no_connection(openai: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = await failure(openai(base_url=f"http://127.0.0.1:{port}/v1"))
    assert type(found) is errors.APIConnectionError
    assert found.message == f"cannot connect to 127.0.0.1:{port}: connection refused"
    assert found.retryable


async def test_no_such_host(openai: Make) -> None:
    found = await failure(openai(base_url="http://nowhere.invalid"))
    assert type(found) is errors.APIConnectionError
    assert found.message.startswith("cannot connect to nowhere.invalid:80: ")


@pytest.mark.parametrize("wire", [b"SSH-2.0-OpenSSH\r\n\r\n", b"", b"HTTP/1.1 200"])
async def test_what_is_no_http(server: FaultyServer, openai: Make, wire: bytes) -> None:
    server.on("m", Reply(wire=wire))
    found = await failure(openai())
    assert type(found) is errors.APIConnectionError
    assert " broke: " in found.message


@pytest.mark.parametrize(
    ("raw", "encoding", "message"),
    [
        (b"not gzip", "gzip", "compressed wrongly"),
        (gzip.compress(b"data: x\n\n")[:10], "gzip", "is empty"),
        (gzip.compress(bytes(20_000_000)), "gzip", "grows too much"),
        (b"what", "zstd", "compressed with 'zstd'"),
    ],
)
async def test_bad_compression(
    server: FaultyServer, openai: Make, raw: bytes, encoding: str, message: str
) -> None:
    server.on("m", Reply(raw=raw, headers={"Content-Encoding": encoding}))
    found = await failure(openai())
    assert type(found) is errors.APIResponseError
    assert message in found.message
    server.on("m", Reply(raw=raw, headers={"Content-Encoding": encoding}, status=503))
    assert type(await failure(openai())) is errors.OverloadedError


async def test_the_clients_timeouts_are_ours(
    server: FaultyServer, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TIMEOUT, "connect", 1e-9)
    monkeypatch.setattr("cascade.transports.aiohttp.CONNECT_TIMEOUT", 1e-9)
    async with aclosing(make_transport(RUNS[run])) as transport:
        found = await failure(OpenAIProvider(Context(transport), base_url=server.base_url))
    assert type(found) is errors.APITimeoutError
    assert found.message.startswith("timed out connecting to 127.0.0.1:")


@pytest.mark.parametrize("status", [401, 200])
async def test_no_error_shows_the_key(server: FaultyServer, openai: Make, status: int) -> None:
    key = "hunter2-hunter2"
    text = f"bad key {key}, sk-proj-abcdef123, Bearer {key}\n and more"
    server.on("m", Reply(text, status=status, error={"code": "x"}))
    provider = openai(api_key=key)
    found = await failure(provider)
    assert server.requests[0].headers["authorization"] == f"Bearer {key}"
    assert "bad key [redacted], [redacted], Bearer [redacted] and more" in found.message
    for shown in (str(found), repr(found), repr(vars(found)), repr(provider), repr(vars(provider))):
        assert key not in shown
        assert "abcdef" not in shown


async def test_retry_after_is_on_the_error(server: FaultyServer, openai: Make) -> None:
    server.on("m", Reply(status=429, headers={"Retry-After": "2"}))
    assert (await failure(openai())).retry_after == 2.0
