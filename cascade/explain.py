"""The attempts of a call as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cascade.cost import Cost
from cascade.cost import total as total_cost

if TYPE_CHECKING:
    from rich.table import Table

    from cascade.result import Attempt
    from cascade.routing import Route

WIDTH = 110
"""Columns of the plain-text table."""


def rich_table(
    attempts: Sequence[Attempt],
    *,
    total: tuple[float, Cost],
    winner: Attempt | None = None,
    route: Route | None = None,
) -> Table:
    """The table for a rich console.

    Args:
        attempts: one row each.
        total: the call's seconds and cost.
        winner: the attempt whose answer was returned.
        route: what the router said, in a row before the others.
    """
    from rich.table import Table
    from rich.text import Text

    latency, cost = total
    table = Table(show_footer=True, box=None, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("tier", footer="call", overflow="fold")
    table.add_column("what happened")
    table.add_column("why", overflow="fold", ratio=1, footer=_waste(attempts, winner))
    table.add_column("start", justify="right")
    table.add_column("time", justify="right", footer=f"{latency:.2f} s")
    table.add_column("cost", justify="right", footer=str(cost))
    if route is not None:
        table.add_row(
            "",
            "router",
            Text(_printable(f"begin at {route.start}" if route.start else "no opinion")),
            Text(_printable(route.reason)),
            "0.00 s",
            f"{route.latency:.2f} s",
            str(route.cost),
        )
    for attempt in attempts:
        table.add_row(
            str(attempt.number),
            Text(_who(attempt, attempts)),
            Text(_what(attempt, winner), style=_STYLES[attempt.outcome]),
            Text(_printable(_why(attempt))),
            f"{attempt.started:.2f} s",
            f"{attempt.latency:.2f} s",
            str(attempt.cost),
        )
    return table


def table(
    attempts: Sequence[Attempt],
    *,
    total: tuple[float, Cost],
    winner: Attempt | None = None,
    route: Route | None = None,
) -> str:
    """The same table as plain text."""
    from io import StringIO

    from rich.console import Console

    out = StringIO()
    console = Console(file=out, width=WIDTH, color_system=None, force_terminal=False)
    console.print(rich_table(attempts, total=total, winner=winner, route=route))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


_STYLES = {"accepted": "green", "rejected": "yellow", "failed": "red", "cancelled": "dim"}


def _who(attempt: Attempt, attempts: Sequence[Attempt]) -> str:
    """The tier, and the model where a tier called several."""
    several = any(a.tier == attempt.tier and a.model != attempt.model for a in attempts)
    return f"{attempt.tier}: {attempt.model}" if several else attempt.tier


def _waste(attempts: Sequence[Attempt], winner: Attempt | None) -> str:
    """What the attempts that did not win cost; nothing when that is not known, or nothing."""
    waste = total_cost(attempt.cost for attempt in attempts if attempt is not winner)
    return f"{waste} of it wasted" if waste.high and winner is not None else ""


def _what(attempt: Attempt, winner: Attempt | None) -> str:
    what: str = attempt.outcome
    if attempt.verdict is not None and attempt.verdict.outcome == "abstained":
        what = "abstained"
    if attempt.outcome == "accepted" and winner is not None and attempt is not winner:
        what = "not needed"
    return what if attempt.kind == "first" else f"{what} ({attempt.kind})"


def _why(attempt: Attempt) -> str:
    if attempt.verdict is None:
        return "not checked" if attempt.outcome == "accepted" else attempt.reason
    if attempt.verdict.outcome == "abstained":
        return attempt.verdict.reason
    if attempt.reason:
        return attempt.reason
    return "" if attempt.verdict.score is None else f"score {attempt.verdict.score:.2f}"


def _printable(text: str) -> str:
    """The text without control characters: a reason may quote what a model wrote."""
    return "".join(c if c.isprintable() else " " for c in text)
