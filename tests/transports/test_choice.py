"""Which client an engine sends its calls with, and who closes it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import aiohttp
import httpx2
import pytest

from cascade import ConfigError, Engine, MissingExtraError, Policy, Tier
from cascade.testing.faulty_server import FaultyServer
from cascade.transport import Response, Route, Transport, make_transport, max_connections
from cascade.transports.aiohttp import AiohttpTransport
from cascade.transports.httpx import HttpxTransport

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Here the client is what is tested."""
    backend: str = request.param
    return backend


def policy(server: FaultyServer) -> Policy:
    return Policy("p", [Tier("openai:m", base_url=server.base_url)])


async def test_auto_is_aiohttp_on_asyncio_and_httpx2_elsewhere(anyio_backend: str) -> None:
    expected = AiohttpTransport if anyio_backend == "asyncio" else HttpxTransport
    async with Engine() as engine:
        assert type(engine.transport) is expected
        assert engine.transport is engine.transport


async def test_auto_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for found in ("3.13.9", "4.0.0"):
        monkeypatch.setattr("importlib.metadata.version", lambda _name, found=found: found)
        async with Engine() as engine:
            assert type(engine.transport) is HttpxTransport


async def test_auto_with_a_socks_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    # httpx2 needs an extra of its own for SOCKS, and says so; here the choice is what counts.
    monkeypatch.setattr("cascade.transports.httpx.make_client", httpx2.AsyncClient)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setattr("httpx2.AsyncClient.__init__", lambda *_a, **_k: None)
    assert type(make_transport("auto")) is HttpxTransport


async def test_aiohttp_not_installed(monkeypatch: pytest.MonkeyPatch, anyio_backend: str) -> None:
    monkeypatch.setitem(sys.modules, "cascade.transports.aiohttp", None)
    engine = Engine(http="aiohttp")
    if anyio_backend == "trio":
        with pytest.raises(ConfigError, match="needs asyncio, and this is trio: use 'httpx'"):
            _ = engine.transport
        return
    with pytest.raises(MissingExtraError, match=r"pip install 'cascade-engine\[fast\]'"):
        _ = engine.transport


@pytest.mark.parametrize(
    ("client", "message"),
    [("aiohtp", "did you mean 'aiohttp'"), (None, "got NoneType"), (object(), "got object")],
)
async def test_what_is_no_client_is_refused_at_once(client: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Engine(http=client)


async def test_an_engine_may_be_bound_before_there_is_a_loop(server: FaultyServer) -> None:
    import anyio

    engine = Engine(http="aiohttp")
    made = policy(server)

    async def ask() -> str:
        async with engine:
            return (await engine.run(made, "hi")).text

    def without_a_loop() -> str:
        engine.bind(made)
        return anyio.run(ask)

    assert await anyio.to_thread.run_sync(without_a_loop) == "Hello there."


class Client(httpx2.AsyncClient):
    """A class of the user's own."""


async def test_a_client_of_the_users_own_is_used_and_left_open(
    server: FaultyServer, anyio_backend: str
) -> None:
    used = 0

    async def count(_request: object) -> None:
        nonlocal used
        used += 1

    async with Client(event_hooks={"request": [count]}) as client:
        async with Engine(http=client) as engine:
            assert (await engine.run(policy(server), "hi")).text == "Hello there."
            assert engine.http is client
        assert not client.is_closed
    assert used == 1
    if anyio_backend == "asyncio":
        async with aiohttp.ClientSession(headers={"X-Mine": "yes"}) as session:
            async with Engine(http=session) as engine:
                assert (await engine.run(policy(server), "hi")).text == "Hello there."
            assert not session.closed
        assert server.requests[-1].headers["x-mine"] == "yes"


class Canned:
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        self.closed = False
        self.sent: list[bytes] = []

    def route(self, url: str, headers: Mapping[str, str], /) -> Route:
        async def post(content: bytes) -> Response:
            self.sent.append(content)
            return CannedResponse()

        return post

    async def aclose(self) -> None:
        self.closed = True


class CannedResponse:
    status = 200

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self._pieces = [b'{"choices": [{"message": {"content": "canned"}}]}']

    async def read(self) -> bytes:
        return self._pieces.pop() if self._pieces else b""

    async def aclose(self) -> None:
        pass


async def test_a_transport_of_the_users_own(server: FaultyServer) -> None:
    canned = Canned()
    assert isinstance(canned, Transport)
    async with Engine(http=canned) as engine:
        assert (await engine.run(policy(server), "hi")).text == "canned"
        assert engine.transport is canned
        other = engine.http
        assert isinstance(other, httpx2.AsyncClient), "for providers that speak httpx"
    assert (len(canned.sent), canned.closed, other.is_closed) == (1, False, True)


@pytest.mark.parametrize("client", ["httpx", "aiohttp"])
def test_a_client_is_imported_when_it_is_used(client: str) -> None:
    code = (
        "import anyio, json, sys\n"
        "from cascade import Engine\n"
        "async def main():\n"
        f"    async with Engine(http={client!r}) as engine: engine.transport\n"
        "anyio.run(main)\n"
        "print(json.dumps([*sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(json.loads(done.stdout))
    assert loaded & {"httpx2", "aiohttp"} == {"httpx2" if client == "httpx" else "aiohttp"}


def test_a_pool_is_as_large_as_the_process_may_have_files(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    for files, connections in ((1024, 896), (200, 100), (10**6, 10_000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _which, files=files: (files, files))
        assert max_connections() == connections
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (resource.RLIM_INFINITY,) * 2)
    assert max_connections() == 10_000
