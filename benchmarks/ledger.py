"""What the ledger costs a call, how much it can write, and what is left of it after ``kill -9``.

    python -m benchmarks.ledger [cost] [rate] [kills] [--quick] [--json] [--check]

cost    microseconds that `SqliteLedger.call_finished` takes on the loop's thread, at 1,000 calls a
        second in an asyncio loop; and how late that loop's timers are, with the ledger and without
rate    calls a second into SQLite: as many as there is room for, while the thread that hands them
        over is busy making them, with the processor time that all of it takes; then 5,000 a
        second, which must leave nothing out
kills   processes that write 1,000 calls a second, two at a time into one file, are killed with
        SIGKILL at random moments, 50 in all; then the file is opened and compared with what they
        had told

A call has a prompt of 300 characters and, one in four, a second attempt. With ``--check`` the exit
code is 1 when a target is missed: 5 µs a call (median), 5,000 calls a second, nothing lost that is
older than the flush interval, and nothing torn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.ledger_calls import call
from benchmarks.ledger_kills import Killed, kill_writers, look
from benchmarks.turns import percentile
from cascade.records import CallRecord
from cascade_policies.ledger.writer import SqliteLedger

FLUSH_SECONDS = 0.5
COST_TARGET = 5.0
RATE_TARGET = 5000.0


async def _paced(take: Callable[[CallRecord], None], rate: float, seconds: float) -> list[float]:
    """Hand over so many calls a second; how late each turn of the loop was, in seconds."""
    late: list[float] = []
    began = time.perf_counter()
    number = 0
    while (at := time.perf_counter()) < began + seconds:
        while number < (at - began) * rate:
            number += 1
            take(call(number))
        due = time.perf_counter() + 0.001
        await asyncio.sleep(0.001)
        late.append(time.perf_counter() - due)
    return late


def cost(folder: Path, seconds: float) -> dict[str, float]:
    """Microseconds on the loop's thread."""
    ledger = SqliteLedger(folder / "cost.db", flush_seconds=FLUSH_SECONDS)
    taken: list[float] = []

    def timed(record: CallRecord) -> None:
        began = time.perf_counter()
        ledger.call_finished(record)
        taken.append((time.perf_counter() - began) * 1e6)

    without = asyncio.run(_paced(lambda record: None, 1000, seconds))
    with_it = asyncio.run(_paced(timed, 1000, seconds))
    ledger.close(60)
    assert (ledger.written, ledger.dropped) == (len(taken), 0)
    return {
        "call_finished_p50_us": percentile(taken, 50),
        "call_finished_mean_us": sum(taken) / len(taken),
        "call_finished_p99_us": percentile(taken, 99),
        "late_p99_us": percentile(with_it, 99) * 1e6,
        "late_p99_without_us": percentile(without, 99) * 1e6,
    }


def rate(folder: Path, calls: int, seconds: float) -> dict[str, float]:
    """Calls a second into SQLite."""
    ledger = SqliteLedger(folder / "most.db", flush_seconds=FLUSH_SECONDS)
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(calls):
        ledger.call_finished(call(number))
    assert ledger.flush(600)
    most = ledger.written / (time.perf_counter() - began)
    cpu = (time.process_time() - cpu) / calls
    ledger.close()
    dropped = ledger.dropped
    steady = SqliteLedger(folder / "steady.db", flush_seconds=FLUSH_SECONDS, full="drop")
    asyncio.run(_paced(steady.call_finished, RATE_TARGET, seconds))
    behind = steady.waiting
    steady.close(60)
    return {
        "most_calls_a_second": most,
        "most_dropped": dropped,
        "processor_us_a_call": cpu * 1e6,
        "steady_calls": steady.written,
        "steady_dropped": steady.dropped,
        "steady_waiting_at_the_end": behind,
    }


def kills(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """What is left after so many kills."""
    path, random = folder / "kills.db", Random(seed)  # noqa: S311  (moments, no secrets)
    killed: list[Killed] = []
    while len(killed) < count:
        killed += kill_writers(path, random, flush_seconds=FLUSH_SECONDS, longest=1.5)
    return {"kills": len(killed), **asdict(look(path, killed, flush_seconds=FLUSH_SECONDS))}


def missed(found: dict[str, dict[str, Any]]) -> list[str]:
    """The targets that do not hold."""
    told = []
    if "cost" in found and found["cost"]["call_finished_p50_us"] > COST_TARGET:
        told.append(f"a call costs more than {COST_TARGET} µs")
    if "rate" in found:
        figures = found["rate"]
        if figures["most_calls_a_second"] < RATE_TARGET or figures["steady_dropped"]:
            told.append(f"fewer than {RATE_TARGET:,.0f} calls a second")
    if "kills" in found:
        figures = found["kills"]
        if figures["integrity"] != "ok" or figures["lost"] or figures["torn"]:
            told.append("kill -9 lost or tore a call, or harmed the file")
    return told


def main() -> int:
    """Measure, print, and say by the exit code whether the targets hold."""
    parser = argparse.ArgumentParser(description="What the ledger costs, writes and survives.")
    parts = ("cost", "rate", "kills")
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="by default all")
    parser.add_argument("--quick", action="store_true", help="fewer calls and kills, for a check")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--check", action="store_true", help="exit code 1 when a target is missed")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    options = parser.parse_args()
    quick = options.quick
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in options.parts or parts:
            if part == "cost":
                found[part] = cost(folder, 0.5 if quick else 10.0)
            elif part == "rate":
                found[part] = rate(folder, *((2000, 0.3) if quick else (100_000, 20.0)))
            else:
                found[part] = kills(folder, 2 if quick else 50, options.seed)
    if options.json:
        print(json.dumps(found))
    else:
        for part, figures in found.items():
            print(part)
            for key, value in figures.items():
                print(f"  {key:<28} {value if not isinstance(value, float) else f'{value:,.2f}'}")
    late = missed(found) if options.check else []
    for one in late:
        print(one, file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
