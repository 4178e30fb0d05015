"""The async library that runs us: its clock, and cancel scopes with deadlines.

A timer of the event loop costs a call more than all that the state machine does, and nearly every
one is cancelled unused. So on asyncio one timer serves all calls of an engine: it is set for the
earliest deadline, and looks at the others when it fires.
"""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop, BaseEventLoop, TimerHandle, get_running_loop
from collections.abc import Callable
from contextvars import Context
from time import monotonic
from typing import Protocol

import anyio

from cascade.standing import NEVER


class Backend(Protocol):
    """What a call needs of the library.

    Attributes:
        loop: the event loop it is for; None for trio.
        clock: the time in seconds, on the loop's clock.
        scope: makes a new cancel scope, without a deadline.
    """

    loop: AbstractEventLoop | None
    clock: Callable[[], float]
    scope: Callable[[], anyio.CancelScope]

    def arm(self, scope: anyio.CancelScope, at: float) -> None:
        """Have the scope cancelled at that time, instead of one given before."""
        ...

    def disarm(self, scope: anyio.CancelScope) -> None:
        """Forget the scope; to be called when it has been left."""
        ...


class AsyncioBackend:
    """One event loop of asyncio."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop: AbstractEventLoop | None = loop
        self._call_at = loop.call_at
        # The standard loop's clock is this very function, behind a method.
        standard = getattr(loop.time, "__func__", None) is BaseEventLoop.time
        self.clock: Callable[[], float] = monotonic if standard else loop.time
        # `anyio.CancelScope` makes an instance of its asyncio class; half its cost is finding out.
        self.scope: Callable[[], anyio.CancelScope] = type(anyio.CancelScope())
        self._deadlines: dict[anyio.CancelScope, float] = {}
        self._timer: TimerHandle | None = None
        self._set_for = NEVER

    def arm(self, scope: anyio.CancelScope, at: float) -> None:
        """Have the scope cancelled at that time, instead of one given before."""
        self._deadlines[scope] = at
        if at < self._set_for:
            self._set(at)

    def disarm(self, scope: anyio.CancelScope) -> None:
        """Forget the scope; to be called when it has been left."""
        self._deadlines.pop(scope, None)

    def _set(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._set_for = at
        # An empty context, or the first caller's would be kept alive.
        self._timer = self._call_at(at, self._ring, context=Context())

    def _ring(self) -> None:
        self._timer, self._set_for = None, NEVER
        now = self.clock()
        for scope in [scope for scope, at in self._deadlines.items() if at <= now]:
            del self._deadlines[scope]
            scope.cancel()
        earliest = min(self._deadlines.values(), default=NEVER)
        if earliest < NEVER:
            self._set(earliest)


class TrioBackend:
    """Trio, whose deadlines are cheap."""

    def __init__(self) -> None:
        self.loop: AbstractEventLoop | None = None
        self.clock: Callable[[], float] = anyio.current_time
        self.scope: Callable[[], anyio.CancelScope] = anyio.CancelScope

    def arm(self, scope: anyio.CancelScope, at: float) -> None:
        """Have the scope cancelled at that time, instead of one given before."""
        scope.deadline = at

    def disarm(self, scope: anyio.CancelScope) -> None:
        """Nothing to forget."""


def running_loop() -> AbstractEventLoop | None:
    """The event loop of asyncio that is running; None under trio."""
    # Trio first: trio.run() inside a thread that also runs an asyncio loop, as a notebook does,
    # would find both.
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return None
    return get_running_loop()
