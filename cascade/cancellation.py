"""Whether somebody wants the running task to stop."""

from __future__ import annotations

import asyncio

import anyio


def being_cancelled() -> bool:
    """Whether someone wants the running task to stop."""
    if anyio.get_current_task().has_pending_cancellation():
        return True
    try:
        task = asyncio.current_task()
    except RuntimeError:  # trio, whose cancellation is an exception of its own
        return False
    # A native `task.cancel()` that has been delivered is no longer pending.
    return task is not None and task.cancelling() > 0
