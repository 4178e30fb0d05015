"""A faulty server, the engine's HTTP client, and providers that use both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cascade.providers.http import make_client
from cascade.providers.openai import OpenAIProvider
from cascade.testing.faulty_server import FaultyServer, Reply


@dataclass(frozen=True)
class Context:
    """As much of an engine as a provider sees."""

    http: Any


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
async def http(anyio_backend: Any) -> AsyncIterator[Any]:
    async with make_client() as client:
        yield client


@pytest.fixture
def openai(http: Any, server: FaultyServer) -> Callable[..., OpenAIProvider]:
    """Makes a provider for the server; other options as given."""

    def make(**options: Any) -> OpenAIProvider:
        options = {"base_url": server.base_url, **options}
        return OpenAIProvider(Context(http), **options)

    return make
