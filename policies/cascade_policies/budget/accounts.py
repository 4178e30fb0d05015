"""The books of the budget, in SQLite: what is spent, what is set aside, by whom.

Everything here happens inside one transaction at a time, on one thread of each process. SQLite lets
one transaction write at a time on the whole machine, so what is found to be left is still left when
the reservation is written: no number of processes can spend it twice.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from cascade.errors import BudgetExceededError
from cascade_policies.budget.entries import (
    ALL,
    Called,
    Limit,
    Outcome,
    Reservation,
    Settlement,
    Wanted,
)
from cascade_policies.budget.holders import Holders
from cascade_policies.budget.money import at_least, shown
from cascade_policies.budget.settings import BudgetSettings
from cascade_policies.budget.windows import QUARTER, Window, find_zone, window
from cascade_policies.budget.writing import writing

SWEEP: Final = 1.0
"""Seconds at least between two looks for reservations of dead processes."""


class Accounts:
    """The books, as one process keeps them.

    Args:
        connection: to the ledger's database, in autocommit mode and used by nobody else.
        settings: that have been checked.
        clock: gives the Unix time.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        settings: BudgetSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._clock = clock
        self._zone = find_zone(settings.timezone)
        self._holders = Holders(connection)
        self._swept = float("-inf")
        connection.execute("PRAGMA busy_timeout = 0")  # we wait ourselves: see `_POLL`

    def limits(self, now: float) -> list[Limit]:
        """All limits of windows, as these are now."""
        scopes = {ALL: self._settings, **self._settings.tasks}
        return [
            Limit(task, window(kind, now, self._zone), at_least(most))
            for task, limits in scopes.items()
            for kind, most in limits.windows().items()
        ]

    def transact(
        self,
        settled: Sequence[Settlement] = (),
        wanted: Sequence[Wanted] = (),
        called: Sequence[Called] = (),
    ) -> Outcome:
        """Book what was settled, then set aside what is wanted as far as it goes, in that order.

        Raises:
            sqlite3.Error: nothing of it was done.
        """
        with writing(self._connection):
            now = self._clock()
            self._holders.confirm(now, needed=bool(wanted))
            if now - self._swept >= SWEEP or now < self._swept:
                self._sweep(now)
            self._settle(settled, now)
            self._count(called, now)
            limits = self.limits(now)
            spent = self._spent(limits, now)
            reserved = self._holders.reserved()
            answers = self._set_aside(wanted, limits, spent, reserved)
        return Outcome(answers, _left(limits, spent, reserved, now))

    def sweep(self) -> None:
        """Book what dead processes had reserved."""
        with writing(self._connection):
            self._sweep(self._clock())

    def leave(self) -> None:
        """Sign off, unless reservations are still to be settled."""
        with writing(self._connection):
            self._holders.leave()

    def _sweep(self, now: float) -> None:
        """Book what dead processes had reserved, and forget windows that are over."""
        self._swept = now
        charge = self._settings.orphans == "charge"
        for task, attempts, amount in self._holders.bury(now):
            self._book(
                task,
                now,
                high=amount if charge else 0,
                orphans=attempts,
                orphaned=amount if charge else 0,
                freed=0 if charge else amount,
            )
        self._connection.execute("DELETE FROM budget_windows WHERE ended <= ?", (now,))

    def _settle(self, settled: Sequence[Settlement], now: float) -> None:
        freed: Counter[str] = Counter()
        ended: Counter[str] = Counter()
        attempts: Counter[str] = Counter()
        low: Counter[str] = Counter()
        high: Counter[str] = Counter()
        for settlement in settled:
            holder, task, amount = settlement.reservation
            if self._holders.holds(holder):
                ended[task] += 1
                freed[task] += amount
            elif self._settings.orphans == "charge":
                continue  # all of it was counted when this process was taken for dead
            if settlement.attempted:
                attempts[task] += 1
                low[task] += settlement.low
                high[task] += settlement.high
        for task, count in ended.items():
            self._holders.hold(task, -count, -freed[task])
        for task, count in attempts.items():
            self._book(task, now, attempts=count, low=low[task], high=high[task])

    def _count(self, called: Sequence[Called], now: float) -> None:
        for task, calls, degraded in called:
            self._book(task, now, calls=calls, degraded=degraded)

    def _book(self, task: str, now: float, **amounts: int) -> None:
        """Add to the task's row of this quarter, and to the sums of the windows it lies in."""
        names = ", ".join(amounts)
        values = ", ".join("?" * len(amounts))
        sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in amounts)
        self._connection.execute(
            f"INSERT INTO budget_spent (quarter, task, {names}) VALUES (?, ?, {values})"  # noqa: S608  (our own names)
            f" ON CONFLICT DO UPDATE SET {sums}",
            (int(now // QUARTER), task, *amounts.values()),
        )
        if high := amounts.get("high", 0):
            self._connection.execute(
                "UPDATE budget_windows SET spent = spent + ?"
                " WHERE task IN (?, ?) AND began <= ? AND ended > ?",
                (high, task, ALL, now, now),
            )

    def _spent(self, limits: Sequence[Limit], now: float) -> dict[tuple[str, Window], int]:
        """What is spent of each limit."""
        rows = self._connection.execute(
            "SELECT task, began, ended, spent FROM budget_windows WHERE began <= ? AND ended > ?",
            (now, now),
        )
        known = {(task, began, ended): spent for task, began, ended, spent in rows.fetchall()}
        found = {}
        for task, span, _ in limits:
            key = (task, span.began, span.ended)
            found[task, span] = known[key] if key in known else self._sum_up(task, span)
        return found

    def _sum_up(self, task: str, span: Window) -> int:
        """Begin to keep the sum of a window, from what was spent in it so far."""
        (spent,) = self._connection.execute(
            "SELECT coalesce(sum(high), 0) FROM budget_spent"
            " WHERE quarter >= ? AND quarter < ? AND ? IN (task, '')",
            (span.began // QUARTER, span.ended // QUARTER, task),
        ).fetchone()
        self._connection.execute(
            "INSERT INTO budget_windows VALUES (?, ?, ?, ?)", (task, span.began, span.ended, spent)
        )
        return int(spent)

    def _set_aside(
        self,
        wanted: Sequence[Wanted],
        limits: Sequence[Limit],
        spent: Mapping[tuple[str, Window], int],
        reserved: Counter[str],
    ) -> list[Reservation | BudgetExceededError]:
        """Answer each in turn, adding to ``reserved``; then write what was granted, by task."""
        granted: Counter[str] = Counter()
        attempts: Counter[str] = Counter()
        answers = []
        for want in wanted:
            answer = self._grant(want, limits, spent, reserved)
            answers.append(answer)
            if isinstance(answer, Reservation):
                reserved[ALL] += want.amount
                reserved[want.task] += want.amount
                granted[want.task] += want.amount
                attempts[want.task] += 1
        for task, count in attempts.items():
            self._holders.hold(task, count, granted[task])
        return answers

    def _grant(
        self,
        wanted: Wanted,
        limits: Sequence[Limit],
        spent: Mapping[tuple[str, Window], int],
        reserved: Mapping[str, int],
    ) -> Reservation | BudgetExceededError:
        for task, span, most in limits:
            if task in (ALL, wanted.task):
                left = most - spent[task, span] - reserved[task]
                if wanted.amount > left:
                    return self._refusal(wanted, Limit(task, span, most), left, reserved[task])
        return Reservation(self._holders.id, *wanted)

    def _refusal(
        self, wanted: Wanted, limit: Limit, left: int, reserved: int
    ) -> BudgetExceededError:
        whose = "all tasks" if limit.task == ALL else f"task {limit.task!r}"
        budget = f"the {limit.window.kind}'s {shown(limit.most)} for {whose}"
        asked = f"an attempt may cost {shown(wanted.amount)}"
        if wanted.amount > limit.most:
            message = f"{asked}, more than all of {budget}; a lower max_tokens costs less"
        else:
            again = datetime.fromtimestamp(limit.window.ended, self._zone)
            held = f" besides {shown(reserved)} for attempts in flight" if reserved else ""
            message = (
                f"{asked}, and {shown(max(0, left))} of {budget} is left{held}; "
                f"filled again at {again.isoformat(timespec='minutes')}"
            )
        return BudgetExceededError(message, policy=wanted.task)


def _left(
    limits: Sequence[Limit],
    spent: Mapping[tuple[str, Window], int],
    reserved: Mapping[str, int],
    now: float,
) -> dict[str, float]:
    found: dict[str, float] = {}
    for task, span, most in limits:
        money = max(0, most - spent[task, span] - reserved[task]) / most
        found[task] = min(found.get(task, 1.0), on_pace(money, span.left(now)))
    return found


def on_pace(money: float, time_left: float) -> float:
    """The fraction of a limit that is left, beside the fraction of its window that is left.

    1 for spending that lasts to the end of the window if it goes on evenly; 0.5 where it must be
    halved for that.
    """
    return 1.0 if money >= time_left else money / time_left
