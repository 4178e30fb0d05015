"""Real sockets: a stream that is left leaves nothing behind, and a hopeless answer goes first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from cascade import (
    Answer,
    CascadeExhausted,
    Engine,
    EventStream,
    Finished,
    Policy,
    Request,
    StreamEvent,
    TextReleased,
    TextRetracted,
    Tier,
    TierRejected,
    Verdict,
)
from cascade.testing import FaultyServer, Reply
from cascade.transports.httpx import HttpxTransport

pytestmark = pytest.mark.anyio

TOKENS = tuple("word " for _ in range(200))


class Braces:
    """Accepts what has braces around it."""

    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        whole = answer.text.startswith("{") and answer.text.endswith("}")
        return Verdict.accept() if whole else Verdict.reject("no braces")

    def prefix(self, text: str) -> Verdict | None:
        return None if text.startswith("{") else Verdict.reject("no brace")


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as server:
        server.on("endless", Reply(tokens=TOKENS, token_delay=0.02, hang="end"))
        server.on("wrong", Reply("wrong"))
        server.on("silent", Reply(hang="headers"))
        server.on("chatty", Reply(tokens=TOKENS * 20, hang="end"))
        server.on("object", Reply('{"a": 1}'))
        server.on("cut", Reply(tokens=TOKENS, token_delay=0.001, cut_after=50))
        server.on("half", Reply(tokens=("{", *TOKENS), token_delay=0.001))
        yield server


def tier(server: FaultyServer, model: str, **settings: Any) -> Tier:
    return Tier(f"openai:{model}", name=model, base_url=server.base_url, **settings)


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


async def first_text(events: EventStream) -> None:
    async for event in events:
        if isinstance(event, TextReleased):
            return
        assert not isinstance(event, Finished)


@pytest.mark.parametrize("how", ["break", "exception", "cancellation"])
async def test_leaving_early_closes_every_socket(
    server: FaultyServer, engine: Engine, how: str
) -> None:
    tiers = [tier(server, "wrong", verify=Braces()), tier(server, "endless")]
    policy = Policy("p", tiers, start_after=0)
    with anyio.CancelScope() as scope, suppress(ZeroDivisionError):
        async with engine.stream(policy, "hi") as events:
            await first_text(events)
            if how == "exception":
                raise ZeroDivisionError
            if how == "cancellation":
                scope.cancel()
                await first_text(events)
    assert scope.cancelled_caught == (how == "cancellation")
    assert open_sockets(engine) == 0
    server.wait_for(lambda: server.ledger.aborts == 1)
    ledger = server.ledger
    assert (ledger.starts, ledger.finishes, ledger.running) == (2, 1, 0)
    assert 1 < ledger.tokens < len(TOKENS)


async def test_a_block_that_reads_nothing_leaves_nothing(
    server: FaultyServer, engine: Engine
) -> None:
    policy = Policy("p", [tier(server, name) for name in ("silent", "endless")], start_after=0)
    async with engine.stream(policy, "hi"):
        await anyio.to_thread.run_sync(server.wait_for, lambda: server.ledger.starts == 2)
    assert open_sockets(engine) == 0
    server.wait_for(lambda: server.ledger.aborts == 2)


async def test_a_hopeless_answer_is_closed_before_the_next_tier_asks(
    server: FaultyServer, engine: Engine
) -> None:
    tiers = [tier(server, name, verify=Braces()) for name in ("chatty", "object")]
    async with engine.stream(Policy("p", tiers), "hi", release="verified-prefix") as events:
        seen = [event async for event in events]
    assert seen[1] == TierRejected("chatty", "no brace")
    assert seen[3] == TextReleased("object", '{"a": 1}')
    chatty, quick = server.requests
    assert chatty.aborted is not None
    assert chatty.aborted <= quick.started


async def test_what_was_shown_of_a_rejected_answer_is_retracted(
    server: FaultyServer, engine: Engine
) -> None:
    tiers = [tier(server, name, verify=Braces()) for name in ("half", "object")]
    async with engine.stream(Policy("p", tiers), "hi", release="verified-prefix") as events:
        seen = [event async for event in events]
    half = "{" + "".join(TOKENS)
    early = [e.text for e in seen if isinstance(e, TextReleased) and e.tier == "half"]
    assert "".join(early) != ""
    assert half.startswith("".join(early))
    assert TextRetracted("half", "no braces") in seen


async def test_an_answer_cut_off_in_the_middle_is_an_error(
    server: FaultyServer, engine: Engine
) -> None:
    seen: list[StreamEvent] = []

    async def read() -> None:
        async with engine.stream(Policy("p", [tier(server, "cut")]), "hi") as events:
            async for event in events:
                seen.append(event)

    with pytest.raises(CascadeExhausted, match="cut failed") as caught:
        await read()
    assert "".join(e.text for e in seen if isinstance(e, TextReleased)) == "word " * 50
    assert type(seen[-1]) is TierRejected
    assert len(caught.value.attempts) == 1
    assert open_sockets(engine) == 0
