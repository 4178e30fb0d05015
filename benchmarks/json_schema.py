"""What `JsonSchema` costs beside its peers, and while an answer streams.

    python -m benchmarks.json_schema [--quick] [--json] [--check] [--max-ratio X]

An order of 1.3 KB, and one of 26 KB for the stream, against one schema. In one process and in
turns, so that the machine's moods meet all alike; the figure is the median over the turns.

cascade        `JsonSchema.verify`: finds the JSON, parses it within bounds, checks it
jsonschema-rs  ``json.loads`` and the compiled validator
jsonschema     ``json.loads`` and the compiled validator of the reference
validate()     ``json.loads`` and `jsonschema.validate`, as its tutorial has it
stream         `JsonSchema.open_prefix` fed the 26 KB in chunks of 4 characters, to the end
feed only      the same feeding, into a list: what the loop itself costs

Before the timing, all must agree on the documents and on a broken one. With ``--check`` the exit
code is 1 where the small document takes over 25 µs or the stream over 5 ms, which depends on the
machine and what else it does; with ``--max-ratio`` where `JsonSchema` takes more than so many times
as long as jsonschema-rs, which does not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from statistics import median
from typing import Any

import jsonschema_rs

from cascade import Answer, Request
from cascade.verdict import Verdict
from cascade.verifiers import JsonSchema

SMALL_LIMIT, STREAM_LIMIT = 25.0, 5_000.0
REQUEST = Request.of("the order as JSON")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "order": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"},
        "currency": {"enum": ["EUR", "GBP", "USD"]},
        "customer": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 100},
                "city": {"type": "string"},
                "since": {"type": "integer", "minimum": 1990, "maximum": 2100},
            },
            "required": ["name", "city"],
            "additionalProperties": False,
        },
        "lines": {
            "type": "array",
            "maxItems": 1000,
            "items": {
                "type": "object",
                "properties": {
                    "sku": {"type": "string", "pattern": "^[a-z]+-[0-9]+$"},
                    "text": {"type": "string", "maxLength": 200},
                    "count": {"type": "integer", "minimum": 1},
                    "price": {"type": "number", "minimum": 0},
                    "gift": {"type": "boolean"},
                },
                "required": ["sku", "count", "price"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["order", "currency", "customer", "lines"],
    "additionalProperties": False,
}


def document(lines: int) -> str:
    """An order with so many lines, as a model writes it."""
    order = {
        "order": "AB-20931",
        "currency": "EUR",
        "customer": {"name": "Ada Lovelace", "city": "London", "since": 1998},
        "lines": [
            {
                "sku": f"part-{number}",
                "text": "a part with a description, 12 mm, watertight",
                "count": number % 7 + 1,
                "price": number * 1.25 + 0.5,
                "gift": number % 2 == 0,
            }
            for number in range(lines)
        ],
    }
    return json.dumps(order)


def sized(characters: int) -> str:
    """The longest order within so many characters."""
    lines = 1
    while len(document(lines + 1)) <= characters:
        lines += 1
    return document(lines)


def candidates(text: str) -> dict[str, Callable[[], bool]]:
    """Ways to say whether a document fits."""
    ours = JsonSchema(SCHEMA)
    rust = jsonschema_rs.validator_for(SCHEMA)
    reference = import_module("jsonschema").Draft202012Validator(SCHEMA)
    answer = Answer(text)

    def cascade() -> bool:
        found = ours.verify(REQUEST, answer)
        return isinstance(found, Verdict) and found.accepted

    return {
        "cascade": cascade,
        "jsonschema-rs": lambda: rust.is_valid(json.loads(text)),
        "jsonschema": lambda: bool(reference.is_valid(json.loads(text))),
        "validate()": lambda: _validates(text),
    }


def _validates(text: str) -> bool:
    jsonschema = import_module("jsonschema")
    try:
        jsonschema.validate(json.loads(text), SCHEMA)
    except jsonschema.ValidationError:
        return False
    return True


def stream(text: str) -> dict[str, Callable[[], bool]]:
    """Ways to read a document in chunks of 4 characters; whether it is still in the running."""
    ours = JsonSchema(SCHEMA, extract="strict")
    chunks = [text[at : at + 4] for at in range(0, len(text), 4)]

    def watched() -> bool:
        check = ours.open_prefix()
        return all(check.feed(chunk) is None for chunk in chunks)

    def gathered() -> bool:
        parts: list[str] = []
        return all(parts.append(chunk) is None for chunk in chunks)  # type: ignore[func-returns-value]

    watched()  # compiles the schema of beginnings, once
    return {"stream": watched, "feed only": gathered}


def microseconds(ways: dict[str, Callable[[], bool]], turns: int) -> dict[str, float]:
    """The median time of each, in turns of some milliseconds."""
    calls = {}
    for name, way in ways.items():
        began = time.perf_counter()
        way()
        calls[name] = max(1, int(0.003 / (time.perf_counter() - began + 1e-9)))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            began = time.perf_counter()
            for _ in range(calls[name]):
                way()
            times[name].append((time.perf_counter() - began) / calls[name] * 1e6)
    return {name: median(found) for name, found in times.items()}


def agree() -> None:
    """Refuse to time what does not do the same work."""
    good, bad = sized(1300), sized(1300).replace('"EUR"', '"ECU"')
    for text, fits in ((good, True), (bad, False)):
        for name, way in candidates(text).items():
            if way() is not fits:
                raise SystemExit(f"{name} finds otherwise: no timing")
    ways = stream(sized(26_000))
    if not ways["stream"]() or stream(sized(26_000).replace('"EUR"', '"ECU"'))["stream"]():
        raise SystemExit("the stream finds otherwise: no timing")


def main() -> int:
    """Measure, print, and say by the exit code whether the limits hold."""
    parser = argparse.ArgumentParser(description="What JsonSchema costs.")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--check", action="store_true", help="fail where a limit is exceeded")
    parser.add_argument("--max-ratio", type=float, help="fail above this of jsonschema-rs")
    options = parser.parse_args()
    agree()
    turns = 15 if options.quick else 100
    small, large = sized(1300), sized(26_000)
    found = {
        f"valid, {len(small):,} characters": microseconds(candidates(small), turns),
        f"stream of {len(large):,} characters": microseconds(stream(large), turns),
    }
    if options.json:
        print(json.dumps(found))
    else:
        print(table(found))
    one, streamed = found.values()
    late = one["cascade"] > SMALL_LIMIT or streamed["stream"] > STREAM_LIMIT
    if late:
        limits = f"{SMALL_LIMIT:.0f} µs, or {STREAM_LIMIT:,.0f} µs for the stream"
        print(f"over {limits}", file=sys.stderr)
    ratio = one["cascade"] / one["jsonschema-rs"]
    slow = options.max_ratio is not None and ratio > options.max_ratio
    if slow:
        print(f"{ratio:.2f} times jsonschema-rs, over {options.max_ratio:g}", file=sys.stderr)
    return int(slow or (options.check and late))


def table(found: dict[str, dict[str, float]]) -> str:
    """The figures for people: each beside the first of its group."""
    lines = []
    for group, times in found.items():
        first = next(iter(times.values()))
        lines.append(group)
        lines.extend(
            f"  {name:<14} {took:>9,.1f} µs {took / first:>8.2f}x" for name, took in times.items()
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
