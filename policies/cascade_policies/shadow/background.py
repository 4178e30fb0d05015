"""Work beside an engine's calls: bounded, and in tasks that somebody awaits.

An observer is told of a call in its caller's task, which must go on at once: it cannot wait, and a
task it started would be nobody's. Nor can an engine own such tasks: it is made before a loop may
run, and is closed in whichever task happens to do it, while a task group is entered and left in
one. So the tasks are owned by whoever writes ``async with …running(engine)``: the group is a block
of that code, all work in it is awaited or cancelled where the block ends, and the block ends
before the engine closes. Observers only put work into a queue.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from cascade.errors import ConfigError
from cascade.logs import warn

if TYPE_CHECKING:
    from cascade.engine import Engine

DRAIN: Final = 5.0
"""Seconds that the end of the block waits for what is queued and running."""

T = TypeVar("T")
Work = Callable[["Engine", T], Awaitable[None]]


class Background(Generic[T]):
    """Does work that is put into a bounded queue, a few pieces at a time.

    Args:
        name: of what it works for, for logs.
        work: does one piece. What it raises is logged and ends nothing else.
        queue: pieces that may wait; one more is dropped.
        concurrency: pieces done at once.
        drain: seconds that leaving waits for what is left.

    Raises:
        ConfigError: a number is impossible.

    Attributes:
        done: pieces that were done.
        failed: pieces whose work raised.
        dropped: pieces that found no room, or nobody at work, or were cut short at the end.
    """

    def __init__(
        self, name: str, work: Work[T], *, queue: int, concurrency: int, drain: float = DRAIN
    ) -> None:
        if queue < 1 or concurrency < 1:
            raise ConfigError(f"queue={queue!r}, concurrency={concurrency!r}: need 1 or more")
        if not 0 <= drain < float("inf"):
            raise ConfigError(f"drain={drain!r}: needs seconds, 0 or more")
        self.name = name
        self.done = self.failed = self.dropped = 0
        self._work = work
        self._queue = queue
        self._concurrency = concurrency
        self._drain = drain
        self._send: MemoryObjectSendStream[T] | None = None
        self._told = False

    def put(self, piece: T) -> bool:
        """Have a piece of work done some time; whether there was room for it. Never waits."""
        if self._send is None:
            if not self._told:
                warn("cascade.background_idle", name=self.name)
                self._told = True
        else:
            try:
                self._send.send_nowait(piece)
            except anyio.WouldBlock:
                pass
            else:
                return True
        self.dropped += 1
        return False

    def running(self, engine: Engine) -> AbstractAsyncContextManager[None]:
        """The block in which work is done; nothing of it is left when it ends."""
        return _Running(self, engine)


class _Running(Generic[T]):
    """A class, as a generator must not yield inside a task group."""

    _receive: MemoryObjectReceiveStream[T]
    _tasks: TaskGroup

    def __init__(self, background: Background[T], engine: Engine) -> None:
        self._background = background
        self._engine = engine

    async def __aenter__(self) -> None:
        background = self._background
        if background._send is not None:
            raise ConfigError(f"{background.name} is running already: it serves one engine")
        self._tasks = await anyio.create_task_group().__aenter__()
        background._send, self._receive = anyio.create_memory_object_stream[T](background._queue)
        for _ in range(background._concurrency):
            self._tasks.start_soon(self._work_off)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, trace
        background = self._background
        send, background._send = background._send, None
        assert send is not None
        send.close()
        try:
            if error is None:
                self._tasks.cancel_scope.deadline = anyio.current_time() + background._drain
            await leave(self._tasks, error)
        finally:
            background.dropped += self._receive.statistics().current_buffer_used
            self._receive.close()

    async def _work_off(self) -> None:
        background = self._background
        async for piece in self._receive:
            try:
                await background._work(self._engine, piece)
            except Exception as error:  # noqa: BLE001  (must not end the block of the application)
                background.failed += 1
                warn("cascade.background_failed", name=background.name, exc_info=error)
            except anyio.get_cancelled_exc_class():
                background.dropped += 1
                raise
            else:
                background.done += 1


async def leave(tasks: TaskGroup, error: BaseException | None) -> None:
    """Leave a task group whose block is that of another context manager, which ended so."""
    if isinstance(error, anyio.get_cancelled_exc_class()):
        await tasks.__aexit__(type(error), error, error.__traceback__)
        return
    if error is not None:  # it goes on as it is: told of it, the group would wrap it
        tasks.cancel_scope.cancel()
    await tasks.__aexit__(None, None, None)
