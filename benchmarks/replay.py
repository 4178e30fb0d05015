"""Whether live calls, their replay and the arrays give equal numbers, and how fast replays are.

    python -m benchmarks.replay [--policies N] [--rows N] [--quick] [--json] [--check]

First, random policies (one to four tiers in any order; cascade, hedge and race; thresholds, grace,
deadline, abstentions, failures; what a closed stream bills) are run three times over random rows:
by the live engine on a virtual clock, through the state machine, and in arrays. Every figure of
every call is compared with ``==``: outcome, tier, quality, both ends of the cost, latency,
escalations; and between the first two every attempt's start, end and cost. See `replay_live`.

Then the speed, on one core and by processor time, so that other work on the machine counts less:
calls a second through the state machine, and settings times prompts a second in arrays, for
cascades, hedges and races of three tiers. Each is the best of some rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from random import Random
from time import process_time
from typing import Any, Final

import numpy as np

from benchmarks.limits import add_limits, exceeded
from benchmarks.replay_live import recorded_table, run_live
from cascade.records import CallRecord
from cascade.replay import Replayed, replay
from cascade_policies.replaying import UNCHECKED, Evaluator, Settings, Table
from cascade_policies.replaying.calls import plan_of, replay_all, rows_of

TARGETS: Final = {
    "differences": 0.0,
    **{f"state_{kind}_us": 50.0 for kind in ("cascade", "hedge", "race")},
    **{f"arrays_{kind}_ns": 1000.0 for kind in ("cascade", "hedge", "race")},
}
OUTCOMES: Final = ("accepted", "exhausted", "deadline")
ROUNDS: Final = 5
TIERS: Final = 3


def random_table(random: Random, rows: int, tiers: int) -> Table:
    """Answers that often tie: few different times and scores."""

    def array(values: Sequence[Any]) -> list[list[Any]]:
        return [random.choices(values, k=tiers) for _ in range(rows)]

    return recorded_table(
        latency=array([n / 4 for n in range(1, 9)]),
        score=array([0.0, 0.25, 0.5, 0.75, 1.0, float("nan")]),
        quality=array([0.0, 1.0]),
        failed=array([False] * 7 + [True]),
        check_latency=array([0.0, 0.0, 0.25, 0.5]),
        stops=random.choices([True, False, None], k=tiers),
    )


def random_settings(random: Random, tiers: int) -> Settings:
    """Any policy that arrays can evaluate."""
    chosen = random.sample(range(tiers), random.randint(1, tiers))
    count = len(chosen)
    delays = random.choice([(None,), (0.0,), (0.25, 0.5, 1.0, 2.0), (None, 0.0, 0.5, 1.0)])
    return Settings(
        tiers=tuple(chosen),
        thresholds=tuple(random.choices([0.0, 0.25, 0.5, 0.75, 1.0, UNCHECKED, None], k=count)),
        start_after=tuple(random.choices(delays, k=count)),
        prefer=random.choice(["cheapest", "fastest"]),
        grace=random.choice([None, None, 0.0, 0.25, 1.0]),
        deadline=random.choice([None, None, 1.0, 2.5, 4.0]),
        exhausted=random.choice(["raise", "best"]),
        on_abstain=tuple(random.choices(["escalate", "accept"], weights=[3, 1], k=count)),
    )


def compare(policies: int, rows: int) -> dict[str, Any]:
    """How many figures differ, over so many random policies."""
    random = Random(6)  # noqa: S311  (made-up data, no secret)
    calls = attempts = cancelled = 0
    differences: list[str] = []
    for _ in range(policies):
        table = random_table(random, rows, random.randint(1, 4))
        settings = random_settings(random, len(table.tiers))
        (live,) = run_live(table, [settings])
        states, arrays = replay_all(table, settings), list(_by_arrays(table, settings))
        for at, (record, call, row) in enumerate(zip(live, states, arrays, strict=True)):
            found = (_of_live(table, at, record), _of_states(call, settings), row)
            differences += [f"{settings}: {found}"] * (len(set(found)) > 1)
            steps = [(a.outcome, a.started, a.latency, a.cost.low, a.cost.high)
                     for a in record.attempts]  # fmt: skip
            again = [(a.outcome, a.started, a.latency, a.low, a.high) for a in call.attempts]
            differences += [f"{settings}: {steps} {again}"] * (steps != again)
            attempts += len(steps)
            cancelled += sum(step[0] == "cancelled" for step in steps)
            calls += 1
    return {
        "policies": policies,
        "calls": calls,
        "attempts": attempts,
        "cancelled": cancelled,
        "differences": differences,
    }


def _of_live(table: Table, row: int, record: CallRecord) -> tuple[Any, ...]:
    tier, quality = -1, 0.0
    if record.result is not None:
        tier = list(table.tiers).index(record.result.tier)
        quality = float(table.quality[row, tier])
    return (record.outcome, tier, quality, record.cost.low, record.cost.high,
            record.latency, record.escalations)  # fmt: skip


def _of_states(call: Replayed, settings: Settings) -> tuple[Any, ...]:
    tier = -1 if call.tier is None else settings.tiers[call.tier]
    return (call.outcome, tier, call.quality, call.low, call.high, call.latency,
            call.escalations)  # fmt: skip


def _by_arrays(table: Table, settings: Settings) -> Iterator[tuple[Any, ...]]:
    found = Evaluator(table).evaluate(settings)
    columns = (found.tier, found.quality, found.cost_low, found.cost_high, found.latency,
               found.escalations)  # fmt: skip
    kinds = [OUTCOMES[kind] for kind in found.outcome]
    return zip(kinds, *(column.tolist() for column in columns), strict=True)


def made_up(rows: int) -> Table:
    """Answers of models that take seconds, of which one in a hundred fails."""
    random = np.random.default_rng(0)
    shape = (rows, TIERS)
    latency, cost = random.gamma(2.0, 0.7, shape), random.gamma(2.0, 1e-3, shape)
    return Table(
        ids=[str(row) for row in range(rows)],
        tiers=[f"t{tier}" for tier in range(TIERS)],
        quality=(random.random(shape) < 0.8).astype(float),
        score=random.random(shape),
        cost_low=cost,
        cost_high=cost,
        latency=latency,
        check_latency=np.full(shape, 0.001),
        failed=random.random(shape) < 0.01,
        stops_billing=[True, None, False],
        first_token=latency * 0.2,
        prompt_cost=cost * 0.3,
    )


def _candidates(kind: str, count: int) -> list[Settings]:
    random = Random(0)  # noqa: S311  (made-up data, no secret)
    tiers = tuple(range(TIERS))

    def delay() -> float | None:
        return {"cascade": None, "race": 0.0, "hedge": random.uniform(0.2, 3.0)}[kind]

    return [
        Settings(
            tiers,
            tuple(random.random() for _ in tiers),
            start_after=tuple(delay() for _ in tiers),
            prefer="fastest" if kind == "race" else "cheapest",
        )
        for _ in range(count)
    ]


def _best(work: Callable[[], object], count: int) -> float:
    """Seconds of processor time for one of ``count``."""
    took = []
    for _ in range(ROUNDS):
        began = process_time()
        work()
        took.append((process_time() - began) / count)
    return min(took)


def speeds(rows: int, candidates: int) -> dict[str, float]:
    """Microseconds a call through the state machine; nanoseconds a row and policy in arrays."""
    table, figures = made_up(rows), {}
    evaluator = Evaluator(table)
    for kind in ("cascade", "hedge", "race"):
        one = _candidates(kind, 1)[0]
        plan, calls = plan_of(one), list(rows_of(table, one))
        figures[f"state_{kind}_us"] = 1e6 * _best(
            lambda plan=plan, calls=calls: [replay(plan, row) for row in calls],  # type: ignore[misc]
            rows,
        )
        grid = _candidates(kind, candidates)
        figures[f"arrays_{kind}_ns"] = 1e9 * _best(
            lambda grid=grid: evaluator.means(grid),  # type: ignore[misc]
            rows * candidates,
        )
    return figures


def table_of(found: dict[str, Any]) -> str:
    """The figures for people."""
    same = found["same"]
    lines = [
        f"{same['policies']:,} random policies, {same['calls']:,} calls, {same['attempts']:,} "
        f"attempts, {same['cancelled']:,} of them cancelled: "
        f"{len(same['differences'])} differences between live, state machine and arrays",
        f"{'':10}{'state machine':>22}{'arrays':>28}",
    ]
    for kind in ("cascade", "hedge", "race"):
        calls = 1e6 / found["figures"][f"state_{kind}_us"]
        cells = 1e9 / found["figures"][f"arrays_{kind}_ns"]
        lines.append(f"{kind:10}{calls:>14,.0f} calls/s{cells:>14,.0f} row-policies/s")
    return "\n".join([*lines, *same["differences"][:3]])


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--policies", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=3, help="of each random policy")
    parser.add_argument("--quick", action="store_true", help="50 policies, small grids")
    parser.add_argument("--json", action="store_true")
    add_limits(parser, TARGETS)
    options = parser.parse_args()
    same = compare(50 if options.quick else options.policies, options.rows)
    figures = speeds(500, 20) if options.quick else speeds(2000, 200)
    figures["differences"] = float(len(same["differences"]))
    found = {"same": same, "figures": figures}
    print(json.dumps(found) if options.json else table_of(found))
    for line in (broken := exceeded(figures, options, TARGETS)):
        print(line, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
