"""How well `ToolCalls` and `JsonSchema` tell right answers from wrong ones, on recorded answers.

    python -m benchmarks.recorded_json [--json]

Reads the recorded data from ``$CASCADE_DATA`` (or ``../shared/data``). One line a model: the share
of its right answers that is kept and of its wrong ones that is caught, with Wilson's intervals.

BFCL       the Python-AST categories; as BFCL reads them (no fences) and with fences taken off
ZeroEval   ``{reasoning, answer}`` on GSM8K; JSON strictly, and with ``control=True``; what is
           rejected while it streams must be rejected in the end, or the run fails
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.library import wilson
from cascade import Answer, Request
from cascade.types import ToolCall
from cascade.verdict import Verdict
from cascade.verifiers import JsonSchema, ToolCalls

AST = ("simple", "multiple_function", "parallel_function", "parallel_multiple_function")
REQUEST = Request.of("a recorded prompt")
REASONED = {
    "type": "object",
    "properties": {"reasoning": {"type": "string"}, "answer": {"type": ["string", "number"]}},
    "required": ["reasoning", "answer"],
}
Counts = Counter[tuple[str, str, str]]


def rows(name: str) -> Iterator[dict[str, Any]]:
    """The rows of one recorded set."""
    folder = Path(os.environ.get("CASCADE_DATA", "../shared/data"))
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def count(counts: Counts, way: str, model: str, right: bool, verdict: object) -> None:
    """Add one verdict to the counts."""
    assert isinstance(verdict, Verdict)
    kind = ("kept" if verdict.accepted else "lost") if right else (
        "missed" if verdict.accepted else "caught")  # fmt: skip
    counts[way, model, kind] += 1


def bfcl() -> Counts:
    """Both ways over the Python-AST categories."""
    counts: Counts = Counter()
    for row in rows("bfcl"):
        if row["category"] not in AST:
            continue
        parallel = "parallel" in row["category"]
        ways = {
            "as BFCL": ToolCalls(
                row["functions"], parallel=parallel, form="python", extract="strict"
            ),
            "default": ToolCalls(row["functions"], parallel=parallel),
        }
        for model, recorded in row["models"].items():
            answer = _answer(row, recorded["output"])
            for way, verifier in ways.items():
                verdict = verifier.verify(REQUEST, answer)
                count(counts, way, model, recorded["correct"], verdict)
    return counts


def _answer(row: dict[str, Any], output: Any) -> Answer:
    if isinstance(output, str):
        return Answer(output)
    # Native calls cannot have a dot in the name, so the providers were given an underscore.
    names = {tool["name"].replace(".", "_"): tool["name"] for tool in row["functions"]}
    calls = [
        ToolCall(names.get(name, name), given if isinstance(given, str) else json.dumps(given))
        for call in output
        for name, given in call.items()
    ]
    return Answer(tool_calls=tuple(calls))


def zeroeval() -> tuple[Counts, Counter[str]]:
    """Both ways over all models, and how much of what is rejected is rejected early."""
    ways = {"default": JsonSchema(REASONED), "control": JsonSchema(REASONED, control=True)}
    counts: Counts = Counter()
    early: Counter[str] = Counter()
    for row in rows("zeroeval_gsm"):
        for model, recorded in row["models"].items():
            text = recorded["output"] or ""
            for way, verifier in ways.items():
                verdict = verifier.verify(REQUEST, Answer(text))
                count(counts, way, model, bool(recorded["correct"]), verdict)
            check = ways["default"].open_prefix()
            stopped = next(
                (at for at in range(0, len(text), 4) if check.feed(text[at : at + 4])), None
            )
            verdict = ways["default"].verify(REQUEST, Answer(text))
            assert isinstance(verdict, Verdict)
            if stopped is not None and verdict.accepted:
                raise SystemExit(f"{row['id']} {model}: rejected early, and accepted in the end")
            if not verdict.accepted:
                early["rejected"] += 1
                early["rejected early"] += stopped is not None
                early["characters"] += len(text)
                early["characters saved"] += 0 if stopped is None else len(text) - stopped
    return counts, early


def table(title: str, counts: Counts) -> str:
    """The counts for people."""
    lines = [title]
    for way, model in dict.fromkeys((way, model) for way, model, _ in sorted(counts)):
        kept, lost, caught, missed = (
            counts[way, model, kind] for kind in ("kept", "lost", "caught", "missed")
        )
        lines.append(
            f"  {way:<8} {model:<32} kept {_share(kept, kept + lost)}"
            f"   caught {_share(caught, caught + missed)}"
        )
    return "\n".join(lines)


def _share(hits: int, of: int) -> str:
    low, high = wilson(hits, of)
    return f"{hits:>4}/{of:<4} {hits / max(of, 1):>6.1%} ({low:.1%} to {high:.1%})"


def main() -> int:
    """Evaluate and print."""
    parser = argparse.ArgumentParser(description="ToolCalls and JsonSchema on recorded answers.")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    calls = bfcl()
    answers, early = zeroeval()
    if options.json:
        sets = {"bfcl": calls, "zeroeval": answers}
        found = {name: [[*key, n] for key, n in sorted(c.items())] for name, c in sets.items()}
        print(json.dumps({**found, "early": early}))
        return 0
    print(table("BFCL, Python AST: ToolCalls", calls))
    print(table("ZeroEval GSM8K: JsonSchema", answers))
    print("while streaming:", ", ".join(f"{key} {n:,}" for key, n in early.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
