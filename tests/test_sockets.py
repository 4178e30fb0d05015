"""Real sockets: whatever ends a call, every loser's connection is closed before it is over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from cascade import (
    Answer,
    Call,
    CascadeExhausted,
    DeadlineExceededError,
    Engine,
    Policy,
    Price,
    Request,
    Tier,
    cascade,
)
from cascade.providers.openai import OpenAIProvider
from cascade.testing import FaultyServer, Reply
from cascade.transports.httpx import HttpxTransport

pytestmark = pytest.mark.anyio

TOKENS = tuple("word " for _ in range(50))


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as server:
        server.on("quick", Reply("good"))
        server.on("bad", Reply("bad"))
        server.on("silent", Reply("good", hang="headers"))
        server.on("stalled", Reply("good", hang="body"))
        server.on("endless", Reply("", tokens=TOKENS, token_delay=0.02, hang="end"))
        yield server


def is_good(answer: Answer) -> bool:
    return answer.text == "good"


def tier(server: FaultyServer, model: str, **settings: Any) -> Tier:
    settings.setdefault("verify", is_good)
    return Tier(f"openai:{model}", base_url=server.base_url, **settings)


def race(server: FaultyServer, *models: str, **settings: Any) -> Policy:
    tiers = [tier(server, model, retries=0) for model in models]
    return Policy("race", tiers, start_after=0, **settings)


RUNS = {"asyncio": "httpx", "trio": "httpx", "asyncio-aiohttp": "aiohttp"}


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> str:
    """An event loop and an HTTP client that it can use."""
    name: str = request.param
    return name


@pytest.fixture
def anyio_backend(run: str) -> str:
    """The loop of the run."""
    return run.partition("-")[0]


@pytest.fixture
async def engine(anyio_backend: str, run: str) -> AsyncIterator[Engine]:
    """Over the client of the run."""
    async with Engine(http=RUNS[run]) as engine:
        yield engine


def open_sockets(engine: Engine) -> int:
    """Connections the engine's client still holds that are not idle; there is no public way."""
    transport: Any = engine.transport
    if isinstance(transport, HttpxTransport):
        pool = transport.client._transport._pool
        return sum(not connection.is_idle() for connection in pool.connections)
    return len(transport.session.connector._acquired)


LOSERS = ("silent", "stalled", "endless")


async def test_losers_are_closed_before_cascade_returns(
    server: FaultyServer, engine: Engine
) -> None:
    result = await engine.run(race(server, "endless", "stalled", "quick"), "hi")
    assert open_sockets(engine) == 0
    assert result.tier == "openai:quick"
    assert [a.outcome for a in result.attempts] == ["cancelled", "cancelled", "accepted"]
    # What the client closed the server sees as soon as it looks.
    server.wait_for(lambda: server.open_connections <= 1)
    server.wait_for(lambda: all(r.finished or r.aborted for r in server.requests))
    await engine.aclose()
    server.wait_for(lambda: server.open_connections == 0)


async def test_losers_are_closed_after_an_exception(server: FaultyServer, engine: Engine) -> None:
    policy = Policy(
        "race",
        [tier(server, "endless", timeout=0.3, retries=0), tier(server, "bad", retries=0)],
        start_after=0,
    )
    with pytest.raises(CascadeExhausted):
        await engine.run(policy, "hi")
    assert open_sockets(engine) == 0
    server.wait_for(lambda: server.open_connections <= 1)


async def test_losers_are_closed_after_a_deadline(server: FaultyServer, engine: Engine) -> None:
    with pytest.raises(DeadlineExceededError) as caught:
        await engine.run(race(server, *LOSERS, deadline=0.3), "hi")
    assert open_sockets(engine) == 0
    assert [a.outcome for a in caught.value.attempts] == ["cancelled"] * 3
    server.wait_for(lambda: server.open_connections == 0)


async def test_losers_are_closed_after_the_caller_is_cancelled(
    server: FaultyServer, engine: Engine
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run, race(server, *LOSERS), "hi")
        await anyio.to_thread.run_sync(
            server.wait_for,
            lambda: len(server.requests) == 3 and any(r.tokens_sent > 1 for r in server.requests),
        )
        tasks.cancel_scope.cancel()
    assert open_sockets(engine) == 0
    server.wait_for(lambda: server.open_connections == 0)


async def test_a_hundred_races_leave_nothing_behind(server: FaultyServer, engine: Engine) -> None:
    policy = race(server, "endless", "silent", "quick")
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(engine.run, policy, "hi")
    assert open_sockets(engine) == 0
    assert (await engine.run(policy, "hi")).accepted, "the pool is not exhausted"
    await engine.aclose()
    server.wait_for(lambda: server.open_connections == 0)
    assert server.count("quick") == 101


async def test_cascade_closes_its_engine_with_the_loop(server: FaultyServer) -> None:
    await cascade(Policy("p", [tier(server, "quick")]), "hi")
    assert server.connections_made == 1
    await cascade(Policy("p", [tier(server, "quick")]), "hi")
    assert server.connections_made == 1, "the connection is used again"


async def test_a_client_of_the_users_own_is_used_and_left_open(server: FaultyServer) -> None:
    import httpx2

    async with httpx2.AsyncClient() as client:
        async with Engine(http=client) as engine:
            assert (await engine.run(Policy("p", [tier(server, "quick")]), "hi")).text == "good"
        assert not client.is_closed


FAULTS: dict[str, tuple[Reply, str]] = {
    "wrong key": (Reply("no such key", status=401), "AuthenticationError"),
    "forbidden": (Reply("not you", status=403), "PermissionDeniedError"),
    "unknown model": (Reply("no such model", status=404), "NotFoundError"),
    "overloaded": (Reply("busy", status=503), "OverloadedError"),
    "limited": (Reply("slow down", status=429), "RateLimitError"),
    "empty answer": (Reply(""), "EmptyAnswerError"),
    "cut at max_tokens": (Reply("a b", finish_reason="length"), "TruncatedAnswerError"),
    "content filter": (Reply("a", finish_reason="content_filter"), "ContentPolicyError"),
    "malformed JSON": (Reply(raw=b'data: {"choices": [\n\n'), "APIResponseError"),
    "not an answer": (Reply(raw=b"<html>hello</html>", content_type="text/html"),
                      "APIResponseError"),
    "cut in the middle": (Reply("a b c d", cut_after=2), "API"),
}  # fmt: skip


@pytest.mark.parametrize(("reply", "kind"), FAULTS.values(), ids=FAULTS)
async def test_failures_say_what_happened_and_the_next_tier_answers(
    server: FaultyServer, reply: Reply, kind: str, engine: Engine
) -> None:
    server.on("faulty", reply)
    policy = Policy("p", [tier(server, "faulty", retries=0), tier(server, "quick")])
    result = await engine.run(policy, "hi")
    first = result.attempts[0]
    assert (first.outcome, result.text) == ("failed", "good")
    assert first.reason.startswith(kind)
    assert first.error is not None
    assert str(first.error).startswith("policy 'p', tier 'openai:faulty', attempt 1: ")


async def test_an_unreachable_server_is_named(engine: Engine) -> None:
    with FaultyServer() as gone:
        policy = Policy("p", [tier(gone, "quick", retries=0)])
    with pytest.raises(CascadeExhausted, match=r"APIConnectionError: .*127\.0\.0\.1:\d+"):
        await engine.run(policy, "hi")


async def test_a_provider_may_be_told_not_to_keep_connections(
    server: FaultyServer, engine: Engine
) -> None:
    wire = OpenAIProvider(engine, base_url=server.base_url, keep_alive=False)
    for _ in range(2):
        await wire.complete(Call("quick", Request.of("hi")))
    assert server.connections_made == 2


async def test_what_never_reached_a_server_cost_nothing(engine: Engine) -> None:
    with FaultyServer() as gone:
        url = gone.base_url
    price = Price(input=1.0, output=1.0)
    policy = Policy("p", [Tier("openai:m", base_url=url, price=price, retries=0)])
    with pytest.raises(CascadeExhausted) as caught:
        await engine.run(policy, "hi")
    assert caught.value.attempts[0].cost.high == 0.0
