"""What is too old or too much is deleted, and the file becomes smaller."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from cascade_policies.ledger.database import transaction
from cascade_policies.report import rollups

CHUNK: Final = 500
"""Calls a transaction: other writers wait for as long as one takes."""

_SPARE: Final = 0.98
_DAY: Final = 86_400.0
_PAGES: Final = 500  # given back to the disk in one transaction


def prune(
    connection: sqlite3.Connection,
    *,
    max_age_days: float | None = None,
    max_bytes: int | None = None,
    at_most: int | None = None,
    now: float | None = None,
) -> int:
    """Delete the oldest calls with their attempts, until the limits hold.

    Calls are deleted in the order they were written. One that is too old stays as long as one that
    was written before it is not.

    Args:
        connection: from `connect`, in no transaction.
        max_age_days: how long ago a call may have begun.
        max_bytes: how large the database may be, beside its write-ahead log.
        at_most: how many chunks of `CHUNK` calls to delete in this go.
        now: Unix time in seconds.

    Returns:
        How many calls were deleted.

    Raises:
        sqlite3.Error: the database cannot be written.
    """
    oldest = None
    if max_age_days is not None:
        oldest = (time.time() if now is None else now) - max_age_days * _DAY
    deleted = chunks = 0
    while at_most is None or chunks < at_most:
        chunks += 1
        with transaction(connection):
            last = _last_to_delete(connection, oldest, max_bytes)
            if last is None:
                break
            (first,) = connection.execute("SELECT min(id) FROM calls").fetchone()
            rollups.remove(connection, first, last)
            deleted += connection.execute("DELETE FROM calls WHERE id <= ?", (last,)).rowcount
    if deleted:
        _shrink(connection)
    return deleted


def _last_to_delete(
    connection: sqlite3.Connection, oldest: float | None, max_bytes: int | None
) -> int | None:
    """The last id of the next chunk; None when the limits hold."""
    first, last = connection.execute("SELECT min(id), max(id) FROM calls").fetchone()
    if first is None:
        return None
    used = _used(connection)
    if max_bytes is not None and used > max_bytes:
        # A little more than is needed, so that it is not needed again at once.
        share = 1 - _SPARE * max_bytes / used
        return int(min(first + CHUNK - 1, first + share * (last - first)))
    if oldest is None:
        return None
    end = min(last, first + CHUNK - 1)
    (kept,) = connection.execute(
        "SELECT min(id) FROM calls WHERE id <= ? AND began >= ?", (end, oldest)
    ).fetchone()
    if kept is None:
        return int(end)
    return None if kept == first else int(kept - 1)


def _used(connection: sqlite3.Connection) -> int:
    """Bytes of the pages that hold something."""
    size, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


def _shrink(connection: sqlite3.Connection) -> None:
    """Give free pages back, a few at a time."""
    while connection.execute("PRAGMA freelist_count").fetchone()[0]:
        before = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
        if connection.execute("PRAGMA page_count").fetchone()[0] >= before:
            return  # made without auto_vacuum, by another program
