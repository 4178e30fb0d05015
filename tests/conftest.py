"""Shared fixtures: every async test runs on asyncio and on trio."""

from __future__ import annotations

import os
from typing import Any

import hypothesis
import pytest
import trio.testing

from cascade.retry_budget import RetryBudget

# CI tries the same examples every time, so that it fails for a change and not by chance; at a
# developer's desk they are new each run, which is how they find what is wrong. How long an example
# takes is the machine's mood; what must be quick is timed by tests of its own.
hypothesis.settings.register_profile("desk", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "desk")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both event loops, in real time."""
    backend: str = request.param
    return backend


@pytest.fixture
def virtual_clock() -> tuple[str, dict[str, Any]]:
    """For ``anyio_backend`` to return: trio on a clock that jumps to the next timer at once."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what would download 1.6 GB, unless the user named the marker."""
    if "weights" in str(config.getoption("markexpr")):
        return
    skip = pytest.mark.skip(reason="needs weights of 1.6 GB; opt in with -m weights")
    for item in items:
        if "weights" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _ample_retry_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test retries is no concern of the next."""
    monkeypatch.setattr("cascade.retry_budget._shared", RetryBudget(reserve=1e6))
