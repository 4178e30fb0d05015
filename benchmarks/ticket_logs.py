"""Writes a day of the support desk in the forms that ``cascade audit`` reads.

    python -m benchmarks.ticket_logs FILE [--tickets N] [--seed S] [--form requests|spans|ledger]
    cascade audit FILE

`request_log` is what a logging proxy writes, `span_log` an export of OpenTelemetry spans, and
`fill_ledger` the engine's own record. The day is that of `benchmarks.ticket_day`.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from benchmarks.ticket_day import MODEL, PROVIDER, SYSTEM, Made, made, tickets
from cascade.prices import published_price
from cascade.types import Usage
from cascade_policies.ledger.database import connect


def request_log(calls: Iterator[Made], *, named: bool = True) -> Iterator[str]:
    """JSON lines as a logging proxy writes them; without names, nothing but the prompts tells."""
    for call in calls:
        message: dict[str, Any] = {"role": "assistant", "content": call.text}
        if not isinstance(call.answer, str):
            function = {"name": "open_case", "arguments": call.text}
            message |= {"content": None, "tool_calls": [{"type": "function", "function": function}]}
        line = {
            "created": call.began,
            "latency_s": round(call.latency, 3),
            "trace_id": call.ticket.id,
            "request": {"model": f"{PROVIDER}/{MODEL}", "messages": _messages(call)},
            "response": {
                "choices": [{"index": 0, "message": message}],
                "usage": {
                    "prompt_tokens": call.input_tokens,
                    "completion_tokens": call.output_tokens,
                },
            },
        }
        if named:
            line["metadata"] = {"task": call.step.name}
        yield json.dumps(line)


def _messages(call: Made) -> list[dict[str, str]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": call.prompt}]


def span_log(calls: Iterator[Made]) -> Iterator[str]:
    """OTLP/JSON, one export a line: each model call below a span of the function that made it."""
    for number, call in enumerate(calls):
        start, end = int(call.began * 1e9), int((call.began + call.latency) * 1e9)
        part: dict[str, Any] = {"type": "text", "content": call.text}
        if not isinstance(call.answer, str):
            part = {"type": "tool_call", "name": "open_case", "arguments": call.answer}
        told = [{"role": "assistant", "parts": [part], "finish_reason": "stop"}]
        asked = [{"role": "user", "parts": [{"type": "text", "content": call.prompt}]}]
        values: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": MODEL,
            "gen_ai.system_instructions": json.dumps([{"type": "text", "content": SYSTEM}]),
            "gen_ai.input.messages": json.dumps(asked),
            "gen_ai.output.messages": json.dumps(told),
            "gen_ai.usage.input_tokens": call.input_tokens,
            "gen_ai.usage.output_tokens": call.output_tokens,
        }
        attributes = [
            {
                "key": key,
                "value": {"stringValue": v} if isinstance(v, str) else {"intValue": str(v)},
            }
            for key, v in values.items()
        ]
        span = {
            "traceId": call.ticket.id,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(end),
        }
        outer = {**span, "spanId": f"a{number}", "name": call.step.name, "attributes": []}
        inner = {**span, "spanId": f"b{number}", "parentSpanId": f"a{number}",
                 "name": f"chat {MODEL}", "attributes": attributes}  # fmt: skip
        yield json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [outer, inner]}]}]})


def fill_ledger(
    connection: sqlite3.Connection, calls: Iterator[Made], *, keep: bool = True
) -> None:
    """Calls and attempts as the engine's own ledger has them; without their texts unless kept."""
    price = published_price(PROVIDER, MODEL)
    assert price is not None
    for number, call in enumerate(calls, 1):
        cost = price.of(Usage(call.input_tokens, call.output_tokens))
        text = call.text
        if not isinstance(call.answer, str):
            text = json.dumps([{"name": "open_case", "arguments": text, "id": None}],
                              separators=(",", ":"))  # fmt: skip
        digests = [blake2b(t.encode(), digest_size=16).digest() for t in (call.prompt, text)]
        kept = (call.prompt, text) if keep else (None, None)
        connection.execute(
            "INSERT INTO calls (id, call_id, began, policy, outcome, tier, first, escalations,"
            " tiers_tried, attempts, latency_s, cost_low, cost_high, cost_basis, prompt,"
            " prompt_hash, prompt_chars, answer, answer_hash, answer_chars)"
            " VALUES (?, ?, ?, ?, 'accepted', 'only', 'only', 0, 1, 1, ?, ?, ?, 'reported',"
            " ?, ?, ?, ?, ?, ?)",
            (number, f"{number:016x}", call.began, call.step.name, call.latency, cost, cost,
             kept[0], digests[0], len(call.prompt), kept[1], digests[1], len(text)),
        )  # fmt: skip
        connection.execute(
            "INSERT INTO attempts (call, number, tier, model, member, kind, outcome, reason,"
            " started_s, waited_s, latency_s, input_tokens, output_tokens, cost_low, cost_high,"
            " cost_basis) VALUES (?, 1, 'only', ?, 0, 'first', 'accepted', '', 0, 0, ?, ?, ?, ?, ?,"
            " 'reported')",
            (number, f"{PROVIDER}:{MODEL}", call.latency, call.input_tokens, call.output_tokens,
             cost, cost),
        )  # fmt: skip
    if connection.in_transaction:
        connection.commit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a day to a file, as something to audit."""
    parser = argparse.ArgumentParser(description="Write a day of support tickets to be audited.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--tickets", type=int, default=200, help="14 calls each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--form", choices=("requests", "spans", "ledger"), default="requests")
    options = parser.parse_args(arguments)
    if options.file.exists():
        parser.error(f"{options.file} exists")
    calls = made(tickets(options.tickets, options.seed), options.seed)
    if options.form == "ledger":
        connection = connect(options.file)
        connection.execute("BEGIN")
        fill_ledger(connection, calls)
        connection.close()
        return 0
    log = span_log if options.form == "spans" else request_log
    with options.file.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in log(calls))
    return 0


if __name__ == "__main__":
    sys.exit(main())
