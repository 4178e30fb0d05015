"""What the engine adds to each chunk of a streamed answer.

    python -m benchmarks.streaming [--quick] [--json] [--max-added MICROSECONDS]

A server in a process of its own streams the same answer of a thousand chunks, JSON of 9 KB, to
everyone. In this process, in turns of a few calls each, so that the machine's moods meet all alike:

bare              the ``openai:`` provider alone: builds the request, sends it, reads the stream
plain             `cascade()` over the same provider and connections: one tier, whose JSON-schema
                  prefix check looks at the answer as it comes, and the check of the whole
verified-prefix   the same as a stream to the caller, who reads the text as far as it was looked at
straight          a stream to the caller from a tier without a verifier, which releases every chunk

The figure is processor time of this process divided by the chunks, so it includes what the call
itself, the check of the whole and the caller's own loop cost. ``added`` is the difference to bare
in the same turn; its median and quartiles are over all turns. Logging is off. With ``--max-added``
the exit code is 1 when a median of ``added`` is above the limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass

from benchmarks.serving import LONG, canned_server
from benchmarks.turns import Quartiles, differences, quartiles, turn
from cascade import Call, Engine, Policy, Request, TextReleased, Tier
from cascade.providers.openai import OpenAIProvider
from cascade.release import Release
from cascade.verifiers import JsonSchema

PROMPT = "List the tickets."
TICKET = {
    "type": "object",
    "properties": {"number": {"type": "integer"}, "label": {"enum": ["billing", "technical"]}},
    "required": ["number", "label"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {"tickets": {"type": "array", "items": TICKET}},
    "required": ["tickets"],
}
CALLS = 4
"""A turn."""


@dataclass(frozen=True, slots=True)
class Row:
    """Microseconds of processor time a chunk, and those added as quartiles."""

    way: str
    a_chunk: float
    added: Quartiles


async def measure(base_url: str, turns: int) -> list[Row]:
    """Everyone in turns, against the same server and over the same connections."""
    async with Engine() as engine:
        provider = OpenAIProvider(engine, base_url=base_url)
        request = Request.of(PROMPT)
        chunks: list[str] = []
        whole = await provider.complete(Call("long", request, chunks.append))
        assert whole.text == LONG
        checked = Policy("checked", [Tier("openai:long", base_url=base_url,
                                          verify=JsonSchema(SCHEMA))])  # fmt: skip
        unchecked = Policy("unchecked", [Tier("openai:long", base_url=base_url)])

        async def bare() -> None:
            assert (await provider.complete(Call("long", request))).text == LONG

        async def plain() -> None:
            assert (await engine.run(checked, PROMPT)).text == LONG

        def stream(policy: Policy, release: Release) -> Callable[[], Awaitable[None]]:
            async def way() -> None:
                size = 0
                async with engine.stream(policy, PROMPT, release=release) as events:
                    async for event in events:
                        if isinstance(event, TextReleased):
                            size += len(event.text)
                assert size == len(LONG)

            return way

        ways = {
            "bare": bare,
            "plain": plain,
            "verified-prefix": stream(checked, "verified-prefix"),
            "straight": stream(unchecked, "accepted"),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(turns + 3):
            for name, way in ways.items():
                spent = (await turn(way, CALLS, 1)).cpu / len(chunks) * 1e6
                if number >= 3:  # the first turns open connections and warm caches
                    taken[name].append(spent)
    return [
        Row(name, quartiles(times)[1], quartiles(differences(times, taken["bare"])))
        for name, times in taken.items()
    ]


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [f"{'':<16} {'a chunk':>10}   added (quartiles)"]
    for row in rows:
        low, median, high = row.added
        added = "" if row.way == "bare" else f"   {median:.2f} µs ({low:.2f} to {high:.2f})"
        lines.append(f"{row.way:<16} {row.a_chunk:>7.2f} µs{added}")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and say by the exit code whether the limit holds."""
    parser = argparse.ArgumentParser(description="What the engine adds to each streamed chunk.")
    parser.add_argument("--quick", action="store_true", help="fewer turns, for a check")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--max-added", type=float, help="fail above this median, in microseconds")
    options = parser.parse_args()
    with canned_server() as base_url:
        rows = asyncio.run(measure(base_url, 15 if options.quick else 100))
    print(json.dumps({"rows": [asdict(row) for row in rows]}) if options.json else table(rows))
    worst = max(row.added[1] for row in rows)
    if options.max_added is not None and worst > options.max_added:
        print(f"added {worst:.2f} µs, more than {options.max_added:.2f}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
