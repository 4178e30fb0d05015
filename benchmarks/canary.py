"""How often a canary is rolled back without reason, and after how many calls with one.

    python -m benchmarks.canary [--runs 1000] [--json] [--check]

Made-up calls go one by one through the `Trial` that a `Canary` decides by, with its defaults: one
call in ten is the candidate's, ``alpha`` is 1%. Of the control's calls 90% are accepted.

false rollbacks  of runs of 20,000 calls in which the candidate is no worse than the margin allows,
                 how many are rolled back at any time; with the 95% interval (Wilson)
delay            calls until the rollback, of both arms together: the median, its 95% interval
                 (order statistics), and the 90th percentile. A run that has none in 400,000 calls
                 counts as longer than all.

With ``--check`` the exit code is 1 when the interval of false rollbacks lies above alpha, or when a
drop is not found in half of the runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from math import inf, sqrt

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict

from cascade_policies.report.chance import Z95, wilson
from cascade_policies.shadow.trial import ARMS, Trial

ALPHA, SHARE, RATE = 0.01, 0.1, 0.9
CALLS, PATIENCE = 20_000, 400_000
DROPS = (0.02, 0.05, 0.10)
MARGINS = (0.0, 0.01)
DELAY_RUNS = 5  # one in so many of the runs: those with a small drop are long
_CHUNK = 10_000


class Rollbacks(Struct, frozen=True):
    """Rollbacks without reason."""

    case: str
    margin: float
    runs: int
    rolled_back: int
    low: float
    high: float


class Delay(Struct, frozen=True):
    """Calls until a rollback; None where that is longer than was waited."""

    drop: float
    margin: float
    runs: int
    found: int
    median: float | None
    low: float | None
    high: float | None
    p90: float | None


def rollback(
    random: np.random.Generator, control: float, candidate: float, margin: float, calls: int
) -> float:
    """After how many calls there is one; infinite where there is none."""
    trial, done = Trial(margin), 0
    while done < calls:
        size = min(_CHUNK, calls - done)
        arms = random.random(size) < SHARE
        values = (random.random(size) < np.where(arms, candidate, control)).tolist()
        for number, (arm, value) in enumerate(zip(arms.tolist(), values, strict=True), 1):
            if trial.take(ARMS[arm], float(value)) >= 1 / ALPHA:
                return done + number
        done += size
    return inf


def false_rollbacks(name: str, drop: float, margin: float, runs: int, seed: int) -> Rollbacks:
    """Runs in which the candidate is as good as it must be."""
    random = np.random.default_rng(seed)
    found = sum(rollback(random, RATE, RATE - drop, margin, CALLS) < inf for _ in range(runs))
    return Rollbacks(name, margin, runs, found, *wilson(found, runs))


def delay(drop: float, margin: float, runs: int, seed: int) -> Delay:
    """Runs in which it is worse."""
    random = np.random.default_rng(seed)
    its = sorted(rollback(random, RATE, RATE - drop, margin, PATIENCE) for _ in range(runs))
    spread = Z95 * sqrt(runs) / 2
    places = (runs / 2, runs / 2 - spread, runs / 2 + spread, 0.9 * runs)
    figures = (its[min(max(int(place), 0), runs - 1)] for place in places)
    shown = [None if figure == inf else figure for figure in figures]
    return Delay(drop, margin, runs, sum(one < inf for one in its), *shown)


def measure(runs: int, seed: int) -> tuple[list[Rollbacks], list[Delay]]:
    """All cases."""
    safe = [("as good", 0.0, margin) for margin in MARGINS]
    safe += [("worse by the margin", MARGINS[1], MARGINS[1]), ("better by 2 points", -0.02, 0.0)]
    return (
        [false_rollbacks(*case, runs, seed + place) for place, case in enumerate(safe)],
        [
            delay(drop, margin, max(2, runs // DELAY_RUNS), seed + 100 + place)
            for place, (margin, drop) in enumerate((m, d) for m in MARGINS for d in DROPS)
        ],
    )


def show(rollbacks: list[Rollbacks], delays: list[Delay]) -> None:
    """Two tables."""
    print(f"false rollbacks in {CALLS:,} calls    margin   runs  rolled back  (95% interval)")
    for one in rollbacks:
        share = one.rolled_back / one.runs
        between = f"({one.low:.2%} to {one.high:.2%})"
        print(f"{one.case:<33} {one.margin:>7.2f} {one.runs:>6,} {share:>12.2%}  {between}")
    print("\ndrop     margin   runs   median calls  (95% interval)          p90")
    for its in delays:
        median, low, high, p90 = (
            "-" if value is None else f"{value:,.0f}"
            for value in (its.median, its.low, its.high, its.p90)
        )
        print(
            f"{its.drop * 100:>3.0f} pts {its.margin:>8.2f} {its.runs:>6,} {median:>14}  "
            f"{f'({low} to {high})':<22} {p90:>9}"
        )


def missed(rollbacks: list[Rollbacks], delays: list[Delay]) -> list[str]:
    """The targets that do not hold."""
    late = [
        f"{one.case}: false rollbacks above {ALPHA:.0%}" for one in rollbacks if one.low > ALPHA
    ]
    return late + [
        f"a drop of {its.drop * 100:.0f} points is not found with margin {its.margin}"
        for its in delays
        if its.median is None
    ]


def main() -> int:
    """Measure, print, and say by the exit code whether the targets hold."""
    parser = argparse.ArgumentParser(description="False and right rollbacks of canaries.")
    parser.add_argument("--runs", type=int, default=1000, help="of each case; by default 1000")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--check", action="store_true", help="exit code 1 when a target is missed")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs {options.runs}: give 1 or more")
    rollbacks, delays = measure(options.runs, options.seed)
    if options.json:
        figures = {
            "false": [asdict(one) for one in rollbacks],
            "delays": [asdict(d) for d in delays],
        }
        print(json.dumps(figures))
    else:
        show(rollbacks, delays)
    late = missed(rollbacks, delays) if options.check else []
    for one in late:
        print(one, file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
