"""`cascade_sync`: for scripts and notebooks."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Unpack

import anyio

from cascade.default import cascade
from cascade.errors import ConfigError
from cascade.finding import PolicyLike
from cascade.overrides import Overrides
from cascade.result import Result
from cascade.types import Prompt

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

CLEANUP_TIMEOUT = 5.0
"""Seconds that an interrupted call may take to close its connections."""

_lock = threading.Lock()
_portal: BlockingPortal | None = None


def cascade_sync(
    policy: PolicyLike,
    prompt: Prompt,
    *,
    start: str | int | None = None,
    variables: Mapping[str, str] | None = None,
    **overrides: Unpack[Overrides],
) -> Result:
    """`cascade`, waiting for the answer; for code that is not async.

    It runs on an event loop in a thread of its own, which lives as long as the process, so that
    connections are kept from call to call and it also works where a loop is running already, as
    in a notebook. An interrupt (Ctrl-C) cancels the call, and is raised once the call has ended.

    Raises:
        ConfigError: called on that very loop, by a sync verifier say, where it could only wait
            for itself.
    """
    begun, ended = threading.Event(), threading.Event()
    scope: list[anyio.CancelScope] = []

    async def call() -> Result:
        with anyio.CancelScope() as own:
            scope.append(own)
            begun.set()
            try:
                return await cascade(policy, prompt, start=start, variables=variables, **overrides)
            finally:
                ended.set()
        raise CancelledError

    async def cancel() -> None:
        scope[0].cancel()

    portal = _running_portal()
    if portal._event_loop_thread_id == threading.get_ident():  # it has no public name
        raise ConfigError("cascade_sync() would wait for itself here: use 'await cascade(...)'")
    try:
        return portal.start_task_soon(call).result()
    except BaseException:
        # An interrupt may come before there is a future to cancel, so the scope is what counts.
        if begun.is_set() and not ended.is_set():
            portal.start_task_soon(cancel)
            ended.wait(CLEANUP_TIMEOUT)
        raise


def _running_portal() -> BlockingPortal:
    global _portal  # noqa: PLW0603  (one a process, guarded by the lock)
    with _lock:
        if _portal is None:
            started: Future[BlockingPortal] = Future()
            # Not anyio's start_blocking_portal(): the generator it leaves behind would, in a
            # forked child, wait at exit for a thread that only the parent has.
            thread = threading.Thread(
                target=anyio.run, args=(_serve, started), name="cascade", daemon=True
            )
            thread.start()
            _portal = started.result()
            atexit.register(_close, thread, os.getpid())
        return _portal


async def _serve(started: Future[BlockingPortal]) -> None:
    from anyio.from_thread import BlockingPortal

    async with BlockingPortal() as portal:
        started.set_result(portal)
        await portal.sleep_until_stopped()


def _close(thread: threading.Thread, process: int) -> None:
    """At the end of the process: cancel what still runs, close connections, end the thread."""
    global _portal
    if os.getpid() != process:
        return  # a fork: the thread is the parent's
    with _lock:
        portal, _portal = _portal, None
    if portal is not None:
        portal.call(portal.stop, True)
        thread.join()


def _forget() -> None:
    """In a forked child: the parent's thread is not there, and the lock may be held for ever."""
    global _lock, _portal  # noqa: PLW0603
    _lock = threading.Lock()
    _portal = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
