"""Shows a download on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from cascade.providers.local.catalogue import Weights

Report = Callable[[int, str], None]
"""Called with the bytes in hand and where they come from, as often as there is news."""

Progress = Callable[[Weights], AbstractContextManager[Report]]
"""Entered when a download starts, left when it ends, however it ends."""


@contextmanager
def silent(_weights: Weights) -> Iterator[Report]:
    """Shows nothing."""
    yield lambda _done, _source: None


@contextmanager
def plain(weights: Weights) -> Iterator[Report]:
    """One line at the start, one each 10%, one at the end: for logs and pipes."""
    sys.stderr.write(f"downloading {weights}\n")
    shown: dict[str, int] = {}  # the last tenth of each source: the next one begins again

    def report(done: int, source: str) -> None:
        tenth = 10 * done // weights.size
        if shown.get(source, 0) < tenth < 10:
            sys.stderr.write(f"downloading {weights.name}: {10 * tenth}% from {source}\n")
            shown[source] = tenth

    yield report
    sys.stderr.write(f"downloaded {weights.name}\n")


@contextmanager
def bar(weights: Weights) -> Iterator[Report]:
    """A progress bar: for terminals."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    console.print(f"downloading {weights}", highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as display:
        task = display.add_task(weights.name, total=weights.size)
        yield lambda done, source: display.update(
            task, completed=done, description=f"{weights.name} from {source}"
        )


def on_stderr(weights: Weights) -> AbstractContextManager[Report]:
    """A bar when standard error is a terminal, else plain lines."""
    return bar(weights) if sys.stderr.isatty() else plain(weights)
