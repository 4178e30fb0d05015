"""A made-up ledger: calls of four tasks over some weeks, as the engine would have written them.

`fill` writes rows straight into the database. The tasks are a cascade of three tiers, a hedge, a
race, and a tier of code before a model whose price is not known. Nothing is taken from anywhere:
latencies are log-normal, and the numbers below are what the report should find again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp
from random import Random
from sqlite3 import Connection
from typing import Any, Final

from cascade_policies.ledger.database import transaction
from cascade_policies.ledger.rows import ATTEMPT_COLUMNS, CALL_COLUMNS
from cascade_policies.report import rollups

_CHUNK: Final = 2000  # calls in a transaction
_DAY: Final = 86_400.0
_CALLS: Final = ("id", *CALL_COLUMNS)
_ATTEMPTS: Final = ("call", *ATTEMPT_COLUMNS)


@dataclass(frozen=True, slots=True)
class TierShape:
    """One tier.

    Attributes:
        accepted: the share of its answers that pass.
        failed: the share of its attempts that fail.
        median: seconds of an attempt.
        cost: US dollars an attempt; None where no price is known.
        codes: why answers are rejected, and how often each.
    """

    name: str
    model: str
    accepted: float
    failed: float
    median: float
    cost: float | None
    verifier: str | None = "json_schema"
    codes: Mapping[str, float] = field(
        default_factory=lambda: {"json.type": 6, "json.required": 3, "json.syntax": 1}
    )


@dataclass(frozen=True, slots=True)
class TaskShape:
    """One task.

    Attributes:
        weight: its share of the calls, relative to the others'.
        hedge: seconds before the next tier starts beside the one before: 0 is a race, None a
            cascade.
        worse: what is taken off the first tier's share of accepted answers in the last week.
    """

    name: str
    weight: float
    tiers: tuple[TierShape, ...]
    hedge: float | None = None
    worse: float = 0.0


TASKS: Final = (
    TaskShape(
        "tickets",
        5,
        (
            TierShape("small", "local:smollm2-135m", 0.75, 0.01, 0.3, 0.00002),
            TierShape("medium", "openai:gpt-5-mini", 0.8, 0.02, 0.9, 0.0004),
            TierShape("frontier", "anthropic:claude-opus", 0.97, 0.01, 2.5, 0.012, "judge"),
        ),
        worse=0.12,
    ),
    TaskShape(
        "extract",
        3,
        (
            TierShape("mini", "openai:gpt-5-mini", 0.9, 0.01, 0.7, 0.0004),
            TierShape("large", "openai:gpt-5", 0.98, 0.005, 1.8, 0.006),
        ),
        hedge=1.2,
    ),
    TaskShape(
        "search",
        2,
        (
            TierShape("near", "gemini:flash", 0.93, 0.02, 0.5, 0.0003, "length"),
            TierShape("far", "openai:gpt-5-mini", 0.93, 0.02, 0.6, 0.0004, "length"),
        ),
        hedge=0.0,
    ),
    TaskShape(
        "dates",
        2,
        (
            TierShape("code", "function:dates:find", 0.85, 0.0, 0.0004, 0.0, None, {"declined": 1}),
            TierShape("model", "openai:house-model", 0.96, 0.03, 0.8, None, "regex"),
        ),
    ),
)

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """How much was written."""

    calls: int
    attempts: int


def fill(
    connection: Connection,
    attempts: int,
    *,
    until: float,
    days: float = 30.0,
    seed: int = 1,
    tasks: tuple[TaskShape, ...] = TASKS,
    count: bool = True,
) -> Written:
    """Write calls until they have so many attempts.

    Args:
        until: Unix time in seconds of the last call.
        days: how long before it the first one began.
        count: whether the sums of the report are kept up to date.
    """
    random = Random(seed)  # noqa: S311  (no secret)
    calls = written = 0
    (start,) = connection.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()
    while written < attempts:
        rows: list[Row] = []
        tried: list[Row] = []
        first = start + calls + 1
        while len(rows) < _CHUNK and written + len(tried) < attempts:
            # Evenly over the time, and in its order but for how long calls take.
            share = min(1.0, (written + len(tried) + random.random()) / attempts)
            id_ = first + len(rows)
            row, its = _call(random, id_, until - days * _DAY * (1 - share), until, tasks)
            rows.append(row)
            tried += its
        with transaction(connection):
            connection.executemany(_insert("calls", _CALLS), rows)
            connection.executemany(_insert("attempts", _ATTEMPTS), tried)
            if count:
                rollups.add(connection, first, first + len(rows) - 1)
        calls += len(rows)
        written += len(tried)
    return Written(calls, written)


def _insert(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608  (our own names)


@dataclass(slots=True)
class _Try:
    """One attempt in the making; times are seconds after the call began."""

    tier: TierShape
    kind: str
    outcome: str
    code: str
    began: float
    ended: float


def _call(
    random: Random, id_: int, began: float, until: float, tasks: tuple[TaskShape, ...]
) -> tuple[Row, list[Row]]:
    task = random.choices(tasks, [task.weight for task in tasks])[0]
    worse = task.worse if began > until - 7 * _DAY else 0.0
    if task.hedge is None:
        tries, winner, escalations = _in_turn(random, task, worse)
    else:
        tries, winner, escalations = _beside(random, task, task.hedge)
    rows = [_attempt(random, id_, number, its) for number, its in enumerate(tries, 1)]
    outcome = "exhausted" if winner is None else "accepted"
    latency = max(its.ended for its in tries)
    low, high, wasted_low, wasted_high = _costs(tries, winner)
    answer = None if winner is None else "the answer"
    values = {
        "id": id_, "call_id": f"{id_:016x}", "began": began, "policy": task.name,
        "outcome": outcome, "tier": None if winner is None else winner.tier.name,
        "first": task.tiers[0].name, "escalations": escalations,
        "tiers_tried": len({its.tier.name for its in tries}), "attempts": len(tries),
        "latency_s": latency, "cost_low": low, "cost_high": high, "cost_basis": "reported",
        "waste_low": wasted_low, "waste_high": wasted_high, "variant": "",
        "error": None if winner else "CascadeExhausted: every tier was rejected or failed",
        "prompt": "What does the customer ask for, and when?", "prompt_chars": 41, "answer": answer,
        "answer_chars": None if answer is None else len(answer),
    }  # fmt: skip
    return tuple(values.get(name) for name in _CALLS), rows


def _in_turn(random: Random, task: TaskShape, worse: float) -> tuple[list[_Try], _Try | None, int]:
    """A cascade; a tier that failed is tried once more, a rejected answer at times repaired."""
    tries: list[_Try] = []
    now = 0.0
    for index, tier in enumerate(task.tiers):
        kind = "first"
        while True:
            one = _try(random, tier, kind, now, worse if index == 0 else 0.0)
            tries.append(one)
            now = one.ended
            if one.outcome == "accepted":
                return tries, one, index
            if kind != "first" or (one.outcome == "rejected" and random.random() > 0.1):
                break
            kind = "retry" if one.outcome == "failed" else "repair"
    return tries, None, len(task.tiers) - 1


def _beside(random: Random, task: TaskShape, delay: float) -> tuple[list[_Try], _Try | None, int]:
    """A hedge or a race of two tiers: the first that is accepted cancels the other."""
    first = _try(random, task.tiers[0], "first", 0.0, 0.0)
    if first.outcome == "accepted" and first.ended <= delay:
        return [first], first, 0
    escalated = first.ended < delay
    second = _try(random, task.tiers[1], "first", first.ended if escalated else delay, 0.0)
    passed = [one for one in (first, second) if one.outcome == "accepted"]
    if not passed:
        return [first, second], None, int(escalated)
    winner = min(passed, key=lambda one: one.ended)
    loser = second if winner is first else first
    if loser.ended > winner.ended:
        loser.outcome, loser.code, loser.ended = "cancelled", "", winner.ended
    return [first, second], winner, int(escalated)


def _try(random: Random, tier: TierShape, kind: str, began: float, worse: float) -> _Try:
    ended = began + tier.median * exp(random.gauss(0.0, 0.5))
    draw = random.random()
    if draw < tier.failed:
        kinds = ("APITimeoutError", "RateLimitError", "InternalServerError")
        return _Try(tier, kind, "failed", random.choice(kinds), began, ended)
    if draw < tier.failed + tier.accepted - worse:
        return _Try(tier, kind, "accepted", "", began, ended)
    code = random.choices(list(tier.codes), list(tier.codes.values()))[0]
    return _Try(tier, kind, "rejected", code, began, ended)


def _costs(
    tries: list[_Try], winner: _Try | None
) -> tuple[float | None, float | None, float | None, float | None]:
    """Cost low and high, and those of all but the winner."""
    if any(one.tier.cost is None for one in tries):
        return None, None, None, None
    lows, highs = ([_cost(one)[end] or 0.0 for one in tries] for end in (0, 1))
    kept = (0.0, 0.0) if winner is None else (_cost(winner)[0] or 0.0, _cost(winner)[1] or 0.0)
    return sum(lows), sum(highs), sum(lows) - kept[0], sum(highs) - kept[1]


def _cost(one: _Try) -> tuple[float | None, float | None]:
    cost = one.tier.cost
    if cost is None:
        return None, None
    if one.outcome == "failed":
        return 0.0, 0.0
    return (0.2 * cost, cost) if one.outcome == "cancelled" else (cost, cost)


def _attempt(random: Random, call: int, number: int, one: _Try) -> Row:
    low, high = _cost(one)
    failed, answered = one.outcome == "failed", one.outcome in ("accepted", "rejected")
    latency = one.ended - one.began
    values = {
        "call": call, "number": number, "tier": one.tier.name, "model": one.tier.model,
        "member": 0, "kind": one.kind, "outcome": one.outcome,
        "reason": one.code and f"{one.code}: something is wrong",
        "code": None if failed else one.code,
        "verifier": one.tier.verifier, "started_s": one.began, "waited_s": 0.0,
        "latency_s": latency,
        "time_to_first_token_s": latency * random.uniform(0.2, 0.5) if answered else None,
        "input_tokens": 400 if answered else None, "output_tokens": 60 if answered else None,
        "cost_low": low, "cost_high": high,
        "cost_basis": "cancelled" if one.outcome == "cancelled" else "reported",
        "error": f"{one.code}: it went wrong" if failed else None,
    }  # fmt: skip
    return tuple(values.get(name) for name in _ATTEMPTS)
