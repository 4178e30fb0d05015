"""A provider of the Responses API for the faulty server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cascade.providers.responses import ResponsesProvider
from cascade.testing.faulty_server import FaultyServer
from cascade.transport import Transport


@dataclass(frozen=True)
class Context:
    """As much of an engine as a provider sees."""

    transport: Any
    http: Any = None


@pytest.fixture
def responses(transport: Transport, server: FaultyServer) -> Callable[..., ResponsesProvider]:
    """Makes a provider for the server; other options as given."""

    def make(**options: Any) -> ResponsesProvider:
        return ResponsesProvider(Context(transport), **{"base_url": server.base_url, **options})

    return make
