"""What the engine adds to a call, beside bare clients and other people's engines.

    python -m benchmarks.overhead [added] [race] [calls] [memory] [--quick] [--json] [--plot FILE]
                                  [--check] [--max NAME=VALUE] [--max-added MICROSECONDS]

A server in a process of its own streams the same short answer to everyone. This process has the
callers, who take turns of a few milliseconds, so that the machine's moods meet all alike.

added    one tier, JSON-schema verified, over the same ``openai:`` provider called by hand, which
         builds the request, sends it and reads the stream. One call at a time, in alternation,
         without logging and with structlog rendering two JSON lines a call to the null device;
         ``p99`` is the difference of the two 99th percentiles, in blocks of 250; rounds in which
         another process was given our processor are left out. Then processor time a call with
         32 in flight at a server that answers at once, so that this process is never idle and
         all time is somebody's. And the median latency with 32 in flight at a server that holds
         each answer back for 100 to 300 ms (taken off): a process that is idle in between finds
         its caches cold and its processor asleep, which multiplies the provider's time and ours
         alike, so here the ratio says more than the difference.
race     processor time of a race of three, of which one answers and two are cancelled, over the
         same three calls raced by hand (`asyncio.wait`, then cancel), and over three that are read
         to their end one after another.
calls    everyone, with 1, 32 and 256 calls in flight: latency, processor time of this process a
         call, and that time as a multiple of the first bare client's in the same turn.
memory   how much resident memory a process of its own grows by, a call, with 256 calls in flight
         for everyone, and 5,000 for this engine.

Peers are those of ``pip install 'cascade-engine[bench]'``; who is not installed or fails is named
and left out. No peer checks the answer against a schema, so each does less than one verified tier.

With ``--max NAME=VALUE`` the exit code is 1 when that figure is greater, or was not measured;
``--check`` does so for all that were measured, with the limits in `TARGETS`. ``--max-added`` is one
for the median of the processor time added, at both concurrencies: it hardly depends on what else
the machine does. ``--quick`` leaves out the peers and most turns.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks.added import measure_added, measure_race
from benchmarks.contenders import BARE, OURS, Contender, is_right
from benchmarks.in_flight import memory
from benchmarks.limits import add_limits, exceeded
from benchmarks.overhead_report import plot, tables
from benchmarks.peers import NO_ENGINES, PEERS
from benchmarks.serving import MODEL, canned_server
from benchmarks.turns import Turn, percentile, quartiles, turn

PARTS = ("added", "race", "calls", "memory")
TARGETS = {
    "added_p50_us": 60.0,
    "added_p99_us": 250.0,
    "added_at_32_cpu_us": 100.0,
    "logged_p50_us": 120.0,
    "race_cpu_us": 350.0,
    "cpu_at_32_us": 450.0,
    "of_cheapest_peer": 1 / 15,
    "memory_kb": 30.0,
}
ROUNDS = {1: (10, 20), 32: (32, 10), 256: (256, 2)}
"""For each concurrency: calls a turn, and turns."""


async def measure_calls(
    base_url: str, contenders: Sequence[Contender], *, quick: bool
) -> dict[str, Any]:
    """Rows of latency and processor time, and who was left out and why."""
    rows: list[dict[str, Any]] = []
    left_out = {one.name: f"not installed: {one.missing}" for one in contenders if one.missing}
    for concurrency, (calls, turns) in ROUNDS.items():
        if quick and concurrency > 32:
            continue
        rounds = 2 if quick else turns
        found: dict[str, list[Turn]] = {}
        async with AsyncExitStack() as stack:
            asks = {}
            for one in contenders:
                if one.name not in left_out:
                    asks[one.name] = await stack.enter_async_context(one.open(base_url, MODEL))
            for number in range(rounds):
                for name, ask in list(asks.items()):
                    try:
                        if not await is_right(ask):
                            raise ValueError("another answer")  # noqa: TRY301  (as any failure)
                        await turn(ask, concurrency, concurrency)  # opens connections again
                        found.setdefault(name, []).append(await turn(ask, calls, concurrency))
                    except Exception as error:  # noqa: BLE001  (anyone's client, failing anyhow)
                        left_out[name] = f"failed: {type(error).__name__}: {error}"[:200]
                        asks.pop(name)
                        found.pop(name, None)
                progress(f"{concurrency} in flight", number + 1, rounds)
        rows += rows_of(concurrency, found)
    notes = {one.name: one.note for one in contenders if one.note and one.name not in left_out}
    return {"rows": rows, "left_out": left_out, "notes": notes}


def rows_of(concurrency: int, found: Mapping[str, Sequence[Turn]]) -> list[dict[str, Any]]:
    """One row for each contender; the first is the base of the ratios."""
    base = next(iter(found.values()))
    rows = []
    for name, turns in found.items():
        times = [seconds * 1e6 for taken in turns for seconds in taken.latencies]
        ratios = [taken.cpu / other.cpu for taken, other in zip(turns, base, strict=True)]
        rows.append(
            {
                "name": name,
                "concurrency": concurrency,
                "calls": len(times),
                **{f"p{share}_us": percentile(times, share) for share in (50, 90, 99)},
                "cpu_us": quartiles([taken.cpu * 1e6 for taken in turns]),
                "ratio": quartiles(ratios),
            }
        )
    return rows


def measure_memory(
    base_url: str, contenders: Sequence[Contender], *, quick: bool
) -> list[dict[str, Any]]:
    """Rows of memory a call; none where the system does not say."""
    asked = [(one, 256) for one in contenders if not one.missing]
    first = [one for one in contenders if one.name in (BARE[0].name, OURS[0].name)]
    asked = [(one, 500 if quick else 5000) for one in first if not one.missing] + (
        [] if quick else asked
    )
    rows = []
    for number, (one, count) in enumerate(asked):
        found = memory(base_url, one, count)
        if found is not None:
            rows.append({"name": one.name, "count": count, **found})
        progress("memory", number + 1, len(asked))
    return rows


def figures(found: Mapping[str, Any]) -> dict[str, float]:
    """What the limits are for, as far as it was measured."""
    figures: dict[str, float] = {}
    if "added" in found:
        one = found["added"]["one"]
        figures["added_p50_us"] = one["added"]["p50_us"][1]
        figures["added_p99_us"] = one["added"]["p99_us"][1]
        figures["added_at_32_cpu_us"] = found["added"]["busy"]["added_us"][1]
        if "logged" in one:
            figures["logged_p50_us"] = one["logged"]["p50_us"][1]
    if "race" in found:
        figures["race_cpu_us"] = found["race"]["over_by_hand_us"][1]
    if "calls" in found:
        at_32 = {
            r["name"]: r["cpu_us"][1] for r in found["calls"]["rows"] if r["concurrency"] == 32
        }
        engines = [at_32[p.name] for p in PEERS if p.name in at_32 and p.name not in NO_ENGINES]
        if OURS[0].name in at_32:
            figures["cpu_at_32_us"] = at_32[OURS[0].name]
            if engines:
                figures["of_cheapest_peer"] = at_32[OURS[0].name] / min(engines)
    for row in found.get("memory", ()):
        if row["name"] == OURS[0].name and row["count"] != 256 and row["reached"] == row["count"]:
            figures["memory_kb"] = row["kb"]
    return figures


def progress(what: str, done: int, of: int) -> None:
    """One line on a terminal, nothing in a log."""
    if sys.stderr.isatty():
        end = "\n" if done == of else ""
        print(f"\r{what}: {done}/{of}", end=end, file=sys.stderr, flush=True)


async def measure(base_url: str, parts: Sequence[str], *, quick: bool) -> dict[str, Any]:
    """All parts that share this process."""
    found: dict[str, Any] = {}
    gc.freeze()  # what was imported is not looked at again in the middle of a call
    if "added" in parts:
        found["added"] = await measure_added(base_url, quick=quick)
    if "race" in parts:
        found["race"] = await measure_race(base_url, quick=quick)
    if "calls" in parts:
        everyone = BARE + OURS if quick else BARE + PEERS + OURS
        found["calls"] = await measure_calls(base_url, everyone, quick=quick)
    return found


def main() -> int:
    """Measure, print, and say by the exit code whether the limits hold."""
    parser = argparse.ArgumentParser(description="What the engine adds to a call.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default all")
    parser.add_argument("--quick", action="store_true", help="fewer turns, no peers")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the part 'calls'")
    add_limits(parser, TARGETS)
    parser.add_argument("--max-added", type=float, help="fail above this median, in microseconds")
    options = parser.parse_args()
    parts = options.parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: give {', '.join(PARTS)}")
    load = os.getloadavg()[0]
    with canned_server() as base_url:
        found = asyncio.run(measure(base_url, parts, quick=options.quick))
        if "memory" in parts:
            everyone = BARE + OURS if options.quick else BARE + PEERS + OURS
            found["memory"] = measure_memory(base_url, everyone, quick=options.quick)
    found["machine"] = {"cores": os.cpu_count(), "load": (load, os.getloadavg()[0])}
    found["figures"] = figures(found)
    print(json.dumps(found) if options.json else tables(found, TARGETS))
    if options.plot is not None and "calls" in found:
        plot(found["calls"]["rows"], options.plot)
    late = exceeded(found["figures"], options, TARGETS)
    if options.max_added is not None:
        if "added" not in found:
            parser.error("--max-added needs the part 'added'")
        one, busy = found["added"]["one"], found["added"]["busy"]
        worst = max(one["added"]["cpu_us"][1], busy["added_us"][1])
        if worst > options.max_added:
            late.append(f"added {worst:.0f} µs, more than {options.max_added:.0f}")
    for line in late:
        print(line, file=sys.stderr)
    return int(bool(late))


if __name__ == "__main__":
    sys.exit(main())
