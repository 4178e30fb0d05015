"""Opening a ledger to report on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection

from cascade.errors import ConfigError, nearest
from cascade_policies.ledger.database import connect, transaction
from cascade_policies.report import rollups
from cascade_policies.report.source import task_names


def open_ledger(path: Path, task: str | None = None) -> Connection:
    """The ledger, with every call in the sums.

    Args:
        path: of the database.
        task: one that it must have calls of.

    Raises:
        ConfigError: there is no ledger or it cannot be read, or it has no such task.
    """
    connection = connect(path, create=False)
    try:
        if rollups.is_behind(connection):
            with transaction(connection):
                rollups.catch_up(connection)
        _check(connection, task)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """All that is read inside is of one moment, whoever writes meanwhile."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def _check(connection: Connection, task: str | None) -> None:
    names = task_names(connection)
    if task is not None and task not in names:
        raise ConfigError(f"--task {task!r}: {nearest(task, names)}")
