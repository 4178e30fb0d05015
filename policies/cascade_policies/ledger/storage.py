"""The file of one ledger: opened when needed, kept within its limits, closed before a fork."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cascade import logs
from cascade.records import CallRecord
from cascade_policies.ledger.database import connect
from cascade_policies.ledger.insert import write_calls
from cascade_policies.ledger.prune import prune
from cascade_policies.ledger.rows import Recorder

BUSY: Final = 1.0
"""Seconds to wait in SQLite while another process writes; who writes tries again later."""

LOOK_EVERY: Final = (60.0, 5000)
"""Seconds, or calls written, between looks at age and size."""

_CHUNKS: Final = 20  # deleted at one look, so that writing goes on


class Storage:
    """Writes calls into a database, from one thread.

    Args:
        path: the database.
        recorder: makes rows of calls.
        max_age_days: calls that are older are deleted.
        max_bytes: the oldest calls are deleted when the database is larger.
    """

    def __init__(
        self,
        path: Path,
        recorder: Recorder,
        *,
        max_age_days: float | None,
        max_bytes: int | None,
    ) -> None:
        self.path = path
        self._recorder = recorder
        self._max_age_days = max_age_days
        self._max_bytes = max_bytes
        self._written = 0
        self._next_look = (0.0, 0)  # at the clock's time, or at so many calls written
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.RLock()

    def write(self, records: Sequence[CallRecord], *, breathe: bool) -> int:
        """Write the calls in one transaction, and say how many are in the database now.

        With ``breathe`` it takes longer, and keeps the event loop less.

        Raises:
            sqlite3.Error, OSError, ConfigError: the database cannot be used now.
        """
        with self._lock:
            written = write_calls(self._connect(), self._recorder, records, breathe=breathe)
        self._written += written
        return written

    def keep_limits(self) -> None:
        """Delete some of what is too old or too much, if it is time to look.

        Raises:
            sqlite3.Error, OSError, ConfigError: the database cannot be used now.
        """
        if self._max_age_days is None and self._max_bytes is None:
            return
        at, count = self._next_look
        if time.monotonic() < at and self._written < count:
            return
        self._next_look = (time.monotonic() + LOOK_EVERY[0], self._written + LOOK_EVERY[1])
        with self._lock:
            prune(
                self._connect(),
                max_age_days=self._max_age_days,
                max_bytes=self._max_bytes,
                at_most=_CHUNKS,
            )

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and not self.path.exists():
            self.close()  # somebody deleted it: a new one, rather than rows that go nowhere
        if self._connection is None:
            self._connection = connect(self.path, timeout=BUSY)
        return self._connection

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                try:
                    connection.close()
                except sqlite3.Error as error:
                    logs.warn("cascade.ledger_failed", path=str(self.path), error=str(error))

    def pause(self) -> None:
        """Close the file, and keep it so until `resume`: the process is about to fork.

        SQLite's locks are not inherited, but what it remembers of them is.
        """
        self._lock.acquire()
        self.close()

    def resume(self) -> None:
        """Go on after a fork, in the process that forked."""
        self._lock.release()

    def renew(self) -> None:
        """Go on after a fork, in the child, where the thread that writes is no more."""
        self._lock = threading.RLock()
