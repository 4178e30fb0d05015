"""What only a transport can get wrong: sockets, tasks and bytes, the same with every client."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from cascade.errors import APIConnectionError
from cascade.testing.faulty_server import FaultyServer, Reply
from cascade.transport import Response, Route, Transport

pytestmark = pytest.mark.anyio

LARGE = 8_000_000  # bytes: more than the buffers of a socket hold


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """A port that connections are made to and nobody reads from."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener


async def test_what_was_not_sent_yet_does_not_keep_a_cancelled_call_open(
    transport: Transport, deaf: socket.socket
) -> None:
    post = transport.route(f"http://127.0.0.1:{deaf.getsockname()[1]}/", {})
    with anyio.move_on_after(0.1) as scope:
        await post(b"x" * LARGE)
    assert scope.cancelled_caught
    accepted, _ = deaf.accept()
    accepted.settimeout(5)
    read = 0
    with accepted, suppress(ConnectionResetError):
        while piece := accepted.recv(1_000_000):  # blocks the loop: it is closed already
            read += len(piece)
    assert 0 < read < LARGE


async def test_a_handshake_that_is_cancelled_is_closed(
    transport: Transport, deaf: socket.socket
) -> None:
    post = transport.route(f"https://127.0.0.1:{deaf.getsockname()[1]}/", {})
    with anyio.move_on_after(0.1) as scope:
        await post(b"x")
    assert scope.cancelled_caught
    accepted, _ = deaf.accept()
    accepted.settimeout(5)
    with accepted:
        assert accepted.recv(1_000_000), "it began"
        assert accepted.recv(1_000_000) == b""


async def test_a_large_body_arrives(transport: Transport, server: FaultyServer) -> None:
    prompt = "word " * 600_000
    post = transport.route(f"{server.base_url}/chat/completions", {"Content-Type": "x/y"})
    response = await post(b'{"model": "m", "prompt": "%s"}' % prompt.encode())
    assert response.status == 200
    while await response.read():
        pass
    await response.aclose()
    assert server.requests[0].body["prompt"] == prompt
    assert server.requests[0].headers["content-length"] == str(len(prompt) + 28)


async def test_a_content_length_that_is_too_long(
    transport: Transport, server: FaultyServer
) -> None:
    server.on("m", Reply(wire=b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\nhello"))
    response = await transport.route(f"{server.base_url}/chat/completions", {})(b'{"model":"m"}')
    assert await response.read() == b"hello"
    with pytest.raises(APIConnectionError, match=" broke: "):
        await response.read()
    await response.aclose()
    server.wait_for(lambda: server.open_connections == 0)


async def test_a_content_length_that_is_too_short(
    transport: Transport, server: FaultyServer
) -> None:
    server.on("m", Reply(wire=b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello"))
    # What follows the body is no HTTP; whether that shows depends on when it arrives.
    with suppress(APIConnectionError):
        post = transport.route(f"{server.base_url}/chat/completions", {})
        response = await post(b'{"model":"m"}')
        assert await response.read() == b"hell"
        assert await response.read() == b""
        await response.aclose()
    server.wait_for(lambda: server.open_connections == 0)
    server.on("m", Reply("hi"))
    response = await transport.route(f"{server.base_url}/chat/completions", {})(b'{"model":"m"}')
    assert response.status == 200, "and nobody else is given the rest"
    await response.aclose()


async def ask(post: Route) -> Response:
    """A response, read to its end."""
    response = await post(b'{"model":"m"}')
    while await response.read():
        pass
    await response.aclose()
    return response


async def test_connections_closed_by_the_server_are_not_used(
    transport: Transport, server: FaultyServer
) -> None:
    # The loop is blocked while the server closes, so that it cannot have noticed.
    server.on("m", Reply("hi"))
    post = transport.route(f"{server.base_url}/chat/completions", {})
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask, post)
    loop: Any = server._loop
    for connection in list(server._connections):
        loop.call_soon_threadsafe(connection.close)
    server.wait_for(lambda: server.open_connections == 0)
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()  # now the sockets are too
    await ask(post)
    assert server.connections_made == 4


async def test_no_task_outlives_a_cancelled_call(
    transport: Transport, server: FaultyServer, anyio_backend: str
) -> None:
    if anyio_backend == "trio":
        return  # which has no tasks outside of nurseries
    server.on("m", Reply("hi", hang="headers"))
    for url in (f"{server.base_url}/chat/completions", "http://nowhere.invalid/"):
        before = asyncio.all_tasks()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(ask, transport.route(url, {}))
                await anyio.lowlevel.checkpoint()
                await anyio.lowlevel.checkpoint()
                scope.cancel()
        assert asyncio.all_tasks() == before
    gc.collect()  # what was forgotten would warn, and warnings are errors


async def test_headers_have_no_case_and_cookies_are_not_kept(
    transport: Transport, server: FaultyServer
) -> None:
    headers = {"X-Thing": "r1", "Set-Cookie": "a=b; Path=/"}
    server.on("m", Reply("hi", headers=headers))
    post = transport.route(f"{server.base_url}/chat/completions", {"X-Own": "1"})
    for _ in range(2):
        response = await ask(post)
        assert response.headers.get("x-thing") == "r1"
        assert response.headers.get("x-absent") is None
    assert server.requests[1].headers["x-own"] == "1"
    assert "cookie" not in server.requests[1].headers
