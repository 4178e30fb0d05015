"""One thread that keeps the books of a process: callers ask and go on, it writes in groups.

While one transaction is written, what is asked meanwhile gathers, and goes into the next: under
load a transaction answers hundreds. An event loop never waits for the disk or for another process.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import closing, suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

import anyio
from msgspec import Struct

from cascade.backend import running_loop
from cascade.errors import BudgetExceededError
from cascade_policies.budget.accounts import Accounts
from cascade_policies.budget.entries import Called, Outcome, Reservation, Settlement, Wanted

FLUSH: Final = 5.0
"""Seconds that ending a keeper may take."""

LINGER: Final = 0.01
"""Seconds that settlements wait for a reservation to be written with."""

_RETRY = 0.5  # seconds until what could not be written is tried again


Answer = Reservation | BudgetExceededError


class Waiter(Struct, eq=False):
    """One who asked for a reservation, and waits for the answer.

    Attributes:
        wanted: what was asked for.
        done: set on the waiter's own event loop when there is an answer.
        loop: which loop that is.
        call_soon: has a function called there, from any thread.
        answer: the reservation, or why there is none.
        gone: nobody waits any more.
    """

    wanted: Wanted
    done: anyio.Event
    loop: Hashable
    call_soon: Callable[..., Any]
    answer: Answer | None = None
    gone: bool = False

    @classmethod
    def here(cls, wanted: Wanted) -> Waiter:
        """One in the running task."""
        loop: Any = running_loop()
        if loop is not None:
            return cls(wanted, anyio.Event(), loop, loop.call_soon_threadsafe)
        import trio

        token = trio.lowlevel.current_trio_token()
        return cls(wanted, anyio.Event(), token, token.run_sync_soon)


class _Stop(Struct, eq=False):
    """The last thing in a keeper's queue."""


class StoppedError(Exception):
    """The keeper takes no more; a new one is needed."""


Item = Waiter | Settlement | _Stop | None
"""None asks for nothing: it has what is left looked up."""


class Keeper:
    """The thread. It ends with `stop`; a daemon, so that it holds no process up.

    Args:
        open_accounts: opens the books, on the thread.
        called: gives what is to be counted at each transaction.
        tell: is told what each transaction found to be left.
    """

    def __init__(
        self,
        open_accounts: Callable[[], tuple[sqlite3.Connection, Accounts]],
        called: Callable[[], Sequence[Called]],
        tell: Callable[[Outcome], None],
    ) -> None:
        self._open = open_accounts
        self._called = called
        self._tell = tell
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._lock = threading.Lock()
        self._stopped = False
        self._unwritten: list[Settlement] = []  # and what of `called` comes with them
        self._uncounted: list[Called] = []
        self._thread = threading.Thread(target=self._run, name="cascade-budget", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Have something booked, or (None) what is left looked up.

        Raises:
            StoppedError: too late.
        """
        with self._lock:  # so that nothing comes after the last item, where nobody would see it
            if self._stopped:
                raise StoppedError
            self._queue.put(item)

    def stop(self) -> None:
        """Write what is to be written, and end the thread; at most `FLUSH` seconds."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._queue.put(_Stop())
        if threading.current_thread() is not self._thread:  # where garbage may be collected
            self._thread.join(FLUSH)

    def abandon(self, waiter: Waiter) -> Settlement | None:
        """Note that nobody waits any more; gives what is to be put to release what was granted."""
        with self._lock:
            waiter.gone = True
            answer, waiter.answer = waiter.answer, None  # or it would be released twice
        if isinstance(answer, Reservation):
            return Settlement(answer, 0, 0, attempted=False)
        return None

    # On the thread

    def _run(self) -> None:
        accounts: Accounts | None = None
        connection: sqlite3.Connection | None = None
        stopping = False
        while not stopping:
            items = self._gather()
            stopping = any(isinstance(item, _Stop) for item in items)
            waiters = [item for item in items if isinstance(item, Waiter) and not item.gone]
            self._unwritten += [item for item in items if isinstance(item, Settlement)]
            answers: Sequence[Answer]
            try:
                if accounts is None:
                    connection, accounts = self._open()
                answers = self._write(accounts, waiters)
            except Exception as error:  # noqa: BLE001  (whoever waits must be answered)
                answers = [_unkept(waiter.wanted, error) for waiter in waiters]
            self._answer(waiters, answers)
        if accounts is not None and connection is not None:
            self._finish(accounts, connection)

    def _finish(self, accounts: Accounts, connection: sqlite3.Connection) -> None:
        # What cannot be written now is found, as an orphan, when this process is gone.
        with closing(connection), suppress(sqlite3.Error):
            if self._unwritten:  # what was granted to nobody in the last moment
                self._write(accounts, ())
            accounts.leave()

    def _write(self, accounts: Accounts, waiters: Sequence[Waiter]) -> Sequence[Answer]:
        self._uncounted += self._called()
        wanted = [waiter.wanted for waiter in waiters]
        outcome = accounts.transact(self._unwritten, wanted, self._uncounted)
        self._unwritten, self._uncounted = [], []
        self._tell(outcome)
        return outcome.answers

    def _gather(self) -> list[Item]:
        """All that has been asked; waits for the first. What could not be written is due again."""
        items: list[Item] = []
        wait = _RETRY if self._unwritten else None
        while True:
            try:
                items.append(self._queue.get(timeout=wait))
                while True:
                    items.append(self._queue.get_nowait())
            except Empty:
                pass
            # Nobody waits for a settlement: it shares a transaction with the next reservation.
            if wait == LINGER or not all(isinstance(item, Settlement) for item in items):
                return items
            wait = LINGER

    def _answer(self, waiters: Sequence[Waiter], answers: Sequence[Answer]) -> None:
        """Wake each waiter on its loop, in one call a loop."""
        by_loop: dict[Hashable, list[Waiter]] = {}
        nobody = []
        with self._lock:
            for waiter, answer in zip(waiters, answers, strict=True):
                waiter.answer = answer
                if waiter.gone:
                    nobody.append(waiter)
                else:
                    by_loop.setdefault(waiter.loop, []).append(waiter)
        for group in by_loop.values():
            try:
                group[0].call_soon(_wake, group)
            except RuntimeError:  # the loop has ended, and its tasks with it
                nobody += group
        released = [self.abandon(waiter) for waiter in nobody]
        self._unwritten += [each for each in released if each is not None]


def _wake(waiters: Sequence[Waiter]) -> None:
    for waiter in waiters:
        waiter.done.set()


def _unkept(wanted: Wanted, error: Exception) -> BudgetExceededError:
    """What cannot be written down must not be spent."""
    refused = BudgetExceededError(
        f"the budget cannot be kept, so nothing may be spent: {error}", policy=wanted.task
    )
    refused.__cause__ = error
    return refused
