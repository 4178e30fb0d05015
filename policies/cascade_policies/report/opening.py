"""Opening a ledger to report on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection

from cascade.errors import ConfigError
from cascade_policies.ledger.database import connect_to_read, is_writable, transaction
from cascade_policies.report import rollups
from cascade_policies.report.source import check_task


def open_ledger(path: Path, task: str | None = None) -> Connection:
    """The ledger, with every call in the sums.

    Args:
        path: of the database.
        task: one that it must have calls of.

    Raises:
        ConfigError: there is no ledger or it cannot be read, or it has no such task.
    """
    connection = connect_to_read(path)
    try:
        if rollups.is_behind(connection):
            _catch_up(connection, path)
        if task is not None:
            check_task(connection, task)
    except BaseException:
        connection.close()
        raise
    return connection


def _catch_up(connection: Connection, path: Path) -> None:
    if not is_writable(connection):
        raise ConfigError(
            f"{path} has calls that are in no sum yet, and cannot be written: "
            "make it writable, or give the path of a copy"
        )
    with transaction(connection):
        rollups.catch_up(connection)


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """All that is read inside is of one moment, whoever writes meanwhile."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")
