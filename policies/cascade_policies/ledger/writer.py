"""`SqliteLedger`: takes note of every call, and writes it down in the background.

On the loop's thread a record is put into a queue, no more. A thread of the ledger's own makes rows
of it, and writes them in batches, each in one transaction.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from cascade import logs
from cascade.errors import ConfigError
from cascade.records import CallRecord
from cascade_policies.ledger import latencies, processes
from cascade_policies.ledger.database import ledger_path
from cascade_policies.ledger.redaction import Redact
from cascade_policies.ledger.rows import Recorder, Store
from cascade_policies.ledger.storage import Storage

if TYPE_CHECKING:
    from cascade.engine import Engine
    from cascade.latency import ModelLatency

BATCH: Final = 500
"""Calls in a transaction: some 30 ms, for which other writers wait."""

SMALLEST: Final = 1_000_000
"""Bytes that ``max_bytes`` has to allow: an empty database has a tenth of that."""

PATIENCE: Final = 1.0
"""Seconds for which ``full="wait"`` may hold the loop, once until something is written again.

Room is made many times a second, so who waits that long waits for a disk that hangs.
"""

CLOSE_TIMEOUT: Final = 3.0
"""Seconds that closing waits for the last rows."""

_TELL_EVERY: Final = 1.0  # seconds between two warnings of calls that were left out
_RETRIES: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds before the next try; the last stays


class SqliteLedger:
    """An `Observer` that writes each finished call and its attempts to an SQLite database.

    Any number of engines, threads and processes may share one file, and any number of engines of
    a process one ledger. What cannot be written never breaks a call: the writer logs it once,
    tries again, and counts in `dropped` what found no room meanwhile.

    Args:
        path: the database; by default as `ledger_path` decides. Opened with the first call.
        prompt: whether prompts are kept as ``"text"``, as a ``"hash"``, or not (``"none"``).
        answer: the same for answers.
        redact: changes each text before it is kept or hashed, after secrets have been cut out. Is
            called in the ledger's thread.
        queue: how many calls may wait to be written.
        full: what to do with one more. ``"wait"`` holds the loop until there is room, at most
            `PATIENCE`, and once only until something is written again: a disk that hangs must not
            stop the calls. Then, as ``"drop"`` at once, the call is left out and counted.
        flush_seconds: at most so long a row waits before it is written; the commit comes on top.
            Above 0, up to 1.
        max_bytes: the oldest calls are deleted when the database is larger.
        max_age_days: calls that are older are deleted.

    Raises:
        ConfigError: a value that cannot be.
    """

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        prompt: Store = "text",
        answer: Store = "text",
        redact: Redact | None = None,
        queue: int = 10_000,
        full: Literal["wait", "drop"] = "wait",
        flush_seconds: float = 0.5,
        max_bytes: int | None = None,
        max_age_days: float | None = None,
    ) -> None:
        _check(queue, full, flush_seconds, max_bytes, max_age_days)
        self.path = ledger_path(None if path is None else Path(path))
        self.written = 0
        """Calls in the database, of those this ledger was told of."""
        self.dropped = 0
        """Calls that are not in the database and never will be."""
        recorder = Recorder(prompt=prompt, answer=answer, redact=redact)
        self.storage = Storage(self.path, recorder, max_age_days=max_age_days, max_bytes=max_bytes)
        self._limit = queue
        self._waits = full == "wait"
        self._linger = flush_seconds / 2  # the other half is for writing
        self._told_dropped = 0
        self._tell_at = 0.0  # the earliest, by the clock
        self._reset()
        processes.register(self)

    def _reset(self) -> None:
        """As a process begins that has written nothing yet: a new one, or one that was forked."""
        self._queue: deque[CallRecord] = deque()
        self._batch: list[CallRecord] = []  # taken from the queue, not yet written
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # of the thread's life and of what is counted
        self._wake = threading.Event()
        self._room = threading.Event()
        self._progress = threading.Condition(self._lock)  # something is written, or the thread over
        self._settled = 0  # calls taken from the queue that are written, or never will be
        self._hurry = 0  # how many wait for a flush
        self._ending = threading.Event()
        self._stalled = False  # nothing can be written now, so nobody waits for it
        # How long the queue has to be for `call_finished` to do more than append.
        self._rouse_at = 1

    def call_finished(self, record: CallRecord, /) -> None:
        """Take note of a call; see `Observer`."""
        queue = self._queue
        queue.append(record)
        if len(queue) >= self._rouse_at:
            self._rouse()

    @property
    def waiting(self) -> int:
        """Calls that are not written yet."""
        return len(self._queue) + len(self._batch)

    def _rouse(self) -> None:
        if self._thread is None:
            self._start()
        if not (self._stalled or self._wake.is_set()):
            self._wake.set()
        if len(self._queue) <= self._limit:
            return
        if self._waits and not self._stalled:
            self._room.clear()
            if len(self._queue) <= self._limit or self._room.wait(PATIENCE):
                return
            self._stalled = True
        with self._lock:
            if len(self._queue) > self._limit:
                self._queue.pop()
                self.dropped += 1

    def _start(self) -> None:
        with self._lock:
            self._start_locked()

    def _start_locked(self) -> None:
        if self._thread is None:
            self._ending.clear()
            processes.began_to_write()
            self._thread = threading.Thread(target=self._run, name="cascade-ledger", daemon=True)
            self._thread.start()

    def flush(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Wait until all calls so far are written, at most so many seconds; whether they are."""
        with self._lock:
            return self._wait_written(timeout)

    def _wait_written(self, timeout: float) -> bool:
        if self._queue:  # those that an earlier close could not write
            self._start_locked()
        goal = self._settled + self.waiting
        self._hurry += 1
        self._wake.set()
        try:
            self._progress.wait_for(lambda: self._settled >= goal or self._thread is None, timeout)
        finally:
            self._hurry -= 1
        return self._settled >= goal

    def close(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Write what is left, end the thread and close the file; whether all is written.

        A call that finishes later opens it again: another engine may still use the ledger.
        """
        until = time.monotonic() + timeout
        with self._lock:
            if self._queue:
                self._start_locked()
            thread = self._thread
            self._ending.set()
            written = self._wait_written(timeout) if thread is not None else True
        if thread is not None:
            thread.join(max(0.0, until - time.monotonic()))
        return written

    async def aclose(self) -> None:
        """As `close`, without holding the loop."""
        from anyio import to_thread

        await to_thread.run_sync(self.close, abandon_on_cancel=True)

    def forked(self) -> None:
        """Begin anew in a child process: what waits is the parent's to write."""
        self.storage.renew()
        self._reset()

    def tell_unwritten(self) -> None:
        """Say how many calls the process ends without having written."""
        logs.warn("cascade.ledger_unwritten", path=str(self.path), calls=self.waiting)

    def engine_opened(self, engine: Engine, /) -> None:
        """Let the engine learn how long models take; see `EngineObserver`."""
        latencies.teach(engine, self.path)

    async def engine_closed(self, engine: Engine, /) -> None:
        """Write what waits, and keep how long models took; see `EngineObserver`."""
        from anyio import to_thread

        gains = latencies.gained(engine, self.path)
        await to_thread.run_sync(self._keep, gains, abandon_on_cancel=True)

    def _keep(self, gains: Mapping[str, ModelLatency]) -> None:
        self.flush()
        latencies.keep(self.path, gains)

    # From here on: the ledger's own thread.

    def _run(self) -> None:
        failures = 0
        while True:
            if not failures:
                self._await_records()
            try:
                self._drain()
            except BaseException as error:  # noqa: BLE001  (without this thread nothing is written)
                failures += 1
                self._fail(error, failures)
            else:
                if failures:
                    logs.warn("cascade.ledger_recovered", path=str(self.path), failures=failures)
                failures = 0
                self._stalled = False
            if self._may_end(failed=failures > 0):
                self._tell_dropped(now=True)
                return
            if failures:
                self._ending.wait(_RETRIES[min(failures, len(_RETRIES)) - 1])

    def _await_records(self) -> None:
        self._rouse_at = 1
        if not (self._queue or self._hurry or self._ending.is_set()):
            # For ever, unless there is something to tell.
            self._wake.wait(_TELL_EVERY if self.dropped > self._told_dropped else None)
        self._rouse_at = min(BATCH, self._limit + 1)
        self._wake.clear()
        # Let some more come together, for one transaction.
        if len(self._queue) < BATCH and not (self._hurry or self._ending.is_set()):
            self._wake.wait(self._linger)
            self._wake.clear()
        self._rouse_at = self._limit + 1

    def _drain(self) -> None:
        """Write all that waits, batch by batch.

        Raises:
            Exception: the database cannot be used now; the batch is kept.
        """
        while self._batch or self._queue:
            if not self._batch:
                with self._lock:
                    taken = min(BATCH, len(self._queue))
                    self._batch = [self._queue.popleft() for _ in range(taken)]
                self._room.set()
            behind = len(self._queue) > self._limit // 4
            written = self.storage.write(self._batch, breathe=not behind)
            with self._lock:
                self.written += written
                self.dropped += len(self._batch) - written
                self._settled += len(self._batch)
                self._batch = []
                self._stalled = False
                self._progress.notify_all()
            self.storage.keep_limits()
        self._tell_dropped()

    def _tell_dropped(self, *, now: bool = False) -> None:
        """Say how many were left out, and not more often than anyone can read it."""
        if self.dropped > self._told_dropped and (now or time.monotonic() >= self._tell_at):
            self._tell_at = time.monotonic() + _TELL_EVERY
            self._told_dropped = self.dropped
            logs.warn("cascade.ledger_dropped", path=str(self.path), calls=self.dropped)

    def _may_end(self, *, failed: bool) -> bool:
        """Whether the thread is over: it is to end, and all is written or cannot be."""
        with self._lock:
            if not self._ending.is_set():
                return False
            # In this order: a call that finds no thread starts one, as soon as the lock is free.
            self._thread = None
            self._rouse_at = 1
            if self._queue and not failed:
                self._thread = threading.current_thread()
                return False
            self._queue.extendleft(reversed(self._batch))  # for the thread of the next call
            self._batch = []
            self.storage.close()
            self._progress.notify_all()
            return True

    def _fail(self, error: BaseException, failures: int) -> None:
        self._stalled = True
        self.storage.close()
        if failures == 1:
            logs.warn("cascade.ledger_failed", path=str(self.path), error=str(error))


def _check(
    queue: int,
    full: str,
    flush_seconds: float,
    max_bytes: int | None,
    max_age_days: float | None,
) -> None:
    if queue < 1:
        raise ConfigError(f"queue={queue!r}: needs 1 call or more")
    if full not in ("wait", "drop"):
        raise ConfigError(f"full={full!r}: needs 'wait' or 'drop'")
    if not 0 < flush_seconds <= 1:
        raise ConfigError(f"flush_seconds={flush_seconds!r}: needs seconds above 0, at most 1")
    if max_bytes is not None and max_bytes < SMALLEST:
        raise ConfigError(f"max_bytes={max_bytes!r}: needs {SMALLEST:,} or more")
    if max_age_days is not None and not max_age_days > 0:
        raise ConfigError(f"max_age_days={max_age_days!r}: needs days above 0")
