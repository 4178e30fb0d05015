"""One transaction at a time on the whole machine."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE: Final = 10.0
"""Seconds to wait for another process that writes; its transactions take milliseconds."""

_POLL = (0.0002, 0.002)  # SQLite's own wait grows to 100 ms, in which many others pass


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that writes: everything inside is done, or nothing.

    Raises:
        sqlite3.OperationalError: other processes have been writing for `PATIENCE`.
    """
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > give_up:
                raise
            time.sleep(random.uniform(*_POLL))  # noqa: S311  (jitter, no secret)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk, say, has ended it already
            connection.execute("ROLLBACK")
        raise
