"""What goes to the terminal: answers on standard output, all else on standard error."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cascade.cost import Cost
    from cascade.result import Attempt

PATIENCE = 1.0
"""Seconds before long work shows that it is going on."""

# A model's text may hold escape sequences that rename a window or rewrite the screen.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """The text without control characters."""
    return text.translate(_CONTROLS)


def say(text: str) -> None:
    """Write to standard output, as it is unless a person reads it."""
    shown = printable(text) if sys.stdout.isatty() else text
    sys.stdout.write(shown if shown.endswith("\n") else f"{shown}\n")


def complain(text: str) -> None:
    """Write an error to standard error."""
    sys.stderr.write(f"cascade: {printable(text)}\n")


def show_attempts(
    attempts: Sequence[Attempt], latency: float, cost: Cost, winner: Attempt | None = None
) -> None:
    """The table of attempts, on standard error so that pipes get the answer alone."""
    from rich.console import Console

    from cascade.explain import WIDTH, rich_table

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(rich_table(attempts, total=(latency, cost), winner=winner))


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
