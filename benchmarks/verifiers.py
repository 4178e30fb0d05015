"""How well verifiers tell right answers from wrong ones, on recorded answers of real models.

    python -m benchmarks.verifiers [bfcl] [zeroeval] [spider] [rules] [--json] [--limit N]

Reads the recorded data at ``$CASCADE_DATA`` (by default ``../shared/data`` from the project's
root); without them the exit code is 2. No model is called. One line a verifier and model: the rows
judged, the share of right answers kept (not rejected) and of wrong ones caught (rejected), each
with its 95% Wilson interval, and the share of all that it abstains on, if any; ``all`` is all
models together, whose answers to one prompt are not independent. ``ms`` is the median time of
a verdict, with one at a time and warm worker processes.

bfcl       `ToolCalls` on the Python-AST categories: as BFCL reads calls (no code fences), and as by
           default
zeroeval   `JsonSchema` on ``{reasoning, answer}``, by default and with ``control=True``, and how
           much of what it rejects is rejected while it streams (a rejection that the whole answer
           does not get fails the run); `Agreement` of two models
spider     `Sql`: every rung, of which those from ``explain`` on are without ``catalogue``, on the
           databases that have rows; equal queries are judged once. `Agreement` of CodeS models
rules      `Finished`, `NoPlaceholder` and `NotRefusal` on all answers of all sets; `Language` where
           they are prose, `Number` on ZeroEval's ``answer``, `PythonSyntax` on one in four rows
           of BFCL's Python calls, `Grounded` on the arguments of those that `ToolCalls` accepts.
           Models of which a rule rejects nothing are in ``--json`` only

`Agreement` is also measured as a cascade: the first answer that it accepts is the answer, and a
question where it accepts none goes to a larger model (escalated). Its kept and caught are of the
first model's answers. ``--limit`` takes the first rows of each set only, for a check.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import anyio

from benchmarks.library import wilson
from benchmarks.recorded_json import FILES, REQUEST, Board, Tally, bfcl, data, rows, zeroeval
from benchmarks.recorded_rules import RULES, rules
from cascade import Answer
from cascade.verdict import Verdict
from cascade.verifiers import Agreement, Sql

RUNGS = ("parse", "catalogue", "explain", "execute", "not_empty")
CODES = ("codes-1b", "codes-3b", "codes-7b")
DAIL = "DAIL-SQL_GPT-4_SC"


async def spider(limit: int | None) -> Board:
    """`Sql`, rung by rung, and `Agreement`."""
    board = Board()
    checks: dict[str, dict[str, Sql]] = {}
    votes: dict[str, list[tuple[str, Agreement, Sequence[str]]]] = {}
    known: dict[tuple[str, str, str], Verdict] = {}
    for row in rows("spider", limit):
        db = row["db_id"]
        if db not in checks:
            path = data() / "spider_dbs" / f"{db}.sqlite"
            checks[db] = {rung: sql(rung, path) for rung in RUNGS}
            whole = Agreement("sql", database=path, threshold=1.0)
            rich = Agreement("sql", database=path, threshold=1.0, not_empty=True)
            loose = Agreement("sql", database=path, threshold=1.0, columns="any")
            ast = Agreement("sql_ast", dialect="sqlite", threshold=1.0)
            most = Agreement("sql", database=path, threshold=0.6)
            votes[db] = [
                ("Agreement sql", whole, CODES[:2]),
                ("Agreement sql, not_empty", rich, CODES[:2]),
                ("Agreement sql, columns=any", loose, CODES[:2]),
                ("Agreement sql_ast", ast, CODES[:2]),
                ("Agreement sql, 2 of 3", most, CODES),
            ]
        for rung, check in checks[db].items():
            for model, recorded in row["models"].items():
                key = (rung, db, recorded["output"])
                if key not in known:
                    began = time.perf_counter()
                    found = check.verify(REQUEST, Answer(recorded["output"]))
                    known[key] = await board.timed(f"Sql {rung}", "all", found, began)
                board.add(f"Sql {rung}", model, bool(recorded["correct"]), known[key])
                if rung == "catalogue":
                    ran = "SQLite refuses" if recorded["exec"] == "error" else "SQLite runs"
                    board.notes[ran] += 1
                    board.notes[f"{ran}, catalogue rejects"] += not known[key].accepted
        for name, vote, cheap in votes[db]:
            await board.agree(name, vote, row, cheap, DAIL)
    return board


SETS = {"bfcl": bfcl, "zeroeval": zeroeval, "spider": spider, "rules": rules}


def sql(rung: str, path: Path) -> Sql:
    """One rung of the ladder."""
    if rung == "parse":
        return Sql("sqlite")
    if rung == "catalogue":
        return Sql("sqlite", catalogue=path)
    run, rows_wanted = rung != "explain", rung == "not_empty"
    return Sql("sqlite", database=path, explain=not run, execute=run, not_empty=rows_wanted)


def share(hits: int, of: int) -> dict[str, Any]:
    """A share of the rows and its 95% Wilson interval; no share of nothing."""
    return {
        "hits": hits,
        "of": of,
        "share": hits / of if of else None,
        "interval": wilson(hits, of),
    }


def summary(board: Board) -> dict[str, Any]:
    """One set for programs."""
    order = list(dict.fromkeys(verifier for verifier, _ in board.tallies))

    def place(item: tuple[tuple[str, str], Tally]) -> tuple[int, bool, str]:
        (verifier, model), _ = item
        return order.index(verifier), model == "all", model

    return {
        "verifiers": [
            {
                "verifier": verifier,
                "model": model,
                "rows": tally.right + tally.wrong,
                "kept": share(tally.kept, tally.right),
                "caught": share(tally.caught, tally.wrong),
                "abstained": share(tally.abstained, tally.right + tally.wrong),
                "ms": median(tally.seconds) * 1e3 if tally.seconds else None,
            }
            for (verifier, model), tally in sorted(board.tallies.items(), key=place)
        ],
        "cascades": [
            {
                "verifier": verifier,
                "models": models,
                "rows": cascade.rows,
                "escalated": share(cascade.escalated, cascade.rows),
                "right": share(cascade.right, cascade.rows),
                "larger_alone": share(cascade.larger_right, cascade.rows),
            }
            for (verifier, models), cascade in board.cascades.items()
        ],
        "notes": dict(board.notes),
    }


def table(name: str, found: dict[str, Any]) -> str:
    """One set for people."""
    lines = [f"{name}\n  {'verifier':<27} {'model':<40} {'rows':>6}  {'kept':<33} caught"]
    for row in found["verifiers"]:
        if name == "rules" and row["model"] != "all" and not rejections(row):
            continue
        ms = "" if row["ms"] is None else f"  {row['ms']:.3f} ms"
        unsure = f"  abstains {cell(row['abstained'])}" if row["abstained"]["hits"] else ""
        lines.append(
            f"  {row['verifier']:<27} {row['model']:<40} {row['rows']:>6}  "
            f"{cell(row['kept']):<33} {cell(row['caught'])}{unsure}{ms}"
        )
    for row in found["cascades"]:
        lines.append(f"  {row['verifier']}, {row['models']}: {row['rows']} rows")
        for what in ("escalated", "right", "larger_alone"):
            lines.append(f"    {what.replace('_', ' '):<13} {cell(row[what])}")
    lines += [f"  {what}: {n:,}" for what, n in found["notes"].items()]
    return "\n".join(lines)


def rejections(row: dict[str, Any]) -> int:
    """How many answers a verifier rejects."""
    kept, caught = row["kept"], row["caught"]
    return int(kept["of"] - kept["hits"] + caught["hits"])


def cell(found: dict[str, Any]) -> str:
    """A share as text."""
    if found["share"] is None:
        return "none"
    low, high = found["interval"]
    return f"{found['hits']}/{found['of']} {found['share']:.1%} ({low:.1%} to {high:.1%})"


def main() -> int:
    """Measure and print; 2 when there are no recorded data."""
    parser = argparse.ArgumentParser(description="Verifiers on recorded answers.")
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{', '.join(SETS)}; default all")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--limit", type=int, help="the first rows of each set only, for a check")
    options = parser.parse_args()
    sets = options.sets or list(SETS)
    if unknown := set(sets) - set(SETS):
        parser.error(f"no set {', '.join(sorted(unknown))}: give {', '.join(SETS)}")
    if options.limit is not None and options.limit < 1:
        parser.error("--limit needs a number above 0")
    files = [file for name in sets for file in (RULES if name == "rules" else (name,))]
    needed = [data() / f"{FILES[file]}.jsonl.gz" for file in files]
    needed += [data() / "spider_dbs"] if "spider" in sets else []
    for path in needed:
        if not path.exists():
            print(f"no recorded data at {path}: set CASCADE_DATA to their folder", file=sys.stderr)
            return 2
    found: dict[str, Any] = {}
    began = time.perf_counter()
    for name in dict.fromkeys(sets):
        found[name] = summary(anyio.run(SETS[name], options.limit))
        if not options.json:
            print(table(name, found[name]), flush=True)
    if options.json:
        print(json.dumps(found))
    else:
        print(f"{time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
