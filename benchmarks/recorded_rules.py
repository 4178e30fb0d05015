"""The rules on recorded answers: how often one rejects a right answer, and what it catches.

Part of ``python -m benchmarks.verifiers``, which says what is measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.recorded_json import AST, REQUEST, Board, Tally, calls_of, rows
from cascade import Answer, Request
from cascade.verdict import Verdict
from cascade.verifiers import (
    Finished,
    Grounded,
    Language,
    NoPlaceholder,
    NotRefusal,
    Number,
    PythonSyntax,
    ToolCalls,
)

ANY_TEXT: Mapping[str, Any] = {
    "Finished": Finished(),
    "NoPlaceholder": NoPlaceholder(),
    "NotRefusal": NotRefusal(),
}
PROSE = {**ANY_TEXT, "Language en": Language("en")}
RULES: Mapping[str, Mapping[str, Any]] = {
    "bfcl": {**ANY_TEXT, "Grounded": Grounded(form="json"), "PythonSyntax": PythonSyntax()},
    "drift": PROSE,
    "routellm": PROSE,
    "spider": ANY_TEXT,
    "zeroeval": {**PROSE, "Number": Number()},
}
"""Which rule is put to which set: where an answer that is right should pass it."""

SAMPLE = 4
"""Of this many rows `PythonSyntax` judges one, as each verdict takes a process."""


async def rules(limit: int | None) -> Board:
    """Every rule on every set where it has something to say."""
    board = Board()
    for name, checks in RULES.items():
        known: dict[tuple[str, str], Any] = {}
        for n, row in enumerate(rows(name, limit, every=True)):
            request = Request.of(row["prompt"])
            known.clear()  # equal answers to one prompt are judged once
            for model, recorded in row["models"].items():
                for rule, check in checks.items():
                    text = judged(rule, row, recorded)
                    if text is None or (rule == "PythonSyntax" and n % SAMPLE):
                        continue
                    verifier = f"{rule}, {name}"
                    if (rule, text) not in known:
                        began = time.perf_counter()
                        found = check.verify(request, Answer(text))
                        known[rule, text] = await board.timed(verifier, "all", found, began)
                    right = bool(recorded["correct"])
                    board.add(verifier, model, right, known[rule, text])
                    if rule in PROSE:
                        whole = board.tallies.setdefault((f"{rule}, all sets", "all"), Tally())
                        whole.add(right, known[rule, text])
    return board


def judged(rule: str, row: dict[str, Any], recorded: Mapping[str, Any]) -> str | None:
    """The text that a rule is put to; None where there is none for it."""
    output = recorded["output"]
    if rule == "Number":
        found: str | None = recorded["answer"]
        return found
    if rule == "Grounded":
        return arguments(row, output)
    if rule == "PythonSyntax" and row["category"] not in AST:
        return None
    if output is None:
        return ""
    return output if isinstance(output, str) else None  # native calls have no text


def arguments(row: dict[str, Any], output: Any) -> str | None:
    """The arguments of the calls that BFCL asked for, as JSON; None where nothing reads them."""
    if row["category"] not in AST:
        return None
    verdict = ToolCalls(row["functions"]).verify(REQUEST, calls_of(row, output))
    assert isinstance(verdict, Verdict)
    return json.dumps([given for _, given in verdict.parsed]) if verdict.accepted else None
