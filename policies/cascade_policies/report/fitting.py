"""Tables for terminals that are narrower than they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Column, Table

_ANY: Final = 10_000  # columns: more than any table has


class Fitting:
    """A table that leaves out columns where there is no room for all, and says which.

    Columns that may not wrap are shown whole or not at all; the others wrap between words.

    Args:
        table: the whole one.
        spare: headers in the order in which they may go; of two that are the same, the last first.
    """

    def __init__(self, table: Table, spare: Sequence[str]) -> None:
        self.table = table
        self.spare = spare

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return self.table.row_count

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """As rich asks for it."""
        from rich.text import Text

        table = copy(self.table)
        table.columns = [_whole(console, column) for column in table.columns]
        gone: list[str] = []
        for name in self.spare:
            least = console.measure(table, options=options.update(width=_ANY)).minimum
            if least <= options.max_width:
                break
            found = [i for i, column in enumerate(table.columns) if column.header == name]
            if found:
                del table.columns[found[-1]]
                gone.append(name)
        yield table
        if gone:
            yield Text(f"no room for: {', '.join(gone)}", style="dim")


def _whole(console: Console, column: Column) -> Column:
    """The column, never narrower than what is in it if it may not wrap."""
    if not column.no_wrap:
        return column
    whole = copy(column)
    whole.min_width = max(console.measure(each).maximum for each in (column.header, *column.cells))
    return whole
