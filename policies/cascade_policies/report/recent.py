"""What happens now, for ``cascade watch``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cascade_policies.report.drift import MOST, drift_table
from cascade_policies.report.figures import Money, Report
from cascade_policies.report.queries import read_report
from cascade_policies.report.source import Source
from cascade_policies.report.tables import plain
from cascade_policies.report.window import Window
from cascade_policies.report.words import NONE, money, percent, quantiles, seconds

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

MINUTE: Final = 60.0
LATEST: Final = 10

_STYLES: Final = {"accepted": "green", "exhausted": "yellow", "deadline": "red", "error": "red"}


def now_tables(
    connection: sqlite3.Connection,
    task: str | None,
    now: float,
    *,
    since: float,
    lines: int | None = None,
) -> Iterator[RenderableType]:
    """The tasks and tiers of the hours since then, and the latest calls.

    Args:
        now: Unix time.
        since: likewise.
        lines: how many there is room for; None for any number.
    """
    report = read_report(Source(connection, Window.around(since, now), task))
    last_minute = _began_since(connection, task, now - MINUTE)
    yield f"{_clock(now)}   calls in the last minute: {last_minute:,}\n"
    table = _tasks(report)
    if report.tasks:
        yield table
        yield ""
    if report.drift:
        yield drift_table(report.drift)
        yield ""
    above = table.row_count + (min(len(report.drift), MOST) + 2 if report.drift else 0)
    yield _latest(connection, task, LATEST if lines is None else max(3, lines - above - 6))


def _tasks(report: Report) -> Table:
    """A line a task and, below it, a line a tier; narrow enough for most terminals."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("task and tiers", overflow="fold")
    for name in ("calls", "accepted", "escalated", "cost", "p50", "p95"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("most of all because of", overflow="ellipsis", no_wrap=True)
    for task in report.tasks:
        accepted = percent(task.outcomes.get("accepted", 0) / task.calls)
        times = quantiles(task.latency)[:2]
        table.add_row(
            plain(task.task), f"{task.calls:,}", accepted, percent(task.escalated.rate),
            money(task.cost), *times, "", style="bold",
        )  # fmt: skip
        for tier in task.tiers:
            accepted = percent(tier.endings.get("accepted", 0) / tier.calls)
            why = plain(tier.reasons[0].name) if tier.reasons else ""
            table.add_row(
                f"  {plain(tier.tier)}", f"{tier.calls:,}", accepted,
                percent(tier.escalation.rate), money(tier.cost), *quantiles(tier.latency)[:2], why,
            )  # fmt: skip
    return table


def _began_since(connection: sqlite3.Connection, task: str | None, since: float) -> int:
    count: int = connection.execute(
        "SELECT count(*) FROM calls WHERE began >= ?1 AND (?2 IS NULL OR policy = ?2)",
        (since, task),
    ).fetchone()[0]
    return count


def _latest(connection: sqlite3.Connection, task: str | None, calls: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("latest calls", "task", "outcome", "by"):
        table.add_column(name, overflow="fold")
    for name in ("escalations", "attempts", "latency", "cost"):
        table.add_column(name, justify="right")
    for (
        began,
        policy,
        outcome,
        tier,
        escalations,
        attempts,
        latency,
        low,
        high,
    ) in connection.execute(
        "SELECT began, policy, outcome, tier, escalations, attempts, latency_s, cost_low, "
        "cost_high FROM calls WHERE ?1 IS NULL OR policy = ?1 ORDER BY id DESC LIMIT ?2",
        (task, calls),
    ):
        table.add_row(
            _clock(began),
            plain(policy),
            Text(plain(outcome), style=_STYLES.get(outcome, "dim")),
            NONE if tier is None else plain(tier),
            str(escalations),
            str(attempts),
            seconds(latency),
            money(Money(low, high, 0)),
        )
    return table


def _clock(at: float) -> str:
    """The time of day here; of a moment that no calendar has, nothing."""
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return NONE
