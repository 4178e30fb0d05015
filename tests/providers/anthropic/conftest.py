"""A provider of the Messages API for the faulty server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cascade.providers.anthropic import AnthropicProvider
from cascade.testing.faulty_server import FaultyServer
from cascade.transport import Transport


@dataclass(frozen=True)
class Context:
    """As much of an engine as a provider sees."""

    transport: Any
    http: Any = None


@pytest.fixture(autouse=True)
def no_anthropic_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own key and address take no part."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def anthropic(transport: Transport, server: FaultyServer) -> Callable[..., AnthropicProvider]:
    """Makes a provider for the server; other options as given."""

    def make(**options: Any) -> AnthropicProvider:
        return AnthropicProvider(Context(transport), **{"base_url": server.url, **options})

    return make
