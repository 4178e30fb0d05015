"""How often `DriftWatch` gives a false alarm, and after how many calls it finds a change.

    python -m benchmarks.drift [--runs 100] [--json] [--plot drift.png] [--check]

Made-up calls go one by one through the monitor that is used live. ``learned``: the baseline is
learned from the first 3,200 calls, as it is by default, and the change comes 400 calls later.
``given``: the mean is given as one number, and the change comes after 400 calls. A call costs some
$0.0002, and $0.004 more when it is escalated, which one in four is; both vary by half of it.

false alarms  of runs of 10,000 calls in which nothing changes, learning included, how many have
              one; with its 95% interval (Wilson), and one alarm in how many calls
delay         calls from the change until it is told: the median with its 95% interval (order
              statistics) and the 90th percentile; a run that tells nothing in 10,000 calls counts
              as longer than all, one with an alarm before the change does not count

With ``--check`` the exit code is 1 when a target is missed: a false alarm in more than one in
twenty of the runs of 10,000 calls; from 25% to 45%, a median delay above 130 calls.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from math import inf, sqrt
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict
from numpy.typing import NDArray

from cascade_policies.drift.baseline import Baseline
from cascade_policies.drift.monitor import COST, LEARN, RATE, THRESHOLD, Monitor
from cascade_policies.report.chance import Z95, wilson

CALLS = 10_000
SETTLED = 400
MOST_ALARMS, MOST_DELAY = 0.05, 130.0

Values = Callable[[np.random.Generator, int], NDArray[np.float64]]


def escalations(rate: float) -> Values:
    """1 of a call that was escalated, else 0."""
    return lambda random, count: (random.random(count) < rate).astype(np.float64)


def costs(factor: float = 1.0, rate: float = 0.25) -> Values:
    """Dollars of a call."""

    def draw(random: np.random.Generator, count: int) -> NDArray[np.float64]:
        # A lognormal of mean 1 whose standard deviation is a half.
        spread = sqrt(np.log(1.25))
        small, large = (random.lognormal(-spread * spread / 2, spread, count) for _ in range(2))
        escalated = random.random(count) < rate
        return factor * (0.000_2 * small + 0.004 * large * escalated)

    return draw


MEAN_COST = 0.000_2 + 0.25 * 0.004


class Case(Struct, frozen=True):
    """What is watched, and what it becomes; without a second one nothing changes."""

    name: str
    what: str
    given: Baseline
    before: Values
    after: Values | None = None


STABLE = [
    Case("escalation rate 25%", RATE, Baseline.rate(0.25), escalations(0.25)),
    Case("escalation rate 3%", RATE, Baseline.rate(0.03), escalations(0.03)),
    Case("cost per call", COST, Baseline.cost(MEAN_COST), costs()),
]
CHANGES = [
    *(
        Case(f"{a:.0%} to {b:.0%}", RATE, Baseline.rate(a), escalations(a), escalations(b))
        for a, b in ((0.25, 0.45), (0.25, 0.35), (0.10, 0.20), (0.25, 0.10))
    ),
    Case("cost +50%", COST, Baseline.cost(MEAN_COST), costs(), costs(1.5)),
    Case("cost -50%", COST, Baseline.cost(MEAN_COST), costs(), costs(0.5)),
]


class Alarms(Struct, frozen=True):
    """False alarms of one case."""

    case: str
    baseline: str
    runs: int
    with_alarm: int
    low: float
    high: float
    calls_an_alarm: float | None


class Delay(Struct, frozen=True):
    """How long one change takes to be found; None where that is longer than was waited."""

    case: str
    baseline: str
    runs: int
    alarms_before: int
    median: float | None
    low: float | None
    high: float | None
    p90: float | None


def _first_alarm(monitor: Monitor, values: list[float]) -> int | None:
    """How many values it took."""
    for number, value in enumerate(values, 1):
        if monitor.take(value, 0.0) is not None:
            return number
    return None


def _monitor(case: Case, given: bool) -> Monitor:
    baseline = case.given if given else None
    return Monitor("task", case.what, threshold=THRESHOLD, learn=LEARN, given=baseline)


def false_alarms(case: Case, given: bool, runs: int, random: np.random.Generator) -> Alarms:
    """Runs in which nothing changes."""
    hit = alarms = 0
    for _ in range(runs):
        monitor = _monitor(case, given)
        values = case.before(random, CALLS).tolist()
        its = sum(monitor.take(value, 0.0) is not None for value in values)
        hit += its > 0
        alarms += its
    low, high = wilson(hit, runs)
    name = "given" if given else "learned"
    return Alarms(case.name, name, runs, hit, low, high, runs * CALLS / alarms if alarms else None)


def delays(case: Case, given: bool, runs: int, random: np.random.Generator) -> list[float]:
    """Calls until the change was told, of the runs without an alarm before it."""
    assert case.after is not None
    found = []
    for _ in range(runs):
        monitor = _monitor(case, given)
        settled = SETTLED if given else LEARN + SETTLED
        if _first_alarm(monitor, case.before(random, settled).tolist()) is not None:
            continue
        waited = 0
        while waited < CALLS:
            number = _first_alarm(monitor, case.after(random, 500).tolist())
            if number is not None:
                found.append(float(waited + number))
                break
            waited += 500
        else:
            found.append(inf)
    return sorted(found)


def delay(case: Case, given: bool, runs: int, found: list[float]) -> Delay:
    """The median of delays, with its interval."""
    count = len(found)
    half = Z95 * sqrt(count) / 2
    places = (count / 2, count / 2 - half, count / 2 + half, 0.9 * count)
    at = [found[min(max(int(place), 0), count - 1)] if found else inf for place in places]
    told = [None if value == inf else value for value in at]
    return Delay(case.name, "given" if given else "learned", runs, runs - count, *told)


def microseconds(random: np.random.Generator) -> float:
    """Processor time of one value of one figure, at its best of ten."""
    values = escalations(0.25)(random, CALLS).tolist()
    best = inf
    for _ in range(10):
        monitor = _monitor(STABLE[0], given=True)
        began = process_time()
        for value in values:
            monitor.take(value, 0.0)
        best = min(best, process_time() - began)
    return best / CALLS * 1e6


def measure(runs: int, seed: int) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """All figures; and the delays themselves, for the plot."""
    random = np.random.default_rng(seed)
    alarms = [false_alarms(case, g, runs, random) for case in STABLE for g in (False, True)]
    found: dict[str, list[float]] = {}
    told = []
    for case in CHANGES:
        for given in (False, True):
            its = delays(case, given, runs, random)
            found[f"{case.name}, {'given' if given else 'learned'}"] = its
            told.append(delay(case, given, runs, its))
    figures = {
        "threshold": THRESHOLD,
        "microseconds_a_value": microseconds(random),
        "false_alarms": [asdict(one) for one in alarms],
        "delays": [asdict(one) for one in told],
    }
    return figures, found


def missed(figures: dict[str, Any]) -> list[str]:
    """The targets that do not hold."""
    told = [
        f"{one['case']}, {one['baseline']}: false alarms in {one['with_alarm']} of {one['runs']}"
        for one in figures["false_alarms"]
        if one["with_alarm"] / one["runs"] > MOST_ALARMS
    ]
    for one in figures["delays"]:
        if one["case"] == "25% to 45%" and not (one["median"] or inf) <= MOST_DELAY:
            told.append(f"{one['case']}, {one['baseline']}: found after {one['median']} calls")
    return told


def show(figures: dict[str, Any]) -> None:
    """Tables of the figures."""
    print(
        f"threshold {figures['threshold']:,.0f}; {figures['microseconds_a_value']:.2f} µs a value"
    )
    print("\nfalse alarms                     runs  with one  (95% interval)     one in … calls")
    for one in figures["false_alarms"]:
        name = f"{one['case']}, {one['baseline']}"
        often = one["calls_an_alarm"]
        rare = f"{often:,.0f}" if often else f"over {one['runs'] * CALLS:,}"
        span = f"({one['low']:.1%} to {one['high']:.1%})"
        print(f"{name:<30} {one['runs']:>6,}  {one['with_alarm']:>8,}  {span:<18} {rare:>14}")
    print("\ndelay, calls                     runs    median  (95% interval)        p90")
    for one in figures["delays"]:
        name = f"{one['case']}, {one['baseline']}"
        median, low, high, p90 = (
            "-" if one[key] is None else f"{one[key]:,.0f}"
            for key in ("median", "low", "high", "p90")
        )
        print(f"{name:<30} {one['runs']:>6,}  {median:>8}  {f'({low} to {high})':<18} {p90:>6}")


def plot(found: dict[str, list[float]], path: Path) -> None:
    """The share of changes that have been found after so many calls."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for number, (name, its) in enumerate(found.items()):
        shares = [(place + 1) / len(its) for place in range(len(its))]
        style = "--" if name.endswith("given") else "-"
        axes.step(its, shares, style, where="post", label=name, color=f"C{number // 2}")
    axes.set_xscale("log")
    axes.set_xlabel("calls since the change")
    axes.set_ylabel("share of changes found")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main() -> int:
    """Measure, print, and say by the exit code whether the targets hold."""
    parser = argparse.ArgumentParser(description="False alarms and delays of drift detection.")
    parser.add_argument("--runs", type=int, default=100, help="of each case; by default 100")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--plot", type=Path, help="write a plot to this file (needs matplotlib)")
    parser.add_argument("--check", action="store_true", help="exit code 1 when a target is missed")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs {options.runs}: give 1 or more")
    figures, found = measure(options.runs, options.seed)
    if options.plot is not None:
        plot(found, options.plot)
    if options.json:
        print(json.dumps(figures))
    else:
        show(figures)
    late = missed(figures) if options.check else []
    for one in late:
        print(one, file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
