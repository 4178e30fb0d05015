"""What goes to the terminal: answers on standard output, all else on standard error."""

from __future__ import annotations

import codecs
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import IO, TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from cascade.cost import Cost
    from cascade.result import Attempt

PATIENCE = 1.0
"""Seconds before long work shows that it is going on."""

# A model's text may hold escape sequences that rename a window or rewrite the screen.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


UNLIMITED = 10_000
"""Columns where nobody looks at a terminal: nothing is cut or wrapped."""


class OutputError(Exception):
    """Standard output cannot be written."""


def printable(text: str) -> str:
    """The text without control characters."""
    return text.translate(_CONTROLS)


def encodable(text: str, stream: TextIO) -> str:
    r"""The text with ``\uXXXX``, as JSON has it, for each character that a stream cannot take."""
    encoding, errors = stream.encoding or "utf-8", stream.errors or "strict"
    try:
        text.encode(encoding, errors)
    except UnicodeEncodeError:
        return text.encode(encoding, _ESCAPED).decode(encoding)
    return text


def _escape(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


_ESCAPED = "cascade.escaped"
codecs.register_error(_ESCAPED, _escape)


def write(text: str) -> None:
    """Write to standard output and see that it arrives. A reader who left is no error.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        sys.stdout.write(encodable(text, sys.stdout))
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError as error:
        silence(sys.stdout)
        why = (error.strerror or type(error).__name__).lower()
        raise OutputError(f"cannot write the answer: {why}") from error


def write_error(text: str) -> None:
    """Write to standard error, if it takes anything."""
    try:
        sys.stderr.write(encodable(text, sys.stderr))
        sys.stderr.flush()
    except OSError:
        silence(sys.stderr)


def silence(stream: IO[str]) -> None:
    """Send what is left in a stream nowhere, or the interpreter would complain of it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(text: str) -> None:
    """Write to standard output, as it is unless a person reads it."""
    shown = printable(text) if sys.stdout.isatty() else text
    write(shown if shown.endswith("\n") else f"{shown}\n")


def complain(text: str) -> None:
    """Write an error to standard error."""
    write_error(f"cascade: {printable(text)}\n")


def show(*parts: RenderableType) -> None:
    """Write to standard output; text as it is, tables as wide as the terminal, if it is one."""
    console = _console(sys.stdout, UNLIMITED)
    write(_rendered(console, *parts))


def show_widest(rows: Sequence[Mapping[str, str]], *, drop: Sequence[str]) -> None:
    """A table on standard output, without the columns of ``drop`` that find no room.

    No cell is cut or wrapped: what stands there is to be typed.
    """
    console = _console(sys.stdout, UNLIMITED)
    unlimited = console.options.update(width=UNLIMITED)
    for count in range(len(drop) + 1):
        table = _table(rows, without=drop[:count])
        width = console.measure(table, options=unlimited).maximum
        if width <= console.width or count == len(drop):
            console.width = max(console.width, width)
            write(_rendered(console, table))
            return


def _table(rows: Sequence[Mapping[str, str]], *, without: Sequence[str]) -> Table:
    from rich.table import Table

    names = [name for name in rows[0] if name not in without]
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right" if name == "size" else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(row[name] for name in names))
    return table


def _console(stream: IO[str], width: int) -> Console:
    """A console that renders for ``stream``: as wide as the terminal, or else ``width`` columns.

    It does not print: rich ends the process when the reader of a pipe is gone.
    """
    from rich.console import Console

    terminal = stream.isatty()
    return Console(
        file=StringIO(),
        force_terminal=terminal,
        width=None if terminal else width,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _rendered(console: Console, *parts: RenderableType) -> str:
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    if console.is_terminal:
        return text
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def show_attempts(
    attempts: Sequence[Attempt], latency: float, cost: Cost, winner: Attempt | None = None
) -> None:
    """The table of attempts, on standard error so that pipes get the answer alone."""
    from cascade.explain import WIDTH, rich_table

    table = rich_table(attempts, total=(latency, cost), winner=winner)
    write_error(_rendered(_console(sys.stderr, WIDTH), table))


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner with the seconds gone, on a terminal and after a moment."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    progress.add_task(what, total=None)
    timer = threading.Timer(PATIENCE, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        progress.stop()
