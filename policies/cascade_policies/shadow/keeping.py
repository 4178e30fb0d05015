"""What canaries and audits know, in the ledger: shared by processes, kept over restarts."""

from __future__ import annotations

import sqlite3
import time
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio
import msgspec
from anyio import to_thread
from anyio.abc import TaskGroup

from cascade.errors import CascadeError, ConfigError
from cascade.logs import warn
from cascade_policies.ledger.database import connect, ledger_path, transaction
from cascade_policies.shadow.background import leave
from cascade_policies.shadow.guard import Guard


def kept(
    guard: Guard[Any], path: Path | str | None = None, *, every: float = 1.0
) -> AbstractAsyncContextManager[None]:
    """The block in which a canary or an audit shares what it knows with all processes.

    Its state is in the ledger's database, under its name. It is read when the block begins; every
    so many seconds what this process has seen is added to it, in one transaction, and what others
    have added is taken over: a rollback too. One process logs it.

    Args:
        guard: a `Canary` or a `Certified`.
        path: the database; by default as `ledger_path` decides.
        every: seconds between two exchanges.

    Raises:
        ConfigError: ``every`` is impossible. When the block begins: the guard is kept already, the
            database cannot be used, or what it has under this name is of something else.
    """
    if not 0 < every < float("inf"):
        raise ConfigError(f"every={every!r}: needs seconds above 0")
    return _Kept(guard, ledger_path(None if path is None else Path(path)), every)


def exchange(guard: Guard[Any], path: Path) -> None:
    """Add what the guard has seen to what the database knows, and take over the rest.

    Raises:
        sqlite3.Error, ConfigError: the database cannot be used, or its state is of something else.
    """
    with closing(connect(path)) as connection, transaction(connection):
        row = connection.execute(
            "SELECT state FROM guards WHERE name = ?", (guard.name,)
        ).fetchone()
        news = guard.has_news or row is None
        state = guard.exchange(None if row is None else _decode(row[0], guard.name))
        if news:
            connection.execute(
                "INSERT OR REPLACE INTO guards VALUES (?, ?, ?)",
                (guard.name, msgspec.json.encode(state).decode(), time.time()),
            )
    guard.exchanged()


def _decode(text: str, name: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ConfigError(f"what the ledger knows of {name!r} cannot be read: {error}") from None


class _Kept:
    """A class, as a generator must not yield inside a task group."""

    _tasks: TaskGroup

    def __init__(self, guard: Guard[Any], path: Path, every: float) -> None:
        self._guard, self._path, self._every = guard, path, every
        self._failing = False

    async def __aenter__(self) -> None:
        self._guard.keep()
        try:
            await to_thread.run_sync(exchange, self._guard, self._path)
        except BaseException:
            self._guard.let_go()
            raise
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._go_on)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, trace
        try:
            self._tasks.cancel_scope.cancel()
            await leave(self._tasks, error)
        finally:
            with anyio.CancelScope(shield=True):  # as long as SQLite waits for others, at most
                await self._exchange()
            self._guard.let_go()

    async def _go_on(self) -> None:
        while True:
            await anyio.sleep(self._every)
            await self._exchange()

    async def _exchange(self) -> None:
        try:
            await to_thread.run_sync(exchange, self._guard, self._path)
        except (sqlite3.Error, OSError, CascadeError) as error:
            if not self._failing:
                warn("cascade.guard_failed", guard=self._guard.name, error=str(error))
            self._failing = True
        else:
            self._failing = False
