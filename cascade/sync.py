"""`cascade_sync`: for scripts and notebooks."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Unpack

from cascade.engine import Overrides, PolicyLike, cascade
from cascade.result import Result
from cascade.types import Prompt

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

_lock = threading.Lock()
_portal: BlockingPortal | None = None


def cascade_sync(
    policy: PolicyLike,
    prompt: Prompt,
    *,
    start: str | int = 0,
    variables: Mapping[str, str] | None = None,
    **overrides: Unpack[Overrides],
) -> Result:
    """`cascade`, waiting for the answer; for code that is not async.

    It runs on an event loop in a thread of its own, which lives as long as the process, so that
    connections are kept from call to call and it also works where a loop is running already, as
    in a notebook. An interrupt (Ctrl-C) cancels the call before it is raised.
    """
    call = partial(cascade, policy, prompt, start=start, variables=variables, **overrides)
    future = _running_portal().start_task_soon(call)
    try:
        return future.result()
    except BaseException:
        future.cancel()  # nothing to do when the call itself raised
        raise


def _running_portal() -> BlockingPortal:
    global _portal  # noqa: PLW0603  (one a process, guarded by the lock)
    with _lock:
        if _portal is None:
            from anyio.from_thread import start_blocking_portal

            stack = ExitStack()
            _portal = stack.enter_context(start_blocking_portal(name="cascade"))
            atexit.register(stack.close)
        return _portal
