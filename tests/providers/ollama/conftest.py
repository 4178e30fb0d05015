"""A provider of Ollama's API for the faulty server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cascade.providers.ollama import OllamaProvider
from cascade.testing.faulty_server import FaultyServer
from cascade.transport import Transport


@dataclass(frozen=True)
class Context:
    """As much of an engine as a provider sees."""

    transport: Any
    http: Any = None


@pytest.fixture(autouse=True)
def no_ollama_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own server and key take no part."""
    for name in ("OLLAMA_HOST", "OLLAMA_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ollama(transport: Transport, server: FaultyServer) -> Callable[..., OllamaProvider]:
    """Makes a provider for the server; other options as given."""

    def make(**options: Any) -> OllamaProvider:
        return OllamaProvider(Context(transport), **{"base_url": server.url, **options})

    return make
