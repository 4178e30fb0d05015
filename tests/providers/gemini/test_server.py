"""The whole way to a server that speaks the Gemini API, and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from cascade import errors
from cascade.errors import ConfigError, MissingAPIKeyError, UnknownModelError
from cascade.provider import Call, find_provider
from cascade.providers.gemini import GeminiProvider
from cascade.testing.faulty_server import FaultyServer, Reply
from cascade.types import Answer, Request, TokenLogprob, ToolCall, Usage

pytestmark = pytest.mark.anyio

Make = Callable[..., GeminiProvider]
STREAMS = Path(__file__).parent / "streams"
KEY = "hunter2-hunter2"


def call(model: str = "m", prompt: Any = "hi", **params: Any) -> Call:
    return Call(model, Request.of(prompt).with_params(**params))


async def failure(provider: GeminiProvider, **params: Any) -> errors.ProviderError:
    with pytest.raises(errors.ProviderError) as caught:
        await provider.complete(call(**params))
    return caught.value


async def test_streams_by_default(server: FaultyServer, gemini: Make) -> None:
    pieces: list[str] = []
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "one two"}]
    answer = await gemini().complete(Call("m", Request.of(messages), pieces.append))
    assert pieces == ["Hello", " there."]
    assert answer == Answer("Hello there.", (), "stop", Usage(4, 2), model="m", request_id="req-0")
    sent = server.requests[0]
    assert sent.path == "/models/m:streamGenerateContent?alt=sse"
    assert "x-goog-api-key" not in sent.headers
    assert sent.body == {
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "contents": [{"role": "user", "parts": [{"text": "one two"}]}],
    }


async def test_does_not_stream_when_told(server: FaultyServer, gemini: Make) -> None:
    pieces: list[str] = []
    request = Request.of("hi").with_params(stream=False)
    answer = await gemini().complete(Call("m", request, pieces.append))
    assert (answer.text, answer.finish_reason, answer.usage) == (
        "Hello there.",
        "stop",
        Usage(1, 2),
    )
    assert pieces == []
    assert server.requests[0].path == "/models/m:generateContent"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-3-flash", "/models/gemini-3-flash:generateContent"),
        ("models/gemini-3-flash", "/models/gemini-3-flash:generateContent"),
        ("tunedModels/mine", "/tunedModels/mine:generateContent"),
    ],
)
async def test_the_model_is_in_the_address(
    server: FaultyServer, gemini: Make, model: str, path: str
) -> None:
    await gemini(base_url=f"{server.url}/v1beta?x=1").complete(call(model, stream=False))
    assert server.requests[0].path == f"/v1beta{path}?x=1"
    assert server.requests[0].model == model.rpartition("/")[2]


@pytest.mark.parametrize("stream", [True, False])
async def test_calls_counts_and_logprobs(server: FaultyServer, gemini: Make, stream: bool) -> None:
    calls = (ToolCall("add", '{"a": 1, "b": 2}', "id1"), ToolCall("now", "{}", "id2"))
    usage = Usage(100, 20, cached_input_tokens=64, reasoning_tokens=18)
    server.on("m", Reply("Yes .", tool_calls=calls, usage=usage, logprobs=[-0.25, -1.5]))
    answer = await gemini().complete(call(stream=stream, logprobs=True))
    assert answer.text == "Yes ."
    assert answer.usage == usage
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == calls
    assert answer.logprobs == (TokenLogprob("Yes", -0.25), TokenLogprob(" .", -1.5))


@pytest.mark.parametrize("name", ["text.sse", "thinking.sse", "tool_calls.sse", "whole.json"])
async def test_recorded_bodies(server: FaultyServer, gemini: Make, name: str) -> None:
    raw = (STREAMS / name).read_bytes()
    server.on("m", Reply(raw=[raw[i : i + 7] for i in range(0, len(raw), 7)]))
    answer = await gemini().complete(call())
    assert answer.text
    assert answer.finish_reason in ("stop", "tool_calls")


@pytest.mark.parametrize("stream", [True, False])
async def test_half_an_answer_is_the_engines_to_judge(
    server: FaultyServer, gemini: Make, stream: bool
) -> None:
    server.on("m", Reply("half", finish_reason="length"), Reply("", finish_reason="RECITATION"))
    provider = gemini()
    assert (await provider.complete(call(stream=stream))).finish_reason == "length"
    assert (await provider.complete(call(stream=stream))).finish_reason == "content_filter"


@pytest.mark.parametrize("cut_after", [0, 1, 2])
async def test_a_stream_cut_short_is_no_success(
    server: FaultyServer, gemini: Make, cut_after: int
) -> None:
    server.on("end", Reply("Hello there.", cut_after=cut_after, chunked=False))
    server.on("break", Reply("Hello there.", cut_after=cut_after))
    ended = await failure(gemini(), model="end")
    broken = await failure(gemini(), model="break")
    assert type(ended) is errors.APIResponseError
    assert type(broken) is errors.APIConnectionError
    assert ended.retryable
    assert broken.retryable
    server.on("silent", Reply("Hello", finish_reason=None))
    assert "ended before" in (await failure(gemini(), model="silent")).message


async def test_cancelling_closes_the_socket(server: FaultyServer, gemini: Make) -> None:
    server.on("slow", Reply("one two", hang="end"))
    with anyio.CancelScope() as scope:
        await gemini().complete(Call("slow", Request.of("hi"), lambda _text: scope.cancel()))
    assert scope.cancelled_caught
    server.wait_for(lambda: server.open_connections == 0)
    server.wait_for(lambda: server.ledger.aborts == 1)
    assert server.requests[0].aborted is not None
    assert server.ledger.finishes == 0


@pytest.mark.parametrize(
    ("status", "said", "kind", "retryable"),
    [
        (400, "Invalid value at 'contents'", errors.BadRequestError, False),
        (400, "The input token count (1200000) exceeds the maximum number of tokens allowed "
         "(1048576).", errors.ContextWindowExceededError, False),
        (401, "Request had invalid authentication credentials", errors.AuthenticationError, False),
        (403, "Your project has been denied access", errors.PermissionDeniedError, False),
        (404, "models/x is not found for API version v1beta", errors.NotFoundError, False),
        (429, "Resource has been exhausted (e.g. check quota).", errors.RateLimitError, True),
        (500, "An internal error has occurred.", errors.InternalServerError, True),
        (503, "The model is overloaded.", errors.OverloadedError, True),
        (504, "Deadline expired before operation could complete.",
         errors.InternalServerError, True),
    ],
)  # fmt: skip
async def test_errors(
    server: FaultyServer,
    gemini: Make,
    status: int,
    said: str,
    kind: type[errors.APIStatusError],
    retryable: bool,
) -> None:
    server.on("m", Reply(said, status=status))
    found = await failure(gemini())
    assert type(found) is kind
    assert (found.status, found.retryable, found.retry_after) == (status, retryable, None)
    assert f" answered {status}: {said}" in found.message


async def test_the_time_to_wait_is_in_the_body(server: FaultyServer, gemini: Make) -> None:
    raw = (STREAMS / "quota.json").read_bytes()
    server.on("m", Reply(raw=raw, status=429), Reply(raw=raw, status=429,
                                                     headers={"Retry-After": "2"}))  # fmt: skip
    found = await failure(gemini())
    assert type(found) is errors.RateLimitError
    assert found.retryable
    assert found.retry_after == 34.074824224
    assert (await failure(gemini())).retry_after == 2.0


async def test_a_quota_by_the_day_is_not_waited_for(server: FaultyServer, gemini: Make) -> None:
    raw = (STREAMS / "quota.json").read_bytes().replace(b"PerMinute", b"PerDay")
    server.on("m", Reply(raw=raw, status=429))
    found = await failure(gemini())
    assert type(found) is errors.RateLimitError
    assert not found.retryable


@pytest.mark.parametrize("delay", ["soon", "-1s", "1e9s", "nans", "99999999s", "34", 34, None, {}])
async def test_absurd_times_are_left_out(server: FaultyServer, gemini: Make, delay: Any) -> None:
    details = [{"retryDelay": delay, "violations": 7}, "x", {"violations": ["x", {"quotaId": []}]}]
    raw = json.dumps({"error": {"code": 429, "message": "no", "details": details}}).encode()
    server.on("m", Reply(raw=raw, status=429))
    assert (await failure(gemini())).retry_after is None


async def test_a_wrong_key_is_told_by_its_reason(server: FaultyServer, gemini: Make) -> None:
    server.on("m", Reply(raw=(STREAMS / "bad_key.json").read_bytes(), status=400))
    found = await failure(gemini())
    assert type(found) is errors.AuthenticationError
    assert "API key not valid" in found.message


@pytest.mark.parametrize("stream", [True, False])
async def test_errors_with_status_200(server: FaultyServer, gemini: Make, stream: bool) -> None:
    server.on("m", Reply("the reason", error={"code": 429, "status": "RESOURCE_EXHAUSTED"}))
    found = await failure(gemini(), stream=stream)
    assert type(found) is errors.RateLimitError
    assert "the reason" in found.message


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("unavailable.sse", errors.OverloadedError, "The model is overloaded"),
        ("malformed_call.sse", errors.APIResponseError, "MALFORMED_FUNCTION_CALL"),
    ],
)
async def test_recorded_failures(
    server: FaultyServer, gemini: Make, name: str, kind: type[errors.ProviderError], said: str
) -> None:
    server.on("m", Reply(raw=(STREAMS / name).read_bytes()))
    found = await failure(gemini())
    assert type(found) is kind
    assert said in found.message
    assert found.retryable


@pytest.mark.parametrize("raw", [b"data: nonsense\n\n", b"{"])
async def test_what_is_no_answer(server: FaultyServer, gemini: Make, raw: bytes) -> None:
    server.on("m", Reply(raw=raw))
    found = await failure(gemini())
    assert type(found) is errors.APIResponseError
    assert "no Gemini response" in found.message


@pytest.mark.parametrize("status", [401, 200])
async def test_no_error_shows_the_key(server: FaultyServer, gemini: Make, status: int) -> None:
    server.on("m", Reply(f"bad key {KEY}", status=status, error={"code": 401}))
    provider = gemini(api_key=KEY)
    found = await failure(provider)
    assert server.requests[0].headers["x-goog-api-key"] == KEY
    assert KEY not in server.requests[0].path
    assert "bad key [redacted]" in found.message
    for shown in (str(found), repr(vars(found)), repr(provider), repr(server.requests)):
        assert KEY not in shown


async def test_the_key_goes_only_where_it_belongs(
    server: FaultyServer, gemini: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    await gemini().complete(call())
    assert "x-goog-api-key" not in server.requests[-1].headers
    monkeypatch.setenv("GEMINI_BASE_URL", server.url)
    await gemini(base_url=None).complete(call())
    assert server.requests[-1].headers["x-goog-api-key"] == KEY


@pytest.mark.parametrize("run", ["asyncio"])
async def test_what_is_refused_at_load(gemini: Make) -> None:
    gemini().check("gemini-3-flash", {"temperature": 0, "seed": 5, "logprobs": True})
    with pytest.raises(ConfigError, match=r"'user': the Gemini API has none \(model 'm'\)"):
        gemini().check("m", {"user": "eve"})
    with pytest.raises(MissingAPIKeyError, match="GEMINI_API_KEY is not set"):
        gemini(base_url=None).check("m", {})
    for model in ("../x", "a/b", "models/", "x:y", "a?b", ""):
        with pytest.raises(UnknownModelError):
            gemini().check(model, {})
    for end in ("/models", "/openai"):
        with pytest.raises(ConfigError, match=f"base_url ends in {end}: leave that off"):
            gemini(base_url=f"https://proxy.example/v1beta{end}")
    assert find_provider("gemini") is GeminiProvider
