"""Each HTTP client on each event loop that it can use, as for the providers."""

from __future__ import annotations

from tests.providers.conftest import anyio_backend, no_environment, openai, run, server, transport

__all__ = ["anyio_backend", "no_environment", "openai", "run", "server", "transport"]
