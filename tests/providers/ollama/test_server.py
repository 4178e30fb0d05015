"""Over real sockets: answers, errors, cuts and cancellation, with each HTTP client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from cascade import errors
from cascade.provider import Call
from cascade.providers.ollama import OllamaProvider
from cascade.testing.faulty_server import FaultyServer, Reply
from cascade.types import Answer, Request, TokenLogprob, ToolCall, Usage

pytestmark = pytest.mark.anyio

Make = Callable[..., OllamaProvider]


def call(model: str = "m", **params: Any) -> Call:
    return Call(model, Request.of("one two").with_params(**params))


async def failure(provider: OllamaProvider, **params: Any) -> errors.ProviderError:
    with pytest.raises(errors.ProviderError) as caught:
        await provider.complete(call(**params))
    return caught.value


async def test_streams_by_default(server: FaultyServer, ollama: Make) -> None:
    pieces: list[str] = []
    answer = await ollama().complete(Call("m", Request.of("one two"), pieces.append))
    assert pieces == ["Hello", " there."]
    assert answer == Answer(text="Hello there.", finish_reason="stop", usage=Usage(2, 2), model="m")
    sent = server.requests[0]
    assert sent.path == "/api/chat"
    assert "authorization" not in sent.headers


async def test_does_not_stream_when_told(server: FaultyServer, ollama: Make) -> None:
    pieces: list[str] = []
    request = Request.of("one two").with_params(stream=False)
    answer = await ollama().complete(Call("m", request, pieces.append))
    assert (answer.text, answer.finish_reason, answer.usage) == (
        "Hello there.",
        "stop",
        Usage(2, 2),
    )
    assert pieces == []


@pytest.mark.parametrize("stream", [True, False])
async def test_tool_calls(server: FaultyServer, ollama: Make, stream: bool) -> None:
    calls = (ToolCall("add", '{"a":1,"b":2}', "id1"), ToolCall("now", "{}", "id2"))
    server.on("m", Reply(tool_calls=calls), Reply("Adding.", tool_calls=calls))
    provider = ollama()
    for text in ("", "Adding."):
        answer = await provider.complete(call(stream=stream))
        assert (answer.text, answer.tool_calls, answer.finish_reason) == (text, calls, "tool_calls")


@pytest.mark.parametrize("stream", [True, False])
async def test_logprobs(server: FaultyServer, ollama: Make, stream: bool) -> None:
    server.on("m", Reply("Yes .", logprobs=[-0.25, -1.5]))
    answer = await ollama().complete(call(stream=stream, logprobs=True))
    assert answer.logprobs == (TokenLogprob("Yes", -0.25), TokenLogprob(" .", -1.5))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("reason", ["stop", "length", None])
async def test_finish_reasons(
    server: FaultyServer, ollama: Make, reason: str | None, stream: bool
) -> None:
    server.on("m", Reply("half", finish_reason=reason))
    answer = await ollama().complete(call(stream=stream))
    assert (answer.text, answer.finish_reason) == ("half", reason)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, '"m" does not support tools', errors.BadRequestError),
        (400, "the input length exceeds the context length", errors.ContextWindowExceededError),
        (500, "model requires more system memory", errors.InternalServerError),
        (503, "server busy, please try again", errors.OverloadedError),
        (200, "an error was encountered while running the model", errors.APIResponseError),
    ],
)
async def test_errors(
    server: FaultyServer,
    ollama: Make,
    status: int,
    message: str,
    kind: type[errors.ProviderError],
) -> None:
    server.on("m", Reply(message, status=status, error={}))
    found = await failure(ollama())
    assert type(found) is kind
    assert message in found.message


@pytest.mark.parametrize(
    "message",
    ["model 'llama3.2:1b' not found", 'model "llama3.2:1b" not found, try pulling it first'],
)
async def test_a_model_that_is_not_there(server: FaultyServer, ollama: Make, message: str) -> None:
    server.on("m", Reply(message, status=404))
    found = await failure(ollama())
    assert type(found) is errors.NotFoundError
    assert f"{message}; run: ollama pull llama3.2:1b" in found.message


async def test_another_404_says_nothing_of_models(server: FaultyServer, ollama: Make) -> None:
    server.on("m", Reply(raw=b"404 page not found", status=404))
    found = await failure(ollama())
    assert type(found) is errors.NotFoundError
    assert "404 page not found" in found.message
    assert "pull" not in found.message


@pytest.mark.parametrize("cut_after", [0, 1, 2])
@pytest.mark.parametrize("chunked", [True, False])
async def test_a_stream_cut_short_is_no_success(
    server: FaultyServer, ollama: Make, cut_after: int, chunked: bool
) -> None:
    server.on("m", Reply("Hello there.", cut_after=cut_after, chunked=chunked))
    found = await failure(ollama())
    assert isinstance(found, errors.APIConnectionError | errors.APIResponseError)
    assert found.retryable


async def test_a_stream_without_its_last_line_is_no_success(
    server: FaultyServer, ollama: Make
) -> None:
    server.on("m", Reply("Hello there.", done=False))
    assert "ended before the answer did" in (await failure(ollama())).message


@pytest.mark.parametrize("hang", ["headers", "body", "end"])
async def test_cancelling_closes_the_socket(server: FaultyServer, ollama: Make, hang: Any) -> None:
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
            await ollama().complete(call())
    assert scope.cancelled_caught
    server.wait_for(lambda: server.open_connections == 0)
    server.wait_for(lambda: server.requests[0].aborted)


async def test_connections_are_used_again(server: FaultyServer, ollama: Make) -> None:
    provider = ollama()
    for stream in (True, False, True):
        await provider.complete(call(stream=stream))
    assert server.connections_made == 1
