"""A faulty server, a transport, and providers that use both.

Every async test here runs over each HTTP client, on each event loop that the client can use.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cascade.providers.openai import OpenAIProvider
from cascade.testing.faulty_server import FaultyServer, Reply
from cascade.transport import Transport, make_transport


@dataclass(frozen=True)
class Context:
    """As much of an engine as a provider sees."""

    transport: Any
    http: Any = None


RUNS = {"asyncio": "httpx", "trio": "httpx", "asyncio-aiohttp": "aiohttp"}


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> str:
    """An event loop and a client."""
    name: str = request.param
    return name


@pytest.fixture
def anyio_backend(run: str) -> str:
    """The loop of the run."""
    return run.partition("-")[0]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own keys, addresses and proxies take no part."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer(default=Reply("Hello there.")) as server:
        yield server


@pytest.fixture
async def transport(anyio_backend: Any, run: str) -> AsyncIterator[Transport]:
    """As an engine has it, over the client of the run."""
    transport = make_transport(RUNS[run])
    yield transport
    await transport.aclose()


@pytest.fixture
def openai(transport: Transport, server: FaultyServer) -> Callable[..., OpenAIProvider]:
    """Makes a provider for the server; other options as given."""

    def make(**options: Any) -> OpenAIProvider:
        options = {"base_url": server.base_url, **options}
        return OpenAIProvider(Context(transport), **options)

    return make
