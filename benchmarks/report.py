"""How long ``cascade report`` takes on a large ledger.

    python -m benchmarks.report [--attempts N] [--days N] [--rounds N] [--quick] [--json] [--check]

A ledger of a million attempts is made up in a temporary folder (see `ledger_data`; some 400 MB),
and the command is run as a user runs it, in a process of its own: the default table, one with
``--by day``, JSON, the HTML page, Prometheus's text and ``watch --once``, each the median of the
rounds. ``--since`` is the whole time, so that everything in the ledger is counted. Beside them
stands what the sums cost whoever writes: microseconds a call, in batches of 500, and how long it
takes to make them all anew; and what `Metrics` adds to a call on the loop's thread.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, Final

import anyio

from benchmarks.ledger_data import Written, fill
from benchmarks.limits import add_limits, exceeded
from cascade import Engine, Policy, Tier
from cascade.records import CallRecord
from cascade.testing import ScriptedModel
from cascade_policies.ledger.database import connect, transaction
from cascade_policies.report import rollups
from cascade_policies.report.metrics import Metrics

TARGETS: Final = {"table_s": 2.0, "json_s": 2.0, "html_s": 2.0, "metrics_us": 10.0}
BATCH: Final = 500


def measure(path: Path, *, attempts: int, days: float, rounds: int) -> dict[str, Any]:
    """Make the ledger and report on it."""
    with closing(connect(path)) as connection:
        written = fill(connection, attempts, until=time.time(), days=days, count=False)
        rebuilt = _rebuild(connection)
        counted = _count(connection, written)
    since = f"{int(days) + 1}d"
    commands = {
        "table_s": ["report", "--since", since],
        "by_day_s": ["report", "--since", since, "--by", "day"],
        "json_s": ["report", "--since", since, "--json"],
        "html_s": ["report", "--since", since, "--html", str(path.with_suffix(".html"))],
        "prometheus_s": ["report", "--prometheus"],
        "watch_s": ["watch", "--once"],
    }
    figures = {}
    for name, command in commands.items():
        figures[name] = median(_seconds([*command, "--ledger", str(path)]) for _ in range(rounds))
    return {
        "calls": written.calls,
        "attempts": written.attempts,
        "megabytes": path.stat().st_size / 1e6,
        "figures": {
            **figures,
            "rebuild_s": rebuilt,
            "count_us": counted,
            "metrics_us": metrics_us(),
        },
    }


def _rebuild(connection: Any) -> float:
    began = time.perf_counter()
    with transaction(connection):
        rollups.rebuild(connection)
    return time.perf_counter() - began


def _count(connection: Any, written: Written) -> float:
    """Microseconds a call to count the latest calls as a writer does; they are taken out first."""
    last = written.calls
    first = max(1, last - 20 * BATCH + 1)
    with transaction(connection):
        rollups.remove(connection, first, last)
    took = 0.0
    for start in range(first, last + 1, BATCH):
        began = time.perf_counter()
        with transaction(connection):
            rollups.add(connection, start, min(start + BATCH - 1, last))
        took += time.perf_counter() - began
    return took / (last - first + 1) * 1e6


def metrics_us(calls: int = 20_000) -> float:
    """Microseconds that `Metrics` takes for a call of one accepted attempt."""
    records: list[CallRecord] = []
    metrics = Metrics()

    class Keep:
        def call_finished(self, record: CallRecord, /) -> None:
            records.append(record)

    async def one() -> None:
        async with Engine(observers=[Keep()]) as engine:
            tier = Tier(ScriptedModel("yes"), verify=lambda answer: answer.text == "yes")
            await engine.run(Policy("p", [tier]), "a question")

    anyio.run(one)
    turns = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(calls):
            metrics.call_finished(records[0])
        turns.append((time.perf_counter() - began) / calls * 1e6)
    return min(turns)


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(  # noqa: S603  (our own command)
        [sys.executable, "-m", "cascade_policies.cli", *command], check=True, capture_output=True
    )
    return time.perf_counter() - began


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    names = {
        "table_s": "cascade report", "by_day_s": "  --by day", "json_s": "  --json",
        "html_s": "  --html FILE", "prometheus_s": "  --prometheus",
        "watch_s": "cascade watch --once", "rebuild_s": "all sums anew",
    }  # fmt: skip
    lines = [
        f"{found['attempts']:,} attempts in {found['calls']:,} calls, {found['megabytes']:.0f} MB"
    ]
    lines += [f"  {what:<22} {found['figures'][name]:7.2f} s" for name, what in names.items()]
    lines.append(f"  {'to count a call':<22} {found['figures']['count_us']:7.1f} µs")
    lines.append(f"  {'Metrics, a call':<22} {found['figures']['metrics_us']:7.1f} µs")
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--attempts", type=int, default=1_000_000)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="20,000 attempts, one round")
    parser.add_argument("--json", action="store_true")
    add_limits(parser, TARGETS)
    options = parser.parse_args()
    attempts, rounds = (20_000, 1) if options.quick else (options.attempts, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        found = measure(path, attempts=attempts, days=options.days, rounds=rounds)
    print(json.dumps(found) if options.json else table(found))
    missed = exceeded(found["figures"], options, TARGETS)
    for line in missed:
        print(line, file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
