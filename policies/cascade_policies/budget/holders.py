"""Who holds reservations: one row a process, and what it holds by task.

What a process has reserved is one sum a task, and no row a reservation: a group of two hundred is
written as one change. Of a process that died there is no telling which of its attempts were sent
and what they cost, so its sum is all that is needed of it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from cascade_policies.budget.process import Process, alive, this_process

SILENCE: Final = 3600.0
"""Seconds of silence after which a process is taken for dead that cannot be seen from here, as from
another container. If it lives, it finds out, and `orphans = "charge"` keeps the sums right."""

_HEARD = 60.0  # seconds between two signs of life, which cost a write


class Held(NamedTuple):
    """What a process holds for a task: attempts in flight, and nano-dollars."""

    task: str
    attempts: int
    amount: int


class Holders:
    """Holders of reservations, as one of them sees them; inside a transaction of the caller's.

    Attributes:
        id: of this holder; 0 until it has reserved something.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.id = 0

    def confirm(self, now: float, *, needed: bool) -> None:
        """See that this holder is known, where it must be, and was not taken for dead."""
        process = this_process()
        row = self._connection.execute(
            "SELECT id, heard FROM budget_holders WHERE pid = ? AND started = ? AND host = ?",
            (process.pid, process.started, process.host),
        ).fetchone()
        self.id = 0 if row is None else row[0]
        if row is None:
            if needed:
                cursor = self._connection.execute(
                    "INSERT INTO budget_holders (host, pid, started, heard) VALUES (?, ?, ?, ?)",
                    (*process, now),
                )
                assert cursor.lastrowid is not None
                self.id = cursor.lastrowid
        elif abs(now - row[1]) > _HEARD:
            self._connection.execute(
                "UPDATE budget_holders SET heard = ? WHERE id = ?", (now, self.id)
            )

    def holds(self, holder: int) -> bool:
        """Whether what was set aside by that id still is: not if it was taken for dead."""
        return holder == self.id

    def hold(self, task: str, attempts: int, amount: int) -> None:
        """Add to what this holder has set aside, or take away from it."""
        self._connection.execute(
            "INSERT INTO budget_reserved VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " attempts = attempts + excluded.attempts, amount = amount + excluded.amount",
            (self.id, task, attempts, amount),
        )

    def reserved(self) -> Counter[str]:
        """What all holders have set aside, by task; under "" for all tasks together."""
        rows = self._connection.execute(
            "SELECT task, sum(amount) FROM budget_reserved GROUP BY task"
        )
        found = Counter(dict(rows.fetchall()))
        found[""] = found.total()
        return found

    def bury(self, now: float) -> Iterator[Held]:
        """Forget the holders that are dead, and give what they held."""
        rows = self._connection.execute("SELECT id, heard, host, pid, started FROM budget_holders")
        for id_, heard, *process in rows.fetchall():
            living = alive(Process(*process))
            if living or (living is None and now - heard < SILENCE):
                continue
            held = self._connection.execute(
                "SELECT task, attempts, amount FROM budget_reserved"
                " WHERE holder = ? AND attempts > 0",
                (id_,),
            )
            yield from map(Held._make, held.fetchall())
            self._connection.execute("DELETE FROM budget_reserved WHERE holder = ?", (id_,))
            self._connection.execute("DELETE FROM budget_holders WHERE id = ?", (id_,))

    def leave(self) -> None:
        """Forget this holder, if it holds nothing."""
        self._connection.execute(
            "DELETE FROM budget_holders WHERE id = ? AND NOT EXISTS"
            " (SELECT 1 FROM budget_reserved WHERE holder = id AND attempts > 0)",
            (self.id,),
        )
