"""Proxies and certificates from the environment, whichever client carries the call."""

from __future__ import annotations

import socket
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from cascade.errors import APIConnectionError, APITimeoutError, ConfigError
from cascade.provider import Call
from cascade.providers.http import TIMEOUT
from cascade.providers.openai import OpenAIProvider
from cascade.testing.faulty_server import FaultyServer, Reply
from cascade.transport import make_transport
from cascade.types import Request
from tests.providers.conftest import RUNS, Context
from tests.transports.relay import AUTHORITY, Relay

pytestmark = pytest.mark.anyio

ELSEWHERE = "models.example"  # resolves nowhere: only a proxy gets there


def port_of(server: FaultyServer) -> int:
    port = urlsplit(server.base_url).port
    assert port is not None
    return port


async def ask(run: str, base_url: str) -> str:
    """What a provider answers that was made in this environment."""
    async with aclosing(make_transport(RUNS[run])) as transport:
        provider = OpenAIProvider(Context(transport), base_url=base_url, api_key="sk-of-the-model")
        return (await provider.complete(Call("m", Request.of("hi")))).text


async def refused(run: str, base_url: str) -> APIConnectionError:
    with pytest.raises(APIConnectionError) as caught:
        await ask(run, base_url)
    return caught.value


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "http_proxy"])
async def test_plain_calls_go_through_a_proxy(
    run: str, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    # The server stands in for the proxy: it answers whatever address it is asked for.
    monkeypatch.delenv("REQUEST_METHOD", raising=False)
    monkeypatch.setenv(variable, f"http://me:pass%20word@127.0.0.1:{port_of(server)}")
    assert await ask(run, f"http://{ELSEWHERE}/v1") == "Hello there."
    asked = server.requests[0]
    assert asked.path == f"http://{ELSEWHERE}/v1/chat/completions"
    assert asked.headers["host"] == ELSEWHERE
    assert asked.headers["authorization"] == "Bearer sk-of-the-model"
    assert asked.headers["proxy-authorization"] == "Basic bWU6cGFzcyB3b3Jk"


async def test_tls_calls_go_through_a_tunnel(
    run: str, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    with (
        Relay(port_of(server), tls=True) as secure,
        Relay(secure.port, tunnels=True) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pass@127.0.0.1:{proxy.port}")
        assert await ask(run, f"https://{ELSEWHERE}/v1") == "Hello there."
        head = proxy.asked[0].lower()
    assert head.startswith(f"connect {ELSEWHERE}:443 http/1.1")
    assert "proxy-authorization: basic bwu6cgfzcw==" in head
    assert "sk-of-the-model" not in head
    assert "proxy-authorization" not in server.requests[0].headers


async def test_a_proxy_that_refuses(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Relay(tunnels=True, refuse="407 Proxy Authentication Required") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:hunter2@127.0.0.1:{proxy.port}")
        error = await refused(run, f"https://{ELSEWHERE}/v1")
    message = f"cannot connect to {ELSEWHERE}:443: 407 Proxy Authentication Required"
    assert error.message == message
    assert not error.sent


@pytest.mark.parametrize("excepted", [ELSEWHERE, ".example", "*", "other, models.example"])
async def test_no_proxy_is_heeded(
    run: str, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, excepted: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port_of(server)}")
    monkeypatch.setenv("NO_PROXY", excepted)
    error = await refused(run, f"http://{ELSEWHERE}/v1")
    assert error.message.startswith(f"cannot connect to {ELSEWHERE}:80: ")
    assert server.requests == ()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_proxy_is_not_asked_for_loopback(
    run: str, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert await ask(run, f"http://{host}:{port_of(server)}/v1") == "Hello there."


async def test_an_unknown_certificate_is_refused_and_a_known_one_is_not(
    run: str, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Relay(port_of(server), tls=True) as secure:
        url = f"https://localhost:{secure.port}/v1"
        error = await refused(run, url)
        assert error.message.startswith(f"cannot connect to localhost:{secure.port}: ")
        assert "certificate" in error.message
        assert not error.sent
        monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
        assert await ask(run, url) == "Hello there."
        with Relay(secure.port, tunnels=True) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            wrong = await refused(run, "https://other.example/v1")
        assert "'other.example'" in wrong.message, "the name is checked too"


async def test_tls_spoken_to_a_server_without_it(run: str) -> None:
    with Relay(greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n") as plain:
        error = await refused(run, f"https://127.0.0.1:{plain.port}/v1")
        assert error.message.startswith(f"cannot connect to 127.0.0.1:{plain.port}: ")
    assert not error.sent


async def test_a_tls_handshake_that_hangs(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TIMEOUT, "connect", 0.2)
    monkeypatch.setattr("cascade.transports.aiohttp.CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        error = await refused(run, f"https://127.0.0.1:{port}/v1")
        accepted, _ = mute.accept()
        accepted.settimeout(5)
        with accepted:
            while accepted.recv(65536):  # until its end: it is closed
                pass
    assert type(error) is APITimeoutError
    assert error.message == f"timed out connecting to 127.0.0.1:{port}"
    assert not error.sent


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_aiohttp_has_no_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:hunter2@127.0.0.1:9")
    async with aclosing(make_transport("aiohttp")) as transport:
        with pytest.raises(ConfigError, match=r"socks5.*use 'httpx'") as caught:
            transport.route(f"http://{ELSEWHERE}/", {})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("hang", ["headers", "body", "end"])
async def test_cancelling_closes_a_socket_with_tls(
    run: str, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, hang: Any
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    server.on("m", Reply("one two", hang=hang))

    def reached() -> bool:
        tokens = 2 if hang == "end" else 0
        return bool(server.requests) and server.requests[0].tokens_sent == tokens

    with Relay(port_of(server), tls=True) as secure:
        url = f"https://localhost:{secure.port}/v1"
        async with aclosing(make_transport(RUNS[run])) as transport:
            provider = OpenAIProvider(Context(transport), base_url=url)
            async with anyio.create_task_group() as group:
                group.start_soon(provider.complete, Call("m", Request.of("hi")))
                await anyio.to_thread.run_sync(server.wait_for, reached)
                group.cancel_scope.cancel()
            # This blocks the loop, so the socket is closed already.
            server.wait_for(lambda: server.open_connections == 0)
