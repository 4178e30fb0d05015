"""A database file against which a model's queries can be run: read-only, bounded, killable."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from anyio import CancelScope, CapacityLimiter, move_on_after, to_process
from anyio.lowlevel import RunVar

from cascade.errors import ConfigError
from cascade_verifiers.sql_catalogue import database_kind, import_duckdb
from cascade_verifiers.sql_worker import Limits, Run, ready, run_query

T = TypeVar("T")

GRACE = 0.5
"""Seconds after its time is up in which a query may end by itself; then its process is killed."""

DEFAULT = Limits()

_PARALLEL: RunVar[CapacityLimiter] = RunVar("cascade_verifiers.sql_sandbox")
_READY = ("cascade_verifiers.sql_worker", "cascade_verifiers.sql_text")


class Sandbox:
    """Runs queries on one SQLite or DuckDB file, each in a worker process.

    The process is killed when the query outlives its time or its task is cancelled. The file is
    opened read-only and nothing is written anywhere, no temporary files either. A result over its
    limits is an outcome like any other; a database that cannot be read is an exception.

    Worker processes are anyio's: started on first use (some tenths of a second), used again, and
    ended with the event loop. As with `multiprocessing`, they import the main module, so a script
    keeps what it does under ``if __name__ == "__main__":``.

    Args:
        database: the path of the file.
        timeout: seconds a query may take.
        max_rows: rows it may give.
        memory_mb: megabytes it may take.

    Raises:
        ConfigError: there is no such file, it is no database, or a limit makes no sense.
    """

    def __init__(
        self,
        database: str | Path,
        *,
        timeout: float = DEFAULT.timeout,
        max_rows: int = DEFAULT.max_rows,
        memory_mb: int = DEFAULT.memory_mb,
    ) -> None:
        if not 0 < timeout <= 3600:
            raise ConfigError(f"timeout={timeout!r}: give seconds above 0, at most 3600")
        if max_rows < 1:
            raise ConfigError(f"max_rows={max_rows!r}: needs a whole number above 0")
        if memory_mb < 16:
            raise ConfigError(f"memory_mb={memory_mb!r}: needs at least 16")
        self.path = Path(database).absolute()
        self.kind = database_kind(self.path)
        if self.kind == "duckdb":
            import_duckdb()
        self.limits = Limits(timeout, max_rows, memory_mb)

    async def run(
        self,
        sql: str,
        steps: Sequence[Literal["explain", "execute"]] = ("execute",),
        *,
        keep: bool = False,
    ) -> Run:
        """Run one query, which should have been seen to only read; ``keep`` keeps its rows.

        Raises:
            RuntimeError: the database cannot be read.
            anyio.BrokenWorkerProcess: the process died of the query.
        """
        seconds = self.limits.timeout + GRACE
        arguments = (self.kind, str(self.path), sql, self.limits, tuple(steps), keep)
        try:
            return await in_worker(seconds, run_query, *arguments)
        except TimeoutError:
            return Run("timeout")

    def __repr__(self) -> str:
        return f"Sandbox({self.path.name!r})"


async def in_worker(seconds: float, function: Callable[..., T], *arguments: object) -> T:
    """What ``function`` returns in a worker process, which is killed when it takes longer.

    The seconds begin when the process is there and has imported what it needs.

    Raises:
        TimeoutError: it took longer.
    """
    async with _parallel():
        # A start that is cancelled half-way would leave anyio 4.16 with a process nobody waits
        # for. Free of charge when a worker is idle: it is the one that is taken next.
        with CancelScope(shield=True):
            await to_process.run_sync(ready, _READY, limiter=CapacityLimiter(math.inf))
        with move_on_after(seconds):
            return await to_process.run_sync(
                function, *arguments, cancellable=True, limiter=CapacityLimiter(math.inf)
            )
    raise TimeoutError


def _parallel() -> CapacityLimiter:
    """As many at once as there are cores, in each event loop."""
    try:
        return _PARALLEL.get()
    except LookupError:
        limiter = CapacityLimiter(max(2, os.cpu_count() or 2))
        _PARALLEL.set(limiter)
        return limiter
