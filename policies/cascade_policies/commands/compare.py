"""``cascade compare``."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.errors import ConfigError
from cascade_policies.commands.errors import ACCEPTED
from cascade_policies.commands.output import printable, show, working

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cascade_policies.shadow.pairs import Comparison, Means


def compare(
    policy: str,
    shadow: str,
    /,
    *,
    ledger: Path | None = None,
    since: str | None = None,
    json: bool = False,
) -> int:
    """Test the difference between a policy and its shadow, on the calls that both answered.

    Parameters
    ----------
    policy
        Name of the policy that served the calls.
    shadow
        Name of the one that answered them in its shadow.
    ledger
        The ledger's database; by default the project's.
    since
        From when: 12h, 7d or 4w ago, or a date or time like 2026-01-31 (UTC). By default all.
    json
        Write one JSON object instead of a table.
    """
    from cascade_policies.ledger.database import connect, ledger_path
    from cascade_policies.report.window import Window
    from cascade_policies.shadow.pairs import compare_pairs, read_pairs, shadowed

    path = ledger_path(ledger)
    start = 0.0 if since is None else float(Window.parse(since, time.time()).since)
    with closing(connect(path, create=False)) as connection, working("reading the ledger"):
        try:
            pairs = read_pairs(connection, policy, shadow, since=start)
            known = [] if pairs else shadowed(connection)
        except sqlite3.Error as error:
            raise ConfigError(f"the ledger {path}: {error}") from error
        found = compare_pairs(pairs)
    if not pairs:
        raise ConfigError(_nothing(policy, shadow, known, since))
    if json:
        from msgspec import to_builtins

        from cascade_policies.commands.shape import write_json

        write_json({"policy": policy, "shadow": shadow, **to_builtins(found)})
    else:
        show(*_shown(policy, shadow, found))
    return ACCEPTED


def _nothing(policy: str, shadow: str, known: list[tuple[str, str]], since: str | None) -> str:
    if (policy, shadow) in known:
        return f"no call of {policy!r} has a shadow by {shadow!r} since {since}: look further back"
    if not known:
        return "the ledger has no shadows: run a Shadow beside the engine, as docs/shadow.md says"
    there = "; ".join(f"{by!r} of {its!r}" for its, by in known)
    return f"no shadow by {shadow!r} of {policy!r}: there is {there}"


def _shown(policy: str, shadow: str, found: Comparison) -> Iterator[RenderableType]:
    from rich.table import Table

    yield f"{found.pairs:,} calls that both answered"
    if found.unfinished:
        yield f"{found.unfinished:,} more that the shadow did not finish"
    yield ""
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in (printable(policy), printable(shadow), "difference", "95% interval", "p"):
        table.add_column(name, justify="right")
    if (its := found.accepted) is not None:
        table.add_row(
            "accepted", f"{its.first:.1%}", f"{its.second:.1%}", f"{100 * its.difference:+.2f} pts",
            f"{100 * its.low:+.2f} to {100 * its.high:+.2f}", _p(its.p),
        )  # fmt: skip
    table.add_row("cost a call", *_cells(found.cost, "$", ""))
    table.add_row("latency", *_cells(found.latency, "", " s"))
    agreed = found.agreement
    if agreed.share is not None:
        between = f"{agreed.low:.1%} to {agreed.high:.1%}"
        table.add_row("same answer", "", f"{agreed.share:.1%}", "", between, "")
    yield table
    yield ""
    yield from _gaps(found)


def _cells(its: Means, before: str, after: str) -> tuple[str, ...]:
    if its.first is None or its.second is None or its.difference is None:
        return "-", "-", "-", "-", "-"
    means = (f"{before}{mean:,.4g}{after}" for mean in (its.first, its.second, its.difference))
    if its.low is None or its.high is None or its.p is None:
        return *means, "-", "-"
    return *means, f"{its.low:+.4g} to {its.high:+.4g}", _p(its.p)


def _gaps(found: Comparison) -> Iterator[str]:
    """What is not compared, and why."""
    if found.cost.of < found.pairs:
        yield f"cost: of {found.cost.of:,} pairs, where that of both is known"
    if found.latency.low is None and found.pairs:
        yield "cost and latency are tested from 30 pairs on"
    if found.agreement.of < found.pairs:
        yield f"same answer: of {found.agreement.of:,} pairs, where both answered and it is kept"


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"
