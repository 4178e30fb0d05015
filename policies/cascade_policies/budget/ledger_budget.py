"""The budget of an engine: in the ledger's database, shared by all processes of the machine."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Final

import anyio.to_thread

from cascade.budget import Budget
from cascade.cost import Cost
from cascade.errors import BudgetExceededError
from cascade.policy import Policy
from cascade_policies.budget.accounts import Accounts
from cascade_policies.budget.entries import Outcome, Reservation, Settlement, Wanted
from cascade_policies.budget.keeper import Item, Keeper, StoppedError, Waiter
from cascade_policies.budget.money import MOST, NANO, at_least, at_most
from cascade_policies.budget.settings import BudgetSettings, check
from cascade_policies.budget.thrift import Thrift
from cascade_policies.ledger.database import connect
from cascade_policies.ledger.workers import at_worker_end

REFRESH: Final = 1.0
"""Seconds after which what is left, as far as calls are degraded by it, is looked up again."""


class LedgerBudget(Budget):
    """A `cascade.budget.Budget` in the ledger's database.

    Amounts are set aside and booked in transactions of all processes that use the file, so that
    they cannot spend together what only one of them may; and kept when a process ends, however
    that happens. One thread a process writes; no event loop waits for it.

    One object serves any number of engines and event loops. `close` writes what is not written
    yet, as the end of the process does; the object can be used after it.

    Args:
        settings: the limits, and how to save.
        path: the database; see `cascade_policies.ledger.database.ledger_path`.
        clock: gives the Unix time in seconds.

    Raises:
        ConfigError: the settings make no sense, or the database cannot be used.
    """

    def __init__(
        self,
        settings: BudgetSettings,
        *,
        path: Path | str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check(settings)
        connect(path).close()  # a mistake shows now, and not in the first call
        self.path = Path(path)
        self.settings = settings
        self._thrift = Thrift(settings)
        self._stale_at = 0.0
        self._desk = _Desk(self.path, settings, clock, self._thrift)
        self._end = weakref.finalize(self, self._desk.close)  # at the end of the process, too

    def adapt(self, policy: Policy, /) -> Policy:
        """The policy, or the variant that what is left allows; always the same object for one."""
        if not self.settings.steps or policy.priority == "critical":
            return policy
        if time.monotonic() > self._stale_at:
            self._stale_at = time.monotonic() + REFRESH
            self._put(None)
        return self._thrift.choose(policy)

    def per_call(self, policy: str, /) -> float | None:
        """US dollars that one call of the policy may cost; None for no limit."""
        return self.settings.per_call_of(policy)

    async def reserve(self, policy: str, amount: float, /) -> Reservation:
        """Set the amount aside, for an attempt of a policy of that name.

        Raises:
            BudgetExceededError: a limit does not leave that much; or the database cannot be
                written, as nothing may be spent that cannot be booked.
        """
        if not 0 <= amount < MOST / NANO:
            raise BudgetExceededError(
                f"an attempt that may cost ${amount:g} fits no budget", policy=policy
            )
        waiter = Waiter.here(Wanted(policy, at_most(amount)))
        keeper = self._put(waiter)
        try:
            await waiter.done.wait()
        except BaseException:
            if (release := keeper.abandon(waiter)) is not None:
                self._put(release)
            raise
        assert waiter.answer is not None
        if isinstance(waiter.answer, BudgetExceededError):
            raise waiter.answer
        return waiter.answer

    def settle(self, reservation: Hashable, cost: Cost, /) -> None:
        """Book what the attempt cost; an unknown cost as the whole reservation."""
        assert isinstance(reservation, Reservation)
        known = cost.low is not None and cost.high is not None
        low = at_least(cost.low) if known and cost.low is not None else 0
        high = at_most(cost.high) if known and cost.high is not None else reservation.amount
        self._put(Settlement(reservation, low, high))

    def close(self) -> None:
        """Write what is not written yet, and end the thread; takes milliseconds."""
        self._desk.close()

    async def aclose(self) -> None:
        """As `close`, without holding up the event loop."""
        await anyio.to_thread.run_sync(self.close)

    def _put(self, item: Item) -> Keeper:
        while True:
            keeper = self._desk.keeper()
            try:
                keeper.put(item)
            except StoppedError:  # closed in this very moment: a new one keeps the books
                continue
            return keeper


class _Desk:
    """Where the keeper of this process is; it does not hold the budget, so that that can go."""

    def __init__(
        self, path: Path, settings: BudgetSettings, clock: Callable[[], float], thrift: Thrift
    ) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._thrift = thrift
        self._lock = threading.RLock()  # a garbage collection may close it within `pause`
        self._keeper: Keeper | None = None
        _desks.add(self)

    def keeper(self) -> Keeper:
        """The one that runs; begun when it is first needed."""
        keeper = self._keeper
        if keeper is None:
            with self._lock:
                keeper = self._keeper
                if keeper is None:
                    keeper = Keeper(self._open, self._thrift.called, self._tell)
                    self._keeper = keeper
                    at_worker_end(_close)
        return keeper

    def close(self) -> None:
        """End it, if there is one."""
        with self._lock:
            keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.stop()

    def pause(self) -> None:
        """End the keeper, and keep it so until `resume`: the process is about to fork."""
        self.close()  # first, as its thread may still come to need the lock
        self._lock.acquire()
        self.close()

    def resume(self) -> None:
        """Go on after a fork, in the process that forked."""
        self._lock.release()

    def renew(self) -> None:
        """Go on after a fork, in the child."""
        self._lock = threading.RLock()

    def _open(self) -> tuple[sqlite3.Connection, Accounts]:
        connection = connect(self._path)
        return connection, Accounts(connection, self._settings, self._clock)

    def _tell(self, found: Outcome) -> None:
        self._thrift.tell(found.left)


_desks: weakref.WeakSet[_Desk] = weakref.WeakSet()
_paused: list[_Desk] = []


def _close() -> None:
    for desk in list(_desks):
        desk.close()


def _before_fork() -> None:
    _paused[:] = _desks
    for desk in _paused:
        desk.pause()


def _after_fork_in_parent() -> None:
    for desk in _paused:
        desk.resume()
    _paused.clear()


def _after_fork_in_child() -> None:
    for desk in _paused:
        desk.renew()
    _paused.clear()


if hasattr(os, "register_at_fork"):
    # A child that came with an open database would take its parent's locks for its own: SQLite
    # keeps them by process. Both begin anew with what they need.
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
