"""The whole way to a server that speaks the Messages API, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from cascade import errors
from cascade.errors import ConfigError, MissingAPIKeyError
from cascade.provider import Call, find_provider
from cascade.providers.anthropic import AnthropicProvider
from cascade.testing.faulty_server import FaultyServer, Reply
from cascade.types import Answer, Request, ToolCall, Usage

pytestmark = pytest.mark.anyio

Make = Callable[..., AnthropicProvider]
STREAMS = Path(__file__).parent / "streams"
KEY = "hunter2-hunter2"


def call(model: str = "m", prompt: Any = "hi", **params: Any) -> Call:
    return Call(model, Request.of(prompt).with_params(**params))


async def failure(provider: AnthropicProvider, **params: Any) -> errors.ProviderError:
    with pytest.raises(errors.ProviderError) as caught:
        await provider.complete(call(**params))
    return caught.value


async def test_streams_by_default(server: FaultyServer, anthropic: Make) -> None:
    pieces: list[str] = []
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "one two"}]
    answer = await anthropic().complete(Call("m", Request.of(messages), pieces.append))
    assert pieces == ["Hello", " there."]
    assert answer == Answer("Hello there.", (), "stop", Usage(4, 2), model="m", request_id="req-0")
    sent = server.requests[0]
    assert sent.path == "/v1/messages"
    assert sent.headers["anthropic-version"] == "2023-06-01"
    assert sent.headers["accept"] == "text/event-stream"
    assert "x-api-key" not in sent.headers
    assert sent.body == {
        "model": "m",
        "max_tokens": 8192,
        "stream": True,
        "system": "Be kind.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "one two"}]}],
    }


async def test_does_not_stream_when_told(server: FaultyServer, anthropic: Make) -> None:
    pieces: list[str] = []
    request = Request.of("hi").with_params(stream=False)
    answer = await anthropic().complete(Call("m", request, pieces.append))
    assert (answer.text, answer.finish_reason, answer.usage) == (
        "Hello there.",
        "stop",
        Usage(1, 2),
    )
    assert pieces == []


@pytest.mark.parametrize("stream", [True, False])
async def test_calls_and_counts(server: FaultyServer, anthropic: Make, stream: bool) -> None:
    calls = (ToolCall("add", '{"a": 1, "b": 2}', "id1"), ToolCall("now", "{}", "id2"))
    usage = Usage(100, 20, cached_input_tokens=64, reasoning_tokens=18)
    server.on("m", Reply("Adding.", tool_calls=calls, usage=usage))
    answer = await anthropic().complete(call(stream=stream))
    assert answer.text == "Adding."
    assert answer.usage == usage
    assert answer.finish_reason == "tool_calls"
    assert [(c.name, c.id) for c in answer.tool_calls] == [("add", "id1"), ("now", "id2")]
    assert answer.tool_calls == calls


@pytest.mark.parametrize("name", ["text.sse", "thinking.sse", "tool_calls.sse", "whole.json"])
async def test_recorded_bodies(server: FaultyServer, anthropic: Make, name: str) -> None:
    raw = (STREAMS / name).read_bytes()
    server.on("m", Reply(raw=[raw[i : i + 7] for i in range(0, len(raw), 7)]))
    answer = await anthropic().complete(call())
    assert answer.text
    assert answer.finish_reason in ("stop", "tool_calls")


@pytest.mark.parametrize("stream", [True, False])
async def test_half_an_answer_is_the_engines_to_judge(
    server: FaultyServer, anthropic: Make, stream: bool
) -> None:
    server.on("m", Reply("half", finish_reason="length"), Reply("", finish_reason="refusal"))
    provider = anthropic()
    assert (await provider.complete(call(stream=stream))).finish_reason == "length"
    assert (await provider.complete(call(stream=stream))).finish_reason == "content_filter"


@pytest.mark.parametrize("cut_after", [0, 1, 2])
async def test_a_stream_cut_short_is_no_success(
    server: FaultyServer, anthropic: Make, cut_after: int
) -> None:
    server.on("end", Reply("Hello there.", cut_after=cut_after, chunked=False))
    server.on("break", Reply("Hello there.", cut_after=cut_after))
    ended = await failure(anthropic(), model="end")
    broken = await failure(anthropic(), model="break")
    assert type(ended) is errors.APIResponseError
    assert type(broken) is errors.APIConnectionError
    assert ended.retryable
    assert broken.retryable
    assert broken.request_id == "req-1"
    server.on("silent", Reply("Hello", finish_reason=None, done=False))
    assert "ended before" in (await failure(anthropic(), model="silent")).message
    server.on("unmarked", Reply("Hello", done=False))
    assert (await anthropic().complete(call("unmarked"))).text == "Hello"


async def test_cancelling_closes_the_socket(server: FaultyServer, anthropic: Make) -> None:
    server.on("slow", Reply("one two", hang="end"))
    with anyio.CancelScope() as scope:
        await anthropic().complete(Call("slow", Request.of("hi"), lambda _text: scope.cancel()))
    assert scope.cancelled_caught
    server.wait_for(lambda: server.open_connections == 0)
    server.wait_for(lambda: server.ledger.aborts == 1)
    assert server.requests[0].aborted is not None
    assert server.ledger.finishes == 0


@pytest.mark.parametrize(
    ("status", "said", "kind", "retryable"),
    [
        (400, "messages: at least one message is required", errors.BadRequestError, False),
        (400, "prompt is too long: 208310 tokens > 200000 maximum",
         errors.ContextWindowExceededError, False),
        (400, "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
         errors.ContextWindowExceededError, False),
        (400, "Output blocked by content filtering policy", errors.ContentPolicyError, False),
        (401, "invalid x-api-key", errors.AuthenticationError, False),
        (402, "no money", errors.APIStatusError, False),
        (403, "not yours", errors.PermissionDeniedError, False),
        (404, "model: claude-9", errors.NotFoundError, False),
        (413, "Request exceeds the maximum size", errors.BadRequestError, False),
        (429, "Number of request tokens has exceeded your rate limit", errors.RateLimitError, True),
        (500, "Internal server error", errors.InternalServerError, True),
        (529, "Overloaded", errors.OverloadedError, True),
    ],
)  # fmt: skip
async def test_errors(
    server: FaultyServer,
    anthropic: Make,
    status: int,
    said: str,
    kind: type[errors.APIStatusError],
    retryable: bool,
) -> None:
    server.on("m", Reply(said, status=status, headers={"Retry-After": "2"}))
    found = await failure(anthropic())
    assert type(found) is kind
    assert (found.status, found.retryable, found.request_id) == (status, retryable, "req-0")
    assert found.retry_after == 2.0
    assert f" answered {status}: {said} (request req-0)" in found.message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "overloaded_error"}, errors.OverloadedError),
        ({"type": "api_error"}, errors.InternalServerError),
        ({"type": "rate_limit_error"}, errors.RateLimitError),
        ({"type": "brand_new_error"}, errors.APIResponseError),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_errors_with_status_200(
    server: FaultyServer,
    anthropic: Make,
    error: dict[str, Any],
    kind: type[errors.ProviderError],
    stream: bool,
) -> None:
    server.on("m", Reply("the reason", error=error))
    found = await failure(anthropic(), stream=stream)
    assert type(found) is kind
    assert "the reason" in found.message
    assert found.request_id == "req-0"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Output blocked by content filtering policy", errors.ContentPolicyError),
        ("input length and `max_tokens` exceed context limit", errors.ContextWindowExceededError),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_errors_told_apart_by_their_text(
    server: FaultyServer,
    anthropic: Make,
    said: str,
    kind: type[errors.ProviderError],
    stream: bool,
) -> None:
    server.on("m", Reply(said, error={"type": "invalid_request_error"}))
    assert type(await failure(anthropic(), stream=stream)) is kind


async def test_an_error_in_the_middle_of_a_recorded_stream(
    server: FaultyServer, anthropic: Make
) -> None:
    server.on("m", Reply(raw=(STREAMS / "overloaded.sse").read_bytes()))
    assert type(await failure(anthropic())) is errors.OverloadedError


@pytest.mark.parametrize("raw", [b"data: nonsense\n\n", b"{", b'{"object": "list"}'])
async def test_what_is_no_answer(server: FaultyServer, anthropic: Make, raw: bytes) -> None:
    server.on("m", Reply(raw=raw))
    found = await failure(anthropic())
    assert type(found) is errors.APIResponseError
    assert "no Anthropic message" in found.message


@pytest.mark.parametrize("status", [401, 200])
async def test_no_error_shows_the_key(server: FaultyServer, anthropic: Make, status: int) -> None:
    server.on("m", Reply(f"bad key {KEY}", status=status, error={"type": "api_error"}))
    provider = anthropic(api_key=KEY)
    found = await failure(provider)
    assert server.requests[0].headers["x-api-key"] == KEY
    assert "bad key [redacted]" in found.message
    for shown in (str(found), repr(vars(found)), repr(provider), repr(server.requests)):
        assert KEY not in shown


async def test_the_key_goes_only_where_it_belongs(
    server: FaultyServer, anthropic: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    await anthropic().complete(call())
    assert "x-api-key" not in server.requests[-1].headers
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    await anthropic(base_url=None).complete(call())
    assert server.requests[-1].headers["x-api-key"] == KEY


@pytest.mark.parametrize("run", ["asyncio"])
async def test_what_is_refused_at_load(anthropic: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    anthropic().check("claude-haiku-4-5", {"temperature": 0, "max_tokens": 5})
    with pytest.raises(ConfigError, match=r"'seed': the Messages API has none \(model 'm'\)"):
        anthropic().check("m", {"seed": 1})
    with pytest.raises(MissingAPIKeyError, match="ANTHROPIC_API_KEY is not set"):
        anthropic(base_url=None).check("m", {})
    for end in ("/v1", "/v1/messages"):
        with pytest.raises(ConfigError, match=f"base_url ends in {end}: leave that off"):
            anthropic(base_url=f"https://proxy.example{end}")
    assert find_provider("anthropic") is AnthropicProvider
