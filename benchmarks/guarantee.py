"""Whether what tuning certifies holds, and how much of what could be saved it saves.

    python -m benchmarks.guarantee [--trials 1000] [--quick] [--power] [--json] [--check]

Each trial draws a recording from a population whose truth is known, with replacement, tunes on it
(`cascade_policies.tuning.tune`, 95% confidence) and looks the chosen policy up in the population:

- a violation: its quality is further below the last tier's than was allowed;
- its share of the saving of the cheapest policy that does not violate.

Beside it the usual way, on the same recordings: the same candidates, made on all rows, of which the
cheapest that passes on these rows is taken.

With --power, only how often the test of a mean difference shows what is so, beside betting that
maximises growth and beside the z-test, which is not valid for few rows.

Populations: 200,000 synthetic rows of three tiers that are right on 72%, 85% and 93%, cost
1 : 6 : 30 and have verifiers with an AUROC of 0.86; and recorded rows (in $CASCADE_DATA, by default
../shared/data) of three models each: GSM sums, scored by how many small models agree, and BFCL
calls of tools, of which `ToolCalls` says only yes or no.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from math import sqrt
from time import perf_counter

import numpy as np

from benchmarks.guarantee_power import power
from benchmarks.guarantee_worlds import alone, optimum, sums, synthetic, tools
from benchmarks.limits import add_limits, exceeded
from cascade_policies.replaying import Settings, Table
from cascade_policies.tuning import Goal, Ladder, Split, tune
from cascade_policies.tuning.candidates import find_candidates
from cascade_policies.tuning.ladder import Player
from cascade_policies.tuning.split import CHOOSING

CONFIDENCE = 0.95
TARGETS = {"violations_above_bound": 0.0, "share_lost": 0.1}


@dataclass(frozen=True, slots=True)
class Case:
    """One population, one size of recordings, one goal."""

    world: str
    rows: int
    drop: float

    @property
    def goal(self) -> Goal:
        """At most so much below the last tier."""
        return Goal(max_drop=self.drop, confidence=CONFIDENCE)


CASES = (
    Case("synthetic", 3000, 0.02),
    Case("synthetic", 1000, 0.05),
    Case("sums", 1000, 0.05),
    Case("sums", 3000, 0.02),
    Case("tools", 1000, 0.05),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one way in one case; shares are of the saving of the optimum.

    Attributes:
        violations: the share of trials in which the chosen policy is worse than allowed.
        share: the mean share of the optimal saving, whether it violates or not.
        error: the standard error of the share.
        low, median: the share that 5% and 50% of the trials do not reach.
        seconds: of one search.
    """

    violations: float
    share: float
    error: float
    low: float
    median: float
    seconds: float


@cache
def population(name: str) -> Table:
    """The population of this name."""
    return {"synthetic": lambda: synthetic(7), "tools": tools, "sums": sums}[name]()


def trial(case: Case, seed: int) -> list[tuple[bool, float, float]]:
    """Of the certified way and of the naive one: whether it violates, its cost, its seconds."""
    world = population(case.world)
    random = np.random.default_rng([seed, case.rows])
    drawn = world.take(random.integers(0, len(world), case.rows))
    player, goal = Player(world, case.goal), case.goal
    floor = float(np.mean(world.quality[:, -1])) - case.drop - 1e-12
    found = []
    for way in (certified, naive):
        began = perf_counter()
        chosen = way(drawn, goal)
        took = perf_counter() - began
        values = player.play(chosen)
        violates = float(np.mean(values.quality)) < floor
        found.append((violates, float(np.mean(values.cost)), took))
    return found


def certified(drawn: Table, goal: Goal) -> Settings:
    """What `tune` chooses. The rows are drawn independently, so any split is one by chance."""
    rows, cut = np.arange(len(drawn)), round(CHOOSING * len(drawn))
    return tune(drawn, goal, rows=Split(rows[:cut], rows[cut:], len(drawn), "")).chosen.settings


def naive(drawn: Table, goal: Goal) -> Settings:
    """The cheapest candidate that passes on the rows that it was made on."""
    assert goal.max_drop is not None
    player = Player(drawn, goal)
    least = float(np.mean(drawn.quality[:, -1])) - goal.max_drop
    passing = [one for one in find_candidates(Ladder.of(drawn), player, goal)
               if one.quality >= least]  # fmt: skip
    return min(passing, key=lambda one: one.cost).settings if passing else alone(drawn)


def measure(case: Case, trials: int, workers: int) -> dict[str, Figures]:
    """The figures of both ways."""
    world = population(case.world)
    dearest, best = float(np.mean(world.cost_high[:, -1])), optimum(world, case.drop)
    outcomes = list(_progress(case, trials, workers))
    ways = {}
    for at, name in enumerate(("certified", "naive")):
        violations, costs, seconds = np.array([one[at] for one in outcomes], float).T
        shares = (dearest - costs) / (dearest - best)
        ways[name] = Figures(
            violations=float(violations.mean()),
            share=float(shares.mean()),
            error=float(shares.std() / sqrt(trials)),
            low=float(np.quantile(shares, 0.05)),
            median=float(np.median(shares)),
            seconds=float(np.median(seconds)),
        )
    return ways


def _progress(case: Case, trials: int, workers: int) -> Iterator[list[tuple[bool, float, float]]]:
    with ProcessPoolExecutor(workers) as pool:
        running = pool.map(trial, [case] * trials, range(trials), chunksize=5)
        for done, outcome in enumerate(running, start=1):
            if sys.stderr.isatty() and done % 10 == 0:
                print(f"\r{case.world} {case.rows}: {done}/{trials}", end="", file=sys.stderr)
            yield outcome
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)


def bound(trials: int) -> float:
    """How many violations there may be: the risk, and two standard errors."""
    risk = 1 - CONFIDENCE
    return risk + 2 * sqrt(risk * (1 - risk) / trials)


def line(case: Case, name: str, one: Figures) -> str:
    """One line of the table."""
    return (
        f"{case.world:10} {case.rows:6,} {case.drop:5.2f}  {name:10} {one.violations:10.1%} "
        f"{one.share:7.3f} ±{2 * one.error:.3f} {one.low:7.3f} {one.median:7.3f} "
        f"{1000 * one.seconds:7.0f}"
    )


def figures(found: Sequence[tuple[Case, dict[str, Figures]]], trials: int) -> dict[str, float]:
    """What has a target: of the certified way, the worst case, within two standard errors."""
    ours = [(case, ways["certified"]) for case, ways in found]
    worst = max(one.violations for _, one in ours) - bound(trials)
    lost = [1 - one.share - 2 * one.error for case, one in ours if case.world == "synthetic"]
    return {"violations_above_bound": max(0.0, worst), "share_lost": max(lost)}


def show_power(trials: int, *, as_json: bool) -> int:
    """The power of the test of a mean."""
    found = list(power(trials))
    if as_json:
        print(json.dumps({"trials": trials, "power": found}))
        return 0
    print(f"{'rows':>6} {'drop':>5} {'better by':>10} {'ours':>7} {'growth':>7} {'z-test':>7}")
    for one in found:
        print(f"{one['rows']:6,.0f} {one['drop']:5.2f} {one['gap']:7.1f} SE {one['ours']:7.1%} "
              f"{one['growth']:7.1%} {one['z']:7.1%}")  # fmt: skip
    return 0


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="40 trials, synthetic rows alone")
    parser.add_argument("--power", action="store_true", help="only the power of the test")
    parser.add_argument("--json", action="store_true")
    add_limits(parser, TARGETS)
    options = parser.parse_args()
    trials = 40 if options.quick else options.trials
    if options.power:
        return show_power(trials, as_json=options.json)
    cases = [case for case in CASES if case.world == "synthetic" or not options.quick]
    if not options.json:
        print(
            f"{trials} trials; at {CONFIDENCE:.0%} confidence up to {bound(trials):.1%} may violate"
        )
        print(f"{'world':10} {'rows':>6} {'drop':>5}  {'way':10} {'violations':>10} "
              f"{'share':>7} {'':6} {'5%':>7} {'50%':>7} {'ms':>7}")  # fmt: skip
    found = []
    for case in cases:
        ways = measure(case, trials, options.workers)
        found.append((case, ways))
        for name, one in ways.items():
            if not options.json:
                print(line(case, name, one), flush=True)
    if options.json:
        shown = [{**asdict(case), **{name: asdict(one) for name, one in ways.items()}}
                 for case, ways in found]  # fmt: skip
        print(json.dumps({"trials": trials, "bound": bound(trials), "cases": shown}))
    missed = exceeded(figures(found, trials), options, TARGETS)
    for words in missed:
        print(words, file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
