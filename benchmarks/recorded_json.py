"""The recorded answers, what is counted on them, and the two sets whose answers are JSON or calls.

Part of ``python -m benchmarks.verifiers``, which says what is measured.
"""

from __future__ import annotations

import gzip
import inspect
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from cascade import Answer, Request
from cascade.types import ToolCall
from cascade.verdict import Verdict
from cascade.verifiers import Agreement, JsonSchema, ToolCalls

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "bfcl": "bfcl",
    "drift": "llmdrift_prime",
    "routellm": "routellm_gsm8k",
    "spider": "spider_dev",
    "zeroeval": "zeroeval_gsm",
}
REQUEST = Request.of("a recorded prompt")
AST = ("simple", "multiple_function", "parallel_function", "parallel_multiple_function")
REASONED = {
    "type": "object",
    "properties": {"reasoning": {"type": "string"}, "answer": {"type": ["string", "number"]}},
    "required": ["reasoning", "answer"],
}
GPT_4O = "gpt-4o-2024-08-06"
CHEAP = ("gemini-1.5-flash", "gpt-4o-mini-2024-07-18")


@dataclass(slots=True)
class Tally:
    """What became of right and wrong answers, and how long judging them took.

    Kept is a right answer that is not rejected, caught a wrong one that is.
    """

    kept: int = 0
    right: int = 0
    caught: int = 0
    wrong: int = 0
    abstained: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, right: bool, verdict: Verdict) -> None:
        """Count one verdict."""
        # That it cannot tell is an answer of some verifiers; that one broke is none.
        assert not verdict.code.startswith("check."), verdict.reason
        rejected = verdict.outcome == "rejected"
        self.right += right
        self.wrong += not right
        self.kept += right and not rejected
        self.caught += not right and rejected
        self.abstained += verdict.outcome == "abstained"


@dataclass(slots=True)
class Cascade:
    """Models that must agree, else a larger one."""

    rows: int = 0
    escalated: int = 0
    right: int = 0
    larger_right: int = 0


@dataclass(slots=True)
class Board:
    """All that was measured on one set."""

    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    cascades: dict[tuple[str, str], Cascade] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)

    def add(self, verifier: str, model: str, right: bool, verdict: Verdict) -> None:
        """Count one verdict for its model and for all."""
        for name in (model, "all"):
            self.tallies.setdefault((verifier, name), Tally()).add(right, verdict)

    async def timed(self, verifier: str, model: str, found: T | Awaitable[T], began: float) -> T:
        """What was found, waited for; the time since it began goes to the tally."""
        got = cast(T, await found if inspect.isawaitable(found) else found)
        took = time.perf_counter() - began
        self.tallies.setdefault((verifier, model), Tally()).seconds.append(took)
        return got

    async def agree(
        self, name: str, vote: Agreement, row: dict[str, Any], cheap: Sequence[str], larger: str
    ) -> None:
        """One question to models that must agree, else to a larger one."""
        models = row["models"]
        first = ", ".join(cheap)
        began = time.perf_counter()
        answers = [Answer(models[model]["output"] or "") for model in cheap]
        verdicts = await self.timed(name, first, vote.verify_group(REQUEST, answers), began)
        self.tallies[name, first].add(bool(models[cheap[0]]["correct"]), verdicts[0])
        accepted = [model for model, v in zip(cheap, verdicts, strict=True) if v.accepted]
        cascade = self.cascades.setdefault((name, f"{first} → {larger}"), Cascade())
        cascade.rows += 1
        cascade.escalated += not accepted
        cascade.right += bool(models[accepted[0] if accepted else larger]["correct"])
        cascade.larger_right += bool(models[larger]["correct"])


def data() -> Path:
    """The folder of the recorded data."""
    return Path(os.environ.get("CASCADE_DATA") or ROOT.parent / "shared" / "data")


def rows(name: str, limit: int | None, *, every: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of one set that count, with progress on a terminal and nothing in a log.

    Those of other languages than Python and of empty databases do not, unless ``every`` does.
    """
    done = 0
    with gzip.open(data() / f"{FILES[name]}.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            counts = row.get("category", "simple") in AST and row.get("db_populated", True)
            if not counts and not every:
                continue
            if done == limit:
                break
            yield row
            done += 1
            if sys.stderr.isatty():
                print(f"\r{name}: {done} rows", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)


async def bfcl(limit: int | None) -> Board:
    """`ToolCalls`, both ways."""
    board = Board()
    for row in rows("bfcl", limit):
        tools, parallel = row["functions"], "parallel" in row["category"]
        strict = ToolCalls(tools, parallel=parallel, form="python", extract="strict")
        ways = {"ToolCalls as BFCL": strict, "ToolCalls": ToolCalls(tools, parallel=parallel)}
        for model, recorded in row["models"].items():
            answer = calls_of(row, recorded["output"])
            for way, verifier in ways.items():
                began = time.perf_counter()
                found = verifier.verify(REQUEST, answer)
                verdict = await board.timed(way, "all", found, began)
                board.add(way, model, bool(recorded["correct"]), verdict)
    return board


def calls_of(row: dict[str, Any], output: Any) -> Answer:
    """A recorded answer: text, or native calls."""
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


async def zeroeval(limit: int | None) -> Board:
    """`JsonSchema`, both ways and streaming, and `Agreement`."""
    plain = JsonSchema(REASONED)
    ways = {"JsonSchema": plain, "JsonSchema control": JsonSchema(REASONED, control=True)}
    number = Agreement("number", field="answer", threshold=1.0)
    board = Board()
    for row in rows("zeroeval", limit):
        for model, recorded in row["models"].items():
            text = recorded["output"] or ""
            accepted: dict[str, bool] = {}
            for way, verifier in ways.items():
                began = time.perf_counter()
                found = verifier.verify(REQUEST, Answer(text))
                verdict = await board.timed(way, "all", found, began)
                board.add(way, model, bool(recorded["correct"]), verdict)
                accepted[way] = verdict.accepted
            stream(board.notes, plain, text, accepted["JsonSchema"], f"{row['id']} {model}")
        await board.agree("Agreement number", number, row, CHEAP, GPT_4O)
    return board


def stream(notes: Counter[str], verifier: JsonSchema, text: str, accepted: bool, name: str) -> None:
    """Whether what is rejected is rejected before its end."""
    check = verifier.open_prefix()
    pieces = range(0, len(text), 4)
    stopped = next((at for at in pieces if check.feed(text[at : at + 4])), None)
    if stopped is not None and accepted:
        raise SystemExit(f"{name}: rejected while it streamed, and accepted in the end")
    if not accepted:
        notes["rejected"] += 1
        notes["of these while they streamed"] += stopped is not None
        notes["characters of all rejected"] += len(text)
        notes["of these not waited for"] += 0 if stopped is None else len(text) - stopped
