"""``cascade budget``."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.errors import ConfigError
from cascade_policies.commands.errors import ACCEPTED
from cascade_policies.commands.output import printable, show, working

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cascade_policies.budget.settings import BudgetSettings
    from cascade_policies.budget.standing import Line, Saving, Standing

_ALL = "all tasks"
_WORDS = {"hedges": "no hedges", "start": "start lower", "only": "only the cheapest"}


def budget(*, json: bool = False, ledger: Path | None = None) -> int:
    """What is spent, set aside and foreseen in each window, and what is being degraded.

    What processes had set aside that have died is booked first, as the project's `orphans` says.

    Parameters
    ----------
    json
        Write one JSON object instead of tables.
    ledger
        The ledger's database; by default the project's.
    """
    from cascade_policies.ledger.database import connect, connect_to_read
    from cascade_policies.project import current_project

    project = current_project()
    settings = None if project is None else project.budget
    path = _path(ledger, project)
    new = settings is not None and ledger is None and not path.exists()  # nothing is spent yet
    opened = connect(path) if new else connect_to_read(path)
    with closing(opened) as connection, working("reading"):
        try:
            standing = _read(connection, settings)
        except sqlite3.Error as error:
            raise ConfigError(f"the ledger {path}: {error}") from error
    if json:
        from cascade_policies.commands.shape import write_json

        write_json(_shape(standing, path))
    else:
        show(*_shown(standing, limited=settings is not None))
    return ACCEPTED


def _path(given: Path | None, project: Any) -> Path:
    from cascade_policies.ledger.database import ledger_path

    if given is None and project is not None:
        found: Path = project.ledger_path
        return found
    return ledger_path(given)


def _read(connection: sqlite3.Connection, given: BudgetSettings | None) -> Standing:
    from cascade_policies.budget.accounts import Accounts
    from cascade_policies.budget.settings import BudgetSettings
    from cascade_policies.budget.standing import read_standing
    from cascade_policies.ledger.database import is_writable

    settings = BudgetSettings() if given is None else given
    # Who has no settings cannot say how orphans count.
    if given is not None and is_writable(connection):
        Accounts(connection, settings).sweep()
    return read_standing(connection, settings, time.time())


def _shown(standing: Standing, *, limited: bool) -> Iterator[RenderableType]:
    from rich.table import Table

    from cascade_policies.report.fitting import Fitting

    if not limited:
        yield "no [budget] in the project file: nothing is limited\n"
    table = Table(box=None, pad_edge=False)
    table.add_column("window", no_wrap=True)
    table.add_column("task")
    for name in ("limit", "spent", "reserved", "orphans", "left", "at the end", "degraded"):
        table.add_column(name, justify="right", no_wrap=True)
    ended = None
    for line in standing.lines:
        first = line.window.kind if line.window != ended else ""
        ended = line.window
        table.add_row(first, printable(line.task) or _ALL, *_cells(line))
    yield Fitting(table, ("orphans", "degraded", "reserved", "limit"))
    yield ""
    yield from _saved(standing)
    for holding in standing.holdings:
        yield (
            f"process {holding.pid} has ${_usd(holding.amount):,.6g} set aside for "
            f"{holding.attempts} attempts in flight\n"
        )


def _cells(line: Line) -> tuple[str, ...]:
    from cascade_policies.budget.money import shown

    def amount(nanos: int | None) -> str:
        return "-" if nanos is None else shown(nanos)

    foreseen = "-"
    if line.forecast is not None:
        foreseen = shown(_cents(line.forecast.expected))
        if line.forecast.low is not None and line.forecast.high is not None:
            low, high = shown(_cents(line.forecast.low)), shown(_cents(line.forecast.high))
            foreseen += f" ({low} to {high})"
    return (
        amount(line.limit),
        shown(line.spent),
        amount(line.reserved or None),
        f"{shown(line.orphaned + line.freed)} ({line.orphans})" if line.orphans else "-",
        amount(line.left),
        foreseen,
        f"{line.degraded:,} of {line.calls:,}" if line.calls else "-",
    )


def _cents(nanos: int) -> int:
    """An estimate to three digits: more would claim too much."""
    unit: int = 10 ** max(0, len(str(abs(nanos))) - 3)
    return round(nanos / unit) * unit


def _saved(standing: Standing) -> Iterator[str]:
    if not standing.savings:
        yield "nothing is degraded\n"
    for saving in standing.savings:
        whose = printable(saving.task) or _ALL
        changes = ", ".join(_WORDS[change] for change in saving.changes) or "as they are"
        others = ""
        if saving.share < 1:
            before = ", ".join(_WORDS[change] for change in saving.before) or "as they are"
            others = f"; the others: {before}"
        yield (
            f"degraded: {saving.share:.0%} of {saving.priority} calls of {whose}: {changes}{others}"
            f" ({saving.left:.0%} left, on the pace of the window)\n"
        )


def _shape(standing: Standing, path: Path) -> dict[str, Any]:
    return {
        "ledger": str(path),
        "now": _moment(standing, standing.now),
        "timezone": str(standing.zone),
        "lines": [_line_shape(standing, line) for line in standing.lines],
        "degraded": [_saving_shape(saving) for saving in standing.savings],
        "processes": [
            {"pid": each.pid, "in_flight": each.attempts, "reserved_usd": _usd(each.amount)}
            for each in standing.holdings
        ],
    }


def _line_shape(standing: Standing, line: Line) -> dict[str, Any]:
    foreseen = line.forecast
    return {
        "task": line.task or None,
        "window": line.window.kind,
        "began": _moment(standing, line.window.began),
        "ended": _moment(standing, line.window.ended),
        "limit_usd": None if line.limit is None else _usd(line.limit),
        "spent_usd": _usd(line.spent),
        "spent_low_usd": _usd(line.least),
        "attempts": line.attempts,
        "orphans": line.orphans,
        "orphaned_usd": _usd(line.orphaned),
        "freed_usd": _usd(line.freed),
        "reserved_usd": _usd(line.reserved),
        "in_flight": line.in_flight,
        "left_usd": None if line.left is None else _usd(line.left),
        "forecast_usd": None if foreseen is None else {
            "expected": _usd(foreseen.expected),
            "low": None if foreseen.low is None else _usd(foreseen.low),
            "high": None if foreseen.high is None else _usd(foreseen.high),
        },
        "calls": line.calls,
        "degraded_calls": line.degraded,
    }  # fmt: skip


def _saving_shape(saving: Saving) -> dict[str, Any]:
    return {
        "task": saving.task or None,
        "priority": saving.priority,
        "left": saving.left,
        "share": saving.share,
        "changes": list(saving.changes),
        "otherwise": list(saving.before),
    }


def _usd(nanos: int) -> float:
    from cascade_policies.budget.money import in_usd

    return in_usd(nanos)


def _moment(standing: Standing, at: float) -> str:
    return datetime.fromtimestamp(at, standing.zone).isoformat(timespec="seconds")
