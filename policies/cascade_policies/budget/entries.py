"""What goes into the books of the budget, and what comes of it. Amounts are nano-dollars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from cascade.errors import BudgetExceededError
from cascade_policies.budget.windows import Window

ALL: Final = ""
"""Stands for all tasks together where a task's name would."""


class Reservation(NamedTuple):
    """An amount that is set aside for one attempt.

    Attributes:
        holder: the holder's id in the database.
        task: for which task.
        amount: nano-dollars.
    """

    holder: int
    task: str
    amount: int


class Settlement(NamedTuple):
    """What came of a reservation: nano-dollars, and whether an attempt was made at all."""

    reservation: Reservation
    low: int
    high: int
    attempted: bool = True


class Wanted(NamedTuple):
    """A reservation that is asked for."""

    task: str
    amount: int


class Limit(NamedTuple):
    """The most that a task, or all together, may spend in a window that is now: nano-dollars."""

    task: str
    window: Window
    most: int


class Called(NamedTuple):
    """How many calls of a task were begun, and how many of them were degraded."""

    task: str
    calls: int
    degraded: int


class Outcome(NamedTuple):
    """What a transaction did.

    Attributes:
        answers: to each that was wanted, in order.
        left: for each task with a limit of its own, and for `ALL`: the least that is left of a
            window's limit, as a fraction of what would be left if it were spent evenly.
    """

    answers: Sequence[Reservation | BudgetExceededError]
    left: Mapping[str, float]
