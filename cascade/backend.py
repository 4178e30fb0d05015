"""The async library that runs us: its clock, and cancel scopes with deadlines.

A timer of the event loop costs a call more than all that the state machine does, and nearly every
one is cancelled unused. So on asyncio one timer serves all calls of an engine: it is set for the
earliest deadline, and looks at the others when it fires.
"""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop, BaseEventLoop, Future, TimerHandle, get_running_loop
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from time import monotonic
from typing import Protocol

import anyio

from cascade.standing import NEVER


class Bell(Protocol):
    """Wakes a task that has nothing to do but wait: what a scope does, without a cancellation."""

    def cancel(self) -> None:
        """Ring: named as in a scope, which can be armed in its place."""
        ...

    def wait(self) -> Awaitable[None]:
        """Wait until it rings; once."""
        ...


Timer = anyio.CancelScope | Bell


class Backend(Protocol):
    """What a call needs of the library.

    Attributes:
        loop: the event loop it is for; None for trio.
        clock: the time in seconds, on the loop's clock.
        scope: makes a new cancel scope, without a deadline.
        bell: makes a new bell.
    """

    loop: AbstractEventLoop | None
    clock: Callable[[], float]
    scope: Callable[[], anyio.CancelScope]
    bell: Callable[[], Bell]

    def arm(self, timer: Timer, at: float) -> None:
        """Have the scope cancelled, or the bell rung, then and not at a time given before."""
        ...

    def disarm(self, timer: Timer) -> None:
        """Forget it; to be called when nothing runs under it any more."""
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
        self.bell: Callable[[], Bell] = partial(_AsyncioBell, loop)
        self._deadlines: dict[Timer, float] = {}
        self._timer: TimerHandle | None = None
        self._set_for = NEVER

    def arm(self, timer: Timer, at: float) -> None:
        """See `Backend.arm`."""
        self._deadlines[timer] = at
        if at < self._set_for:
            self._set(at)

    def disarm(self, timer: Timer) -> None:
        """See `Backend.disarm`."""
        self._deadlines.pop(timer, None)

    def _set(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._set_for = at
        # An empty context, or the first caller's would be kept alive.
        self._timer = self._call_at(at, self._ring, context=Context())

    def _ring(self) -> None:
        self._timer, self._set_for = None, NEVER
        now = self.clock()
        for timer in [timer for timer, at in self._deadlines.items() if at <= now]:
            del self._deadlines[timer]
            timer.cancel()
        earliest = min(self._deadlines.values(), default=NEVER)
        if earliest < NEVER:
            self._set(earliest)


class _AsyncioBell:
    __slots__ = ("_rung",)

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._rung: Future[None] = loop.create_future()

    def cancel(self) -> None:
        if not self._rung.done():
            self._rung.set_result(None)

    def wait(self) -> Awaitable[None]:
        return self._rung


class TrioBackend:
    """Trio, whose deadlines are cheap."""

    def __init__(self) -> None:
        self.loop: AbstractEventLoop | None = None
        self.clock: Callable[[], float] = anyio.current_time
        self.scope: Callable[[], anyio.CancelScope] = anyio.CancelScope
        self.bell: Callable[[], Bell] = _TrioBell

    def arm(self, timer: Timer, at: float) -> None:
        """See `Backend.arm`."""
        scope = timer.scope if isinstance(timer, _TrioBell) else timer
        assert isinstance(scope, anyio.CancelScope)
        scope.deadline = at

    def disarm(self, timer: Timer) -> None:
        """Nothing to forget."""


class _TrioBell:
    __slots__ = ("scope",)

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()

    def cancel(self) -> None:
        self.scope.cancel()

    async def wait(self) -> None:
        with self.scope:
            await anyio.sleep_forever()


def running_loop() -> AbstractEventLoop | None:
    """The event loop of asyncio that is running; None under trio."""
    # Trio first: trio.run() inside a thread that also runs an asyncio loop, as a notebook does,
    # would find both.
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return None
    return get_running_loop()
