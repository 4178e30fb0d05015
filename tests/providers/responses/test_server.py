"""Over real sockets: answers, errors, cuts and cancellation, with each HTTP client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from cascade import errors
from cascade.provider import Call
from cascade.providers.responses import ResponsesProvider
from cascade.testing.faulty_server import FaultyServer, Reply
from cascade.types import Answer, Request, TokenLogprob, ToolCall, Usage

pytestmark = pytest.mark.anyio

Make = Callable[..., ResponsesProvider]

STREAMS = Path(__file__).parent / "streams"


def call(model: str = "m", **params: Any) -> Call:
    return Call(model, Request.of("one two").with_params(**params))


async def failure(provider: ResponsesProvider, **params: Any) -> errors.ProviderError:
    with pytest.raises(errors.ProviderError) as caught:
        await provider.complete(call(**params))
    return caught.value


async def test_streams_by_default(server: FaultyServer, responses: Make) -> None:
    pieces: list[str] = []
    provider = responses(api_key="sk-abc")
    answer = await provider.complete(Call("m", Request.of("one two"), pieces.append))
    assert pieces == ["Hello", " there."]
    assert answer == Answer(
        text="Hello there.",
        finish_reason="stop",
        usage=Usage(2, 2),
        model="m",
        request_id="req-0",
    )
    sent = server.requests[0]
    assert sent.path == "/v1/responses"
    assert sent.headers["authorization"] == "Bearer sk-abc"
    assert sent.body["store"] is False


async def test_does_not_stream_when_told(server: FaultyServer, responses: Make) -> None:
    pieces: list[str] = []
    request = Request.of("one two").with_params(stream=False)
    answer = await responses().complete(Call("m", request, pieces.append))
    assert (answer.text, answer.finish_reason, answer.usage) == (
        "Hello there.",
        "stop",
        Usage(2, 2),
    )
    assert pieces == []


@pytest.mark.parametrize("stream", [True, False])
async def test_tool_calls(server: FaultyServer, responses: Make, stream: bool) -> None:
    calls = (ToolCall("add", '{"a": 1, "b": 2}', "id1"), ToolCall("now", "{}", "id2"))
    server.on("m", Reply(tool_calls=calls), Reply("Adding.", tool_calls=calls))
    provider = responses()
    for text in ("", "Adding."):
        answer = await provider.complete(call(stream=stream))
        assert (answer.text, answer.tool_calls, answer.finish_reason) == (text, calls, "tool_calls")


@pytest.mark.parametrize("stream", [True, False])
async def test_logprobs_and_usage(server: FaultyServer, responses: Make, stream: bool) -> None:
    usage = Usage(100, 20, cached_input_tokens=64, reasoning_tokens=18)
    server.on("m", Reply("Yes .", logprobs=[-0.25, -1.5], usage=usage))
    answer = await responses().complete(call(stream=stream, logprobs=True))
    assert answer.logprobs == (TokenLogprob("Yes", -0.25), TokenLogprob(" .", -1.5))
    assert answer.usage == usage


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
async def test_finish_reasons(
    server: FaultyServer, responses: Make, reason: str, stream: bool
) -> None:
    server.on("m", Reply("half", finish_reason=reason))
    answer = await responses().complete(call(stream=stream))
    assert (answer.text, answer.finish_reason) == ("half", reason)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {}, errors.BadRequestError),
        (400, {"code": "context_length_exceeded"}, errors.ContextWindowExceededError),
        (401, {}, errors.AuthenticationError),
        (404, {}, errors.NotFoundError),
        (429, {"code": "insufficient_quota"}, errors.RateLimitError),
        (500, {}, errors.InternalServerError),
        (503, {}, errors.OverloadedError),
        (200, {"code": "rate_limit_exceeded"}, errors.RateLimitError),
        (200, {}, errors.InternalServerError),
        (200, {"code": "bio_policy"}, errors.ContentPolicyError),
        (200, {"code": "invalid_prompt"}, errors.BadRequestError),
    ],
)
async def test_errors(
    server: FaultyServer,
    responses: Make,
    status: int,
    error: dict[str, Any],
    kind: type[errors.ProviderError],
) -> None:
    server.on("m", Reply("the reason", status=status, error=error))
    found = await failure(responses())
    assert type(found) is kind
    assert "the reason" in found.message
    assert found.request_id == "req-0"


async def test_an_error_event(server: FaultyServer, responses: Make) -> None:
    server.on("m", Reply(raw=(STREAMS / "error.sse").read_bytes()))
    assert type(await failure(responses())) is errors.RateLimitError
    server.on("m", Reply(raw=(STREAMS / "failed.sse").read_bytes()))
    assert type(await failure(responses())) is errors.InternalServerError


async def test_retry_after_is_on_the_error(server: FaultyServer, responses: Make) -> None:
    server.on("m", Reply(status=429, headers={"Retry-After": "2"}))
    assert (await failure(responses())).retry_after == 2.0


@pytest.mark.parametrize("cut_after", [0, 1, 2])
@pytest.mark.parametrize("chunked", [True, False])
async def test_a_stream_cut_short_is_no_success(
    server: FaultyServer, responses: Make, cut_after: int, chunked: bool
) -> None:
    server.on("m", Reply("Hello there.", cut_after=cut_after, chunked=chunked))
    found = await failure(responses())
    assert isinstance(found, errors.APIConnectionError | errors.APIResponseError)
    assert found.retryable


async def test_a_stream_without_its_last_event_is_no_success(
    server: FaultyServer, responses: Make
) -> None:
    server.on("m", Reply("Hello there.", done=False), Reply("Hello there.", finish_reason=None))
    for _ in range(2):
        assert "ended before the answer did" in (await failure(responses())).message


@pytest.mark.parametrize("hang", ["headers", "body", "end"])
async def test_cancelling_closes_the_socket(
    server: FaultyServer, responses: Make, hang: Any
) -> None:
    server.on("m", Reply("one two", hang=hang))
    tokens = 2 if hang == "end" else 0

    def reached() -> bool:
        return bool(server.requests) and server.requests[0].tokens_sent == tokens

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await anyio.to_thread.run_sync(server.wait_for, reached)
                scope.cancel()

            group.start_soon(cancel)
            await responses().complete(call())
    assert scope.cancelled_caught
    server.wait_for(lambda: server.open_connections == 0)
    server.wait_for(lambda: server.requests[0].aborted)


async def test_connections_are_used_again(server: FaultyServer, responses: Make) -> None:
    provider = responses()
    for stream in (True, False, True):
        await provider.complete(call(stream=stream))
    assert server.connections_made == 1


async def test_an_unknown_model(responses: Make) -> None:
    with FaultyServer() as empty:
        found = await failure(responses(base_url=empty.base_url))
    assert type(found) is errors.NotFoundError
