"""The attempts of a call as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cascade.cost import Cost

if TYPE_CHECKING:
    from rich.table import Table

    from cascade.result import Attempt

WIDTH = 110
"""Columns of the plain-text table."""


def rich_table(attempts: Sequence[Attempt], *, total: tuple[float, Cost]) -> Table:
    """The table for a rich console; ``total`` is the call's seconds and cost."""
    from rich.table import Table
    from rich.text import Text

    latency, cost = total
    table = Table(show_footer=True, box=None, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("tier", footer="call", overflow="fold")
    table.add_column("what happened")
    table.add_column("why", overflow="fold", ratio=1)
    table.add_column("start", justify="right")
    table.add_column("time", justify="right", footer=f"{latency:.2f} s")
    table.add_column("cost", justify="right", footer=str(cost))
    for attempt in attempts:
        kind = "" if attempt.kind == "first" else f" ({attempt.kind})"
        table.add_row(
            str(attempt.number),
            Text(attempt.tier),
            Text(f"{attempt.outcome}{kind}", style=_STYLES[attempt.outcome]),
            Text(attempt.reason or _score(attempt)),
            f"{attempt.started:.2f} s",
            f"{attempt.latency:.2f} s",
            str(attempt.cost),
        )
    return table


def table(attempts: Sequence[Attempt], *, total: tuple[float, Cost]) -> str:
    """The same table as plain text."""
    from io import StringIO

    from rich.console import Console

    out = StringIO()
    console = Console(file=out, width=WIDTH, color_system=None, force_terminal=False)
    console.print(rich_table(attempts, total=total))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


_STYLES = {"accepted": "green", "rejected": "yellow", "failed": "red", "cancelled": "dim"}


def _score(attempt: Attempt) -> str:
    if attempt.verdict is None or attempt.verdict.score is None:
        return ""
    return f"score {attempt.verdict.score:.2f}"
