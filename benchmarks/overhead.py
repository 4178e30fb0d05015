"""What the engine adds to a call over its own bare client.

    python -m benchmarks.overhead [--quick] [--json] [--max-added MICROSECONDS]

A server in a process of its own streams the same short answer to everyone. In this process, in
turns of a few milliseconds each, so that the machine's moods meet all alike:

bare       the ``openai:`` provider alone: builds the request, sends it, reads the stream
verified   `cascade()` over the same provider and connections: one tier, JSON-schema verified

With N calls in flight the event loop is the bottleneck, so the figure is the time of a turn divided
by its calls: what one call costs the process. ``added`` is the difference of the two in the same
turn; its median and quartiles are over all turns. Logging is off. With ``--max-added`` the exit
code is 1 when the median of ``added`` is above the limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import quantiles

from benchmarks.serving import ANSWER, canned_server
from cascade import Call, Engine, Policy, Request, Tier
from cascade.providers.openai import OpenAIProvider
from cascade.verifiers import JsonSchema

PROMPT = "Which team should answer this ticket? My card was charged twice."
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["billing", "technical"]}, "urgent": {"type": "boolean"}},
    "required": ["label", "urgent"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Row:
    """Microseconds a call at one concurrency; ``added`` as lower quartile, median, upper."""

    concurrency: int
    turns: int
    bare: float
    verified: float
    added: tuple[float, float, float]

    @property
    def ratio(self) -> float:
        """How many times the bare client's time a verified call takes."""
        return self.verified / self.bare


async def turn(call: Callable[[], Awaitable[object]], calls: int, concurrency: int) -> float:
    """Microseconds a call, with that many in flight."""
    left = calls

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    started = time.perf_counter()
    if concurrency == 1:
        await worker()
    else:
        await asyncio.gather(*(worker() for _ in range(concurrency)))
    return (time.perf_counter() - started) / calls * 1e6


async def measure(base_url: str, concurrency: int, turns: int) -> Row:
    """Bare and verified in turns, against the same server and over the same connections."""
    async with Engine() as engine:
        provider = OpenAIProvider(engine, base_url=base_url)
        request = Request.of(PROMPT)
        tier = Tier("openai:canned", base_url=base_url, verify=JsonSchema(SCHEMA))
        policy = Policy("overhead", [tier])

        async def bare() -> None:
            answer = await provider.complete(Call("canned", request))
            assert answer.text == ANSWER

        async def verified() -> None:
            result = await engine.run(policy, PROMPT)
            assert result.parsed == {"label": "billing", "urgent": False}

        calls = max(20, 2 * concurrency)
        pairs: list[tuple[float, float]] = []
        for index in range(turns + 3):
            first = await turn(bare, calls, concurrency)
            second = await turn(verified, calls, concurrency)
            if index >= 3:  # the first turns open connections and warm caches
                pairs.append((first, second))
            progress(concurrency, index + 1, turns + 3)
    low, median, high = quantiles([b - a for a, b in pairs], n=4)
    return Row(
        concurrency,
        turns,
        quantiles([a for a, _ in pairs], n=2)[0],
        quantiles([b for _, b in pairs], n=2)[0],
        (low, median, high),
    )


def progress(concurrency: int, done: int, of: int) -> None:
    """One line on a terminal, nothing in a log."""
    if sys.stderr.isatty():
        end = "\n" if done == of else ""
        print(f"\rconcurrency {concurrency}: {done}/{of}", end=end, file=sys.stderr, flush=True)


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [f"{'in flight':>9} {'bare':>10} {'verified':>10} {'ratio':>7}   added (quartiles)"]
    for row in rows:
        low, median, high = row.added
        lines.append(
            f"{row.concurrency:>9} {row.bare:>7.0f} µs {row.verified:>7.0f} µs "
            f"{row.ratio:>6.2f}x   {median:.0f} µs ({low:.0f} to {high:.0f})"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and say by the exit code whether the limit holds."""
    parser = argparse.ArgumentParser(description="What the engine adds to a call.")
    parser.add_argument("--quick", action="store_true", help="fewer turns, for a check")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--max-added", type=float, help="fail above this median, in microseconds")
    options = parser.parse_args()
    turns = 25 if options.quick else 200
    with canned_server() as base_url:
        rows = [asyncio.run(measure(base_url, n, turns)) for n in (1, 32)]
    if options.json:
        print(json.dumps({"rows": [{**asdict(row), "ratio": row.ratio} for row in rows]}))
    else:
        print(table(rows))
    worst = max(row.added[1] for row in rows)
    if options.max_added is not None and worst > options.max_added:
        print(f"added {worst:.0f} µs, more than {options.max_added:.0f}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
