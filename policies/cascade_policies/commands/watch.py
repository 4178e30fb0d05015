"""``cascade watch``."""

from __future__ import annotations

import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cascade.errors import ConfigError
from cascade_policies.commands.errors import ACCEPTED
from cascade_policies.commands.output import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

_HOUR: Final = 3600.0
_LONGEST: Final = 24 * 7


def watch(
    *,
    task: str | None = None,
    hours: int = 1,
    every: float = 2.0,
    once: bool = False,
    ledger: Path | None = None,
) -> int:
    """What is going on, live: calls, escalation, cost and latency of the last hours.

    Parameters
    ----------
    task
        Only this task, or policy.
    hours
        How many hours are counted, beside the one that runs; up to 168.
    every
        Seconds between two looks.
    once
        Look once and end, for scripts.
    ledger
        The ledger's database; by default the project's.
    """
    if not 1 <= hours <= _LONGEST:
        raise ConfigError(f"--hours {hours}: give 1 to {_LONGEST}; for longer, cascade report")
    if not 0.1 <= every < float("inf"):
        raise ConfigError(f"--every {every}: give seconds, 0.1 or more")
    if not once and not sys.stdout.isatty():
        raise ConfigError("standard output is no terminal: give --once, or use cascade report")
    from cascade_policies.commands.hangup import on_hangup
    from cascade_policies.ledger.database import ledger_path
    from cascade_policies.report.opening import open_ledger, snapshot
    from cascade_policies.report.recent import now_tables

    with closing(open_ledger(ledger_path(ledger), task)) as connection:

        def look(lines: int | None = None) -> list[RenderableType]:
            now = time.time()
            with snapshot(connection):
                since = now - hours * _HOUR
                return list(now_tables(connection, task, now, since=since, lines=lines))

        if once:
            show(*look())
        else:
            # A hangup asks others to read their settings again; here every look is a new one.
            with suppress(KeyboardInterrupt), on_hangup(lambda: None):  # Ctrl-C is how one leaves
                _live(look, every)
    return ACCEPTED


def _live(look: Callable[[int], list[RenderableType]], every: float) -> None:
    """Draw again and again, until the user interrupts it."""
    from rich.console import Console, Group
    from rich.live import Live

    console = Console(highlight=False, markup=False, emoji=False)
    # What does not fit on the screen is cut off at the bottom.
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            live.update(Group(*look(console.height)), refresh=True)
            time.sleep(every)
