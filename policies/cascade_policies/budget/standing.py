"""How the budget stands: what ``cascade budget`` shows."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import tzinfo
from typing import NamedTuple

from cascade.policy import Priority
from cascade_policies.budget.accounts import on_pace
from cascade_policies.budget.entries import ALL
from cascade_policies.budget.forecast import Forecast, forecast
from cascade_policies.budget.money import at_least
from cascade_policies.budget.settings import BudgetSettings, Change
from cascade_policies.budget.thrift import level, shares
from cascade_policies.budget.windows import KINDS, QUARTER, Window, find_zone, window


class Line(NamedTuple):
    """One task, or `ALL`, in one window. Amounts are nano-dollars.

    Attributes:
        spent: what counts against the limit: at the most what was billed.
        least: what was surely billed.
        orphaned: the part of ``spent`` that died with its process.
        freed: what died likewise and is not counted.
        reserved: set aside for attempts in flight.
        left: what may still be reserved; None without a limit.
    """

    task: str
    window: Window
    limit: int | None
    spent: int
    least: int
    attempts: int
    orphans: int
    orphaned: int
    freed: int
    reserved: int
    in_flight: int
    left: int | None
    forecast: Forecast | None
    calls: int
    degraded: int


class Saving(NamedTuple):
    """What happens to the calls of one priority now, of one task or (`ALL`) of those not named.

    Attributes:
        left: the fraction that is left, on the pace of the window that is shortest of it.
        share: the share of the calls that get ``changes``; the others get ``before``.
    """

    task: str
    priority: Priority
    left: float
    share: float
    changes: tuple[Change, ...]
    before: tuple[Change, ...]


class Holding(NamedTuple):
    """A process, and what it has set aside."""

    pid: int
    attempts: int
    amount: int


class Standing(NamedTuple):
    """The budget at one moment."""

    now: float
    zone: tzinfo
    lines: Sequence[Line]
    savings: Sequence[Saving]
    holdings: Sequence[Holding]


_SUMMED = ("attempts", "low", "high", "orphans", "orphaned", "freed", "calls", "degraded")


def read_standing(connection: sqlite3.Connection, settings: BudgetSettings, now: float) -> Standing:
    """How it stands at the Unix time ``now``."""
    zone = find_zone(settings.timezone)
    connection.execute("BEGIN")  # one moment for all that is read
    try:
        reserved, in_flight, holdings = _reserved(connection)
        lines = []
        for kind in KINDS:
            span = window(kind, now, zone)
            booked = _booked(connection, span)
            limits = {ALL: settings, **settings.tasks}
            limited = {task for task, each in limits.items() if kind in each.windows()}
            for task in sorted({ALL, *booked.sums, *reserved, *limited}):
                most = limits[task].windows().get(kind) if task in limits else None
                limit = None if most is None else at_least(most)
                line = booked.line(task, span, now, limit, reserved[task], in_flight[task])
                lines.append(line)
    finally:
        connection.execute("COMMIT")
    return Standing(now, zone, lines, _savings(lines, settings, now), holdings)


class _Booked:
    """What was booked in a window, by task and for all."""

    def __init__(self, span: Window) -> None:
        self.sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._began = span.began // QUARTER
        self._spent: defaultdict[str, Counter[int]] = defaultdict(Counter)

    def add(self, quarter: int, task: str, amounts: Sequence[int]) -> None:
        for scope in (ALL, task):
            self.sums[scope].update(dict(zip(_SUMMED, amounts, strict=True)))
            self._spent[scope][quarter] += amounts[_SUMMED.index("high")]

    def line(
        self, task: str, span: Window, now: float, limit: int | None, reserved: int, in_flight: int
    ) -> Line:
        sums = self.sums[task]
        spent = sums["high"]
        quarters = [self._spent[task][q] for q in range(self._began, int(now // QUARTER) + 1)]
        return Line(
            task=task,
            window=span,
            limit=limit,
            spent=spent,
            least=sums["low"],
            attempts=sums["attempts"],
            orphans=sums["orphans"],
            orphaned=sums["orphaned"],
            freed=sums["freed"],
            reserved=reserved,
            in_flight=in_flight,
            left=None if limit is None else max(0, limit - spent - reserved),
            forecast=forecast(span, now, spent, quarters),
            calls=sums["calls"],
            degraded=sums["degraded"],
        )


def _booked(connection: sqlite3.Connection, span: Window) -> _Booked:
    found = _Booked(span)
    rows = connection.execute(
        f"SELECT quarter, task, {', '.join(_SUMMED)} FROM budget_spent"  # noqa: S608  (our own names)
        " WHERE quarter >= ? AND quarter < ?",
        (span.began // QUARTER, span.ended // QUARTER),
    )
    for quarter, task, *amounts in rows:
        found.add(quarter, task, amounts)
    return found


def _reserved(
    connection: sqlite3.Connection,
) -> tuple[Counter[str], Counter[str], list[Holding]]:
    amounts: Counter[str] = Counter()
    attempts: Counter[str] = Counter()
    by_process: dict[int, Holding] = {}
    rows = connection.execute(
        "SELECT holder, pid, task, attempts, amount"
        " FROM budget_reserved JOIN budget_holders ON id = holder WHERE attempts > 0"
    )
    for holder, pid, task, count, amount in rows:
        for scope in (ALL, task):
            amounts[scope] += amount
            attempts[scope] += count
        before = by_process.get(holder, Holding(pid, 0, 0))
        by_process[holder] = Holding(pid, before.attempts + count, before.amount + amount)
    return amounts, attempts, sorted(by_process.values())


def _savings(lines: Sequence[Line], settings: BudgetSettings, now: float) -> list[Saving]:
    """What is degraded; nothing where everything is as it is."""
    left: dict[str, float] = {}
    for line in lines:
        if line.limit is not None and line.left is not None:
            here = on_pace(line.left / line.limit, line.window.left(now))
            left[line.task] = min(left.get(line.task, 1.0), here)
    tasks = [ALL, *(task for task in settings.tasks if task in left)]
    found = [
        _saving(settings, task, priority, min(left.get(ALL, 1.0), left.get(task, 1.0)))
        for task in tasks
        for priority in _PRIORITIES
    ]
    return [saving for saving in found if saving.before or (saving.changes and saving.share)]


_PRIORITIES: tuple[Priority, ...] = ("background", "normal")


def _saving(settings: BudgetSettings, task: str, priority: Priority, left: float) -> Saving:
    step, share = shares(level(left, settings.steps), priority)
    own = settings.tasks.get(task)

    def changes(number: int) -> tuple[Change, ...]:
        if not 0 < number <= len(settings.steps):
            return ()
        return settings.steps[number - 1].but(None if own is None else own.allow).changes

    following = changes(step + 1) if share else changes(step)
    return Saving(task, priority, left, share or 1.0, following, changes(step))
