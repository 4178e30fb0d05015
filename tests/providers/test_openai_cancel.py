"""A cancelled call closes its socket before the cancellation goes on, and leaves nothing behind.

The blocking `wait_for` of the server stops this event loop, so whatever it waits for has been
done by the time the cancelled call is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from cascade.errors import APIConnectionError
from cascade.provider import Call
from cascade.providers.openai import OpenAIProvider
from cascade.testing.faulty_server import FaultyServer, Reply
from cascade.transport import Transport
from cascade.transports.httpx import HttpxTransport
from cascade.types import Request

pytestmark = pytest.mark.anyio

Make = Callable[..., OpenAIProvider]


def connections(transport: Any) -> int:
    """How many connections the pool holds, idle ones included; no client has a public way."""
    if isinstance(transport, HttpxTransport):
        pool = transport.client._transport._pool
        assert len(pool._requests) == len([c for c in pool.connections if not c.is_idle()])
        return len(pool.connections)
    connector: Any = transport.session.connector
    return len(connector._acquired) + sum(map(len, connector._conns.values()))


async def cancelled(provider: OpenAIProvider, server: FaultyServer, model: str, until: Any) -> None:
    """Call the model and cancel the call as soon as the server has come so far."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await anyio.to_thread.run_sync(server.wait_for, until)
                scope.cancel()

            group.start_soon(cancel)
            await provider.complete(Call(model, Request.of("hi")))
    assert scope.cancelled_caught


@pytest.mark.parametrize("hang", ["headers", "body", "end"])
async def test_cancelling_closes_the_socket(
    server: FaultyServer, openai: Make, transport: Transport, hang: Any
) -> None:
    server.on("hangs", Reply("one two", hang=hang))
    tokens = 2 if hang == "end" else 0

    def reached() -> bool:
        return bool(server.requests) and server.requests[0].tokens_sent == tokens

    await cancelled(openai(), server, "hangs", reached)
    server.wait_for(lambda: server.open_connections == 0)
    server.wait_for(lambda: server.requests[0].aborted)
    assert server.requests[0].finished is None
    assert connections(transport) == 0


async def test_cancelling_after_the_first_token(
    server: FaultyServer, openai: Make, transport: Transport
) -> None:
    server.on("slow", Reply(tokens=["a", "b"], hang="end"))
    seen: list[str] = []
    with anyio.CancelScope() as scope:

        def on_delta(text: str) -> None:
            seen.append(text)
            scope.cancel()

        await openai().complete(Call("slow", Request.of("hi"), on_delta))
    assert scope.cancelled_caught
    assert seen[0] == "a"
    server.wait_for(lambda: server.open_connections == 0)
    assert connections(transport) == 0


async def test_cancelling_while_an_error_body_is_read(
    server: FaultyServer, openai: Make, transport: Transport
) -> None:
    server.on("m", Reply(raw=b"{", status=500, hang="end"))
    await cancelled(openai(), server, "m",
                    lambda: server.requests and server.requests[0].tokens_sent)  # fmt: skip
    server.wait_for(lambda: server.open_connections == 0)
    assert connections(transport) == 0


async def test_cancelled_before_it_began(
    server: FaultyServer, openai: Make, transport: Transport
) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await openai().complete(Call("m", Request.of("hi")))
    assert scope.cancelled_caught
    assert connections(transport) == 0
    server.wait_for(lambda: server.open_connections == 0)


async def test_an_error_in_on_delta_closes_the_socket(
    server: FaultyServer, openai: Make, transport: Transport
) -> None:
    server.on("m", Reply("one two", hang="end"))

    def on_delta(_text: str) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await openai().complete(Call("m", Request.of("hi"), on_delta))
    server.wait_for(lambda: server.open_connections == 0)
    assert connections(transport) == 0


async def test_many_cancelled_calls_leave_the_pool_usable(
    server: FaultyServer, openai: Make, transport: Transport
) -> None:
    server.on("hangs", Reply("one two", hang="end"))
    provider = openai()

    async def lose(number: int) -> None:
        scope = anyio.CancelScope()
        deltas = 0

        def on_delta(_text: str) -> None:
            nonlocal deltas
            deltas += 1
            if deltas > number % 3:
                scope.cancel()

        with scope:
            if number % 3 == 2:  # cancelled while connecting or sending
                scope.deadline = anyio.current_time()
            await provider.complete(Call("hangs", Request.of("hi"), on_delta))
        assert scope.cancelled_caught

    async with anyio.create_task_group() as group:
        for number in range(150):
            group.start_soon(lose, number)
    server.wait_for(lambda: server.open_connections == 0)
    assert connections(transport) == 0
    for _ in range(3):
        assert (await provider.complete(Call("m", Request.of("hi")))).text == "Hello there."
    assert connections(transport) == 1


async def test_a_server_that_went_away_is_connected_to_again(
    server: FaultyServer, openai: Make
) -> None:
    server.on("last", Reply("bye", headers={"Connection": "close"}))
    provider = openai()
    for _ in range(2):
        await provider.complete(Call("last", Request.of("hi")))
    with FaultyServer(default=Reply("hi")) as short:
        provider = openai(base_url=short.base_url)
        await provider.complete(Call("m", Request.of("hi")))
    with pytest.raises(APIConnectionError):
        await provider.complete(Call("m", Request.of("hi")))
