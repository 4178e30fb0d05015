"""The changes that were found of tasks, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cascade_policies.drift.monitor import COST, Drift
from cascade_policies.report.markup import Markup, join, tag
from cascade_policies.report.tables import plain
from cascade_policies.report.window import moment
from cascade_policies.report.words import dollars, percent

if TYPE_CHECKING:
    from rich.table import Table

MOST: Final = 10
"""The latest so many are shown; JSON has all."""

_NAMES: Final = ("task", "drift of", "before", "now", "calls since", "told, UTC")


def drift_table(found: Sequence[Drift]) -> Table:
    """A line a change, for the terminal."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in _NAMES:
        table.add_column(name, overflow="fold", justify="right" if name in _NAMES[2:] else "left")
    for one in found[:MOST]:
        table.add_row(*_cells(one))
    return table


def drift_section(found: Sequence[Drift]) -> Markup:
    """A table of a page; nothing where nothing was found."""
    if not found:
        return join()
    head = tag("tr", *(tag("th", name, class_=_kind(name)) for name in _NAMES))
    rows = [
        tag(
            "tr",
            *(
                tag("td", cell, class_=_kind(name))
                for name, cell in zip(_NAMES, _cells(one), strict=True)
            ),
        )
        for one in found[:MOST]
    ]
    table = tag("table", tag("thead", head), tag("tbody", *rows))
    return tag("section", tag("h2", "Drift"), tag("div", table, class_="scroll"), class_="card")


def _kind(name: str) -> str | None:
    return "word" if name in _NAMES[:2] else None


def _cells(one: Drift) -> tuple[str, ...]:
    show = dollars if one.what == COST else percent
    return (
        plain(one.policy),
        one.what,
        show(one.before),
        show(one.now),
        f"{one.calls:,}",
        moment(one.at),
    )
