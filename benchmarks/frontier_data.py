"""The recorded sets as tables: one row a prompt, one column a model or an ensemble of two.

Part of ``python -m benchmarks.frontier``, which says what is measured.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isqrt
from typing import Any, NamedTuple

import anyio
import numpy as np

from benchmarks.recorded_json import CHEAP, GPT_4O, REQUEST, data, rows
from benchmarks.routers import SETS, SONNET
from cascade import Answer, Price
from cascade.events import Plan, TierPlan
from cascade.replay import Recorded, Replayed, replay
from cascade.types import Usage
from cascade.verdict import Verdict
from cascade.verifiers import Agreement
from cascade_policies.replaying import Table

CODE = "trial division"
NAN = float("nan")
SMALL_SQL, LARGE_SQL = ("codes-1b", "codes-3b"), "DAIL-SQL_GPT-4_SC"

PRICED_AS: Mapping[str, str] = {
    "Mistral-Nemo-Instruct-2407": "open-mistral-nemo-2407",
    "Mixtral-8x7B-Instruct-v0.1": "open-mixtral-8x7b",
    "claude-3-5-sonnet-20241022": "claude-3-5-sonnet-20240620",
    "gemini-1.5-flash": "gemini-1.5-flash-preview-0514",
    "gemini-1.5-pro": "gemini-1.5-pro-preview-0514",
}
"""Under which name the price list has a model that it has under another."""


class Cell(NamedTuple):
    """One recorded answer. US dollars and seconds; NaN where they are not known."""

    right: bool
    accepted: bool
    cost: float = NAN
    prompt_cost: float = NAN
    latency: float = NAN


class Voted(NamedTuple):
    """A set where two cheap models vote: column 0 is the two together, column 1 the large model."""

    table: Table
    calls: list[Replayed]
    """Of the policy, with the two as members of one tier."""


def table_of(
    ids: Iterable[str], columns: Mapping[str, Sequence[Cell]], *, top: str | None = None
) -> Table:
    """The table of these columns; with a top one, which comes last, the others by their cost."""
    names = list(columns)
    if top is not None:
        names.sort(key=lambda name: (name == top, sum(cell.cost for cell in columns[name])))
    cells = np.array([columns[name] for name in names], np.float64).transpose(2, 1, 0)
    right, accepted, cost, prompt, latency = cells
    return Table(
        ids=tuple(ids),
        tiers=names,
        quality=right,
        score=accepted,
        cost_low=cost,
        cost_high=cost,
        prompt_cost=prompt,
        latency=latency,
        # A check in code takes some 50 µs (`python -m benchmarks.verifier_cost`).
        check_latency=np.zeros_like(right),
        failed=np.zeros(right.shape, bool),
        stops_billing=[None] * len(names),
    )


def costs(model: str, row: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[float, float]:
    """What an answer costs, and its prompt alone; no tokens are not known ones, not none."""
    listed = json.loads((data() / "prices.json").read_text())["prices"]
    price = listed.get(PRICED_AS.get(model, model.removesuffix("-FC")))
    prompt = given.get("input_tokens", row.get("input_tokens_est")) or None
    written = given.get("output_tokens", given.get("output_tokens_est")) or None
    if price is None or prompt is None or written is None:
        return NAN, NAN
    known = Price(input=price["in"], output=price["out"])
    whole, part = known.of(Usage(prompt, written)), known.of(Usage(prompt, 0))
    return (NAN, NAN) if whole is None or part is None else (whole, part)


def bfcl() -> tuple[list[dict[str, Any]], Table]:
    """The Python-AST rows, all 17 models, checked by `ToolCalls`."""
    every, accepts = list(rows("bfcl", None)), SETS["bfcl"].accepts

    def cell(row: dict[str, Any], model: str) -> Cell:
        given = row["models"][model]
        accepted = accepts(row, given["output"])
        return Cell(given["correct"], accepted, *costs(model, row, given), given["latency"])

    return every, _columns(every, every[0]["models"], cell, top=SONNET)


def drift() -> tuple[list[dict[str, Any]], Table]:
    """Is it a prime: four models, checked in code by trial division, and that code by itself."""
    every = list(rows("drift", None))

    def cell(row: dict[str, Any], model: str) -> Cell:
        given, truth = row["models"][model], "yes" if is_prime(number(row)) else "no"
        accepted = given["answer"] == truth
        return Cell(given["correct"], accepted, given["cost_usd"], latency=given["latency"])

    columns = {model: [cell(row, model) for row in every] for model in every[0]["models"]}
    columns[CODE] = [
        Cell(is_prime(number(row)) == (row["reference"] == "yes"), True, 0.0) for row in every
    ]
    return every, table_of((row["id"] for row in every), columns)


def zeroeval() -> tuple[list[dict[str, Any]], Table, Voted]:
    """GSM8K: 24 models by themselves, and two cheap ones that must agree."""
    every, accepts = list(rows("zeroeval", None)), SETS["zeroeval"].accepts

    def cell(row: dict[str, Any], model: str) -> Cell:
        given = row["models"][model]
        return Cell(given["correct"], accepts(row, given["output"]), *costs(model, row, given))

    table = _columns(every, every[0]["models"], cell)
    vote = Agreement("number", field="answer", threshold=1.0)
    return every, table, voted(every, CHEAP, GPT_4O, lambda row: vote, cell)


def spider() -> tuple[list[dict[str, Any]], Table, Voted]:
    """Text to SQL: 12 models by themselves, and two small ones whose rows must be the same."""
    every = list(rows("spider", None))
    votes: dict[str, Agreement] = {}

    def vote(row: dict[str, Any]) -> Agreement:
        name = row["db_id"]
        if name not in votes:
            path = data() / "spider_dbs" / f"{name}.sqlite"
            votes[name] = Agreement("sql", database=path, threshold=1.0, not_empty=True)
        return votes[name]

    def cell(row: dict[str, Any], model: str) -> Cell:
        given = row["models"][model]
        return Cell(bool(given["correct"]), given["exec"] != "error")

    table = _columns(every, every[0]["models"], cell)
    return every, table, voted(every, SMALL_SQL, LARGE_SQL, vote, cell)


def _columns(
    every: Sequence[dict[str, Any]],
    models: Iterable[str],
    cell: Callable[[dict[str, Any], str], Cell],
    *,
    top: str | None = None,
) -> Table:
    columns = {model: [cell(row, model) for row in every] for model in models}
    return table_of((row["id"] for row in every), columns, top=top)


def voted(
    every: Sequence[dict[str, Any]],
    small: tuple[str, str],
    large: str,
    vote: Callable[[dict[str, Any]], Agreement],
    cell: Callable[[dict[str, Any], str], Cell],
) -> Voted:
    """What comes of two models that must agree, else of a large one."""
    verdicts = anyio.run(_verdicts, every, small, vote)
    pairs, calls = [], []
    # No time was recorded for either set, and nothing in this policy hangs on one.
    plan = Plan(tiers=(TierPlan(members=2), TierPlan(judged=False)), delays=(None, None))
    for row, both in zip(every, verdicts, strict=True):
        one, other = (cell(row, model) for model in small)
        last = cell(row, large)
        members = [((_recorded(c, v),),) for c, v in zip((one, other), both, strict=True)]
        calls.append(replay(plan, (members, (((_recorded(last),),),))))
        right = one.right if both[0].accepted or not both[1].accepted else other.right
        pairs.append(Cell(right, any(v.accepted for v in both), one.cost + other.cost))
    columns = {" + ".join(small): pairs, large: [cell(row, large) for row in every]}
    return Voted(table_of((row["id"] for row in every), columns), calls)


def _recorded(cell: Cell, verdict: Verdict | None = None) -> Recorded:
    return Recorded(
        latency=0.0, low=cell.cost, high=cell.cost, verdict=verdict, quality=float(cell.right)
    )


async def _verdicts(
    every: Sequence[dict[str, Any]],
    models: tuple[str, str],
    vote: Callable[[dict[str, Any]], Agreement],
) -> list[Sequence[Verdict]]:
    found: list[Sequence[Verdict]] = []
    for row in every:
        answers = [Answer(row["models"][model]["output"] or "") for model in models]
        verdicts = vote(row).verify_group(REQUEST, answers)
        found.append(await verdicts if inspect.isawaitable(verdicts) else verdicts)
    return found


def number(row: Mapping[str, Any]) -> int:
    """Which number a row of the primes asks about: "Is 17077 a prime number? …"."""
    return int(str(row["prompt"]).split()[1])


def is_prime(value: int) -> bool:
    """By trial division."""
    return value > 1 and all(value % divisor for divisor in range(2, isqrt(value) + 1))
