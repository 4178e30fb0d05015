"""`LedgerDriftWatch`: drift of all processes together, kept in the ledger's database."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from cascade import logs
from cascade.errors import CascadeError, ConfigError
from cascade.records import CallRecord
from cascade_policies.drift.monitor import LEARN, THRESHOLD, Drift
from cascade_policies.drift.store import load, save
from cascade_policies.drift.watch import Baselines, Seen, Watches, seen, tell
from cascade_policies.ledger.database import connect, ledger_path, transaction

WAITING: Final = 10_000
"""Calls that wait for the database at most; the oldest are forgotten."""

CLOSE_TIMEOUT: Final = 3.0
"""Seconds that closing waits for the last calls."""


class LedgerDriftWatch:
    """A `DriftWatch` whose knowledge is in the ledger's database.

    All processes that watch a task count its calls together, and one of them logs a change. On the
    loop's thread a call is put into a queue, no more; every second a thread reads the states,
    counts the calls that have come since, and writes the states back, in one transaction. So a
    process that is killed loses what it had not counted of the last second, which moves no
    baseline.

    Args:
        path: the database; by default as `ledger_path` decides. Opened with the first call.
        threshold: as of `DriftWatch`.
        learn: likewise.
        baselines: likewise; for figures of which the database knows nothing yet.
        every: seconds between two transactions, while there are calls.

    Raises:
        ConfigError: a value that cannot be.
    """

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        threshold: float = THRESHOLD,
        learn: int = LEARN,
        baselines: Baselines | None = None,
        every: float = 1.0,
    ) -> None:
        if not 0 < every < float("inf"):
            raise ConfigError(f"every={every!r}: needs seconds above 0")
        self.path = ledger_path(None if path is None else Path(path))
        self._make = partial(Watches, threshold=threshold, learn=learn, baselines=baselines)
        self._make()  # refuses bad settings now
        self._every = every
        self._begin()

    def _begin(self) -> None:
        """As in a process that has counted nothing yet: a new one, or one that was forked."""
        self._process = os.getpid()
        self._queue: deque[Seen] = deque(maxlen=WAITING)
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # of the thread's life
        self._counting = threading.Lock()  # a thread that ends may overlap with the next
        self._failing = False

    def call_finished(self, record: CallRecord, /) -> None:
        """Take note of a call; see `Observer`."""
        call = seen(record)
        if call is None:
            return
        if self._process != os.getpid():
            self._begin()
        self._queue.append(call)
        if self._thread is None:
            self._start()
        if not self._wake.is_set():
            self._wake.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._wake, self._ending = threading.Event(), threading.Event()
                self._thread = threading.Thread(target=self._run, name="cascade-drift", daemon=True)
                self._thread.start()

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Count what is left and end the thread, in so many seconds at most.

        A call that finishes later starts it again: another engine may still use the watch.
        """
        if self._process != os.getpid():
            return
        with self._lock:
            thread, self._thread = self._thread, None
            self._ending.set()
            self._wake.set()
        if thread is not None:
            thread.join(timeout)

    async def aclose(self) -> None:
        """As `close`, without holding the loop."""
        from anyio import to_thread

        await to_thread.run_sync(self.close, abandon_on_cancel=True)

    # From here on: the thread of the watch.

    def _run(self) -> None:
        wake, ending = self._wake, self._ending
        while not ending.is_set():
            wake.wait()
            ending.wait(self._every)  # let some more calls come together
            wake.clear()
            self._count()
        self._count()  # what came while it counted

    def _count(self) -> None:
        with self._counting:
            self._count_waiting()

    def _count_waiting(self) -> None:
        calls = [self._queue.popleft() for _ in range(len(self._queue))]
        if not calls:
            return
        try:
            found = self._booked(calls)
        except (sqlite3.Error, OSError, CascadeError) as error:
            # Back to where they came from, the newest as far as there is room.
            room = WAITING - len(self._queue)
            self._queue.extendleft(reversed(calls[max(0, len(calls) - room) :]))
            self._wake.set()
            if not self._failing:
                logs.warn("cascade.drift_failed", path=str(self.path), error=str(error))
            self._failing = True
        else:
            self._failing = False
            tell(found)

    def _booked(self, calls: list[Seen]) -> list[Drift]:
        with closing(connect(self.path)) as connection, transaction(connection):
            watches = self._make()
            for key, state in load(connection, {call.policy for call in calls}).items():
                try:
                    watches.restore(key, state)
                except ConfigError as error:  # of another version: what it knew is learned anew
                    logs.warn(
                        "cascade.drift_forgotten", policy=key[0], what=key[1], error=str(error)
                    )
            found = [drift for call in calls for drift in watches.take(call)]
            save(connection, watches.states(), found, now=time.time())
        return found
