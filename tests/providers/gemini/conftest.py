"""A provider of the Gemini API for the faulty server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cascade.providers.gemini import GeminiProvider
from cascade.testing.faulty_server import FaultyServer
from cascade.transport import Transport


@dataclass(frozen=True)
class Context:
    """As much of an engine as a provider sees."""

    transport: Any
    http: Any = None


@pytest.fixture(autouse=True)
def no_gemini_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own key and address take no part."""
    for name in ("GEMINI_API_KEY", "GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def gemini(transport: Transport, server: FaultyServer) -> Callable[..., GeminiProvider]:
    """Makes a provider for the server; other options as given."""

    def make(**options: Any) -> GeminiProvider:
        return GeminiProvider(Context(transport), **{"base_url": server.url, **options})

    return make
