"""Shared fixtures: every async test runs on asyncio and on trio."""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both event loops, in real time."""
    backend: str = request.param
    return backend


@pytest.fixture
def virtual_clock() -> tuple[str, dict[str, Any]]:
    """For ``anyio_backend`` to return: trio on a clock that jumps to the next timer at once."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}
