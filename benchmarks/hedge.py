"""What a hedge buys and what it costs: latency and extra load over its delay.

    python -m benchmarks.hedge [PROVIDER/MODEL ...] [--draws N] [--json] [--plot FILE]

The latencies are those of ``llmperf_llama2`` in ``$CASCADE_DATA`` (default ``../shared/data``):
some 150 answered calls of one size for each provider and model, failures left out. The distribution
fitted to them is their own, made continuous: the quantile function is linear between the recorded
values. A hedge is a replica: a second, identical call after a delay, whose latency is drawn
independently. So this is the best that hedging can do; what makes both calls slow, it cannot help.

Every call goes through the engine (`Tier.replica_after`), over a scripted model that takes the
drawn time, on trio's virtual clock: times are exact and nothing is waited for. All delays see the
same draws. The delays are quantiles of the distribution itself, as ``"p95"`` would be once learnt.

The clairvoyant bound knows both draws and starts only the faster call: the least latency that one
hedge can have, at no extra load. ``none`` is no hedge, ``0`` starts both at once, the fastest that
can be had without knowing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from statistics import mean
from typing import Final

from cascade import Engine, Policy, Price, Tier, Usage
from cascade.errors import MissingExtraError
from cascade.retry_budget import RetryBudget
from cascade.testing import Scripted, ScriptedModel

ROOT: Final = Path(__file__).resolve().parents[1]
FILE: Final = "llmperf_llama2.jsonl.gz"
LEAST: Final = 100
"""Answered calls that a distribution needs: below that, a p99 is made of nothing."""

DELAYS: Final = (None, 0.99, 0.95, 0.9, 0.75, 0.5, 0.25, 0.0)
"""Quantiles after which the second call starts; None never, 0 at once."""

TOKENS: Final = 150
"""Output tokens of an answer, as in the data, and at most."""

_PRICE: Final = Price(input=0.0, output=1.0)


@dataclass(frozen=True, slots=True)
class Latencies:
    """A fitted distribution: sorted seconds, between which the quantile function is linear."""

    seconds: tuple[float, ...]

    def quantile(self, q: float) -> float:
        """For 0 <= q <= 1."""
        at = q * (len(self.seconds) - 1)
        below = min(int(at), len(self.seconds) - 2)
        low, high = self.seconds[below], self.seconds[below + 1]
        return low + (high - low) * (at - below)

    def draw(self, random: Random) -> float:
        """A latency."""
        return self.quantile(random.random())


@dataclass(frozen=True, slots=True)
class Row:
    """What one delay does.

    Attributes:
        delay: its name; ``seconds`` what it comes to, None without a hedge.
        p50, p90, p99, mean: seconds.
        over: p99 as a multiple of the clairvoyant's.
        extra_calls: second calls a call.
        extra_time: model seconds beyond those of no hedge, as a share of them.
        extra_cost: the same of the cost: at least, and at most, as losers may be billed or not.
    """

    delay: str
    seconds: float | None
    p50: float
    p90: float
    p99: float
    mean: float
    over: float
    extra_calls: float
    extra_time: float
    extra_cost: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Ran:
    """Calls under one delay: seconds each, calls and model seconds and dollars of all together."""

    latencies: list[float]
    calls: int
    busy: float
    low: float
    high: float


def read_latencies(path: Path) -> dict[str, Latencies]:
    """``provider/model`` → its distribution, where enough calls were answered."""
    found: dict[str, list[float]] = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["error_code"] is None and row["e2e_s"]:
                found[f"{row['provider']}/{row['model']}"].append(row["e2e_s"])
    return {
        name: Latencies(tuple(sorted(seconds)))
        for name, seconds in sorted(found.items())
        if len(seconds) >= LEAST
    }


async def run(draws: Sequence[tuple[float, float]], delay: float | None) -> Ran:
    """Each pair of draws through the engine: what the first call takes, and what a second would."""
    latencies: list[float] = []
    calls, busy, low, high = 0, 0.0, 0.0, 0.0
    budget = RetryBudget(fraction=1.0)  # the process-wide cap on extra load would end the curve
    async with Engine(retry_budget=budget) as engine:
        for pair in draws:
            model = ScriptedModel(*(_answer(seconds) for seconds in pair))
            tier = Tier(
                model,
                replica_after=delay,
                timeout=None,
                price=_PRICE,
                params={"max_tokens": TOKENS},
            )
            result = await engine.run(Policy("hedge", [tier]), "A prompt.")
            latencies.append(result.latency)
            calls += len(model.calls)
            busy += sum((call.ended or call.started) - call.started for call in model.calls)
            assert result.cost.low is not None
            assert result.cost.high is not None
            low += result.cost.low
            high += result.cost.high
    return Ran(latencies, calls, busy, low, high)


def _answer(seconds: float) -> Scripted:
    # In one piece: a hedge by the time to the first token and one by the whole time are the same.
    return Scripted(text="word " * TOKENS, delay=seconds, usage=Usage(0, TOKENS))


def curve(fitted: Latencies, draws: int, seed: int) -> list[Row]:
    """A row for each delay and one for the clairvoyant, all on the same draws."""
    import trio
    from trio.testing import MockClock

    random = Random(seed)  # noqa: S311  (no secret)
    pairs = [(fitted.draw(random), fitted.draw(random)) for _ in range(draws)]
    best = Latencies(tuple(sorted(min(pair) for pair in pairs)))
    ran: dict[float | None, Ran] = {}
    for q in DELAYS:
        delay = _seconds(fitted, q)
        clock = MockClock(autojump_threshold=0)
        ran[q] = trio.run(partial(run, pairs, delay), clock=clock)
    rows = [_row(q, _seconds(fitted, q), it, ran[None], best) for q, it in ran.items()]
    return [*rows, _clairvoyant(best, ran[None], pairs)]


def _seconds(fitted: Latencies, q: float | None) -> float | None:
    return None if q is None else 0.0 if q == 0.0 else fitted.quantile(q)


def _row(q: float | None, delay: float | None, it: Ran, bare: Ran, best: Latencies) -> Row:
    sample = Latencies(tuple(sorted(it.latencies)))
    name = "none" if q is None else "0" if q == 0.0 else f"p{100 * q:g}"
    return Row(
        delay=name,
        seconds=delay,
        p50=sample.quantile(0.5),
        p90=sample.quantile(0.9),
        p99=sample.quantile(0.99),
        mean=mean(sample.seconds),
        over=sample.quantile(0.99) / best.quantile(0.99),
        extra_calls=it.calls / len(it.latencies) - 1.0,
        extra_time=it.busy / bare.busy - 1.0,
        extra_cost=(it.low / bare.low - 1.0, it.high / bare.high - 1.0),
    )


def _clairvoyant(best: Latencies, bare: Ran, pairs: Sequence[tuple[float, float]]) -> Row:
    return Row(
        delay="clairvoyant",
        seconds=None,
        p50=best.quantile(0.5),
        p90=best.quantile(0.9),
        p99=best.quantile(0.99),
        mean=mean(best.seconds),
        over=1.0,
        extra_calls=0.0,
        extra_time=sum(min(pair) for pair in pairs) / bare.busy - 1.0,
        extra_cost=(0.0, 0.0),
    )


def table(name: str, rows: Sequence[Row], calls: int) -> str:
    """One distribution for people."""
    lines = [
        f"{name} ({calls} recorded calls)",
        f"  {'delay':<12}{'':>9}{'p50':>9}{'p90':>9}{'p99':>9}{'vs best':>9}"
        f"{'calls':>8}{'time':>8}   cost",
    ]
    for row in rows:
        low, high = row.extra_cost
        delay = "" if row.seconds is None else f"{row.seconds:.2f} s"
        lines.append(
            f"  {row.delay:<12}{delay:>9}{row.p50:>7.2f} s{row.p90:>7.2f} s{row.p99:>7.2f} s"
            f"{row.over:>8.2f}x{row.extra_calls:>+8.1%}{row.extra_time:>+8.1%}"
            f"   {low:+.1%} to {high:+.1%}"
        )
    return "\n".join(lines)


def plot(curves: Mapping[str, Sequence[Row]], path: str) -> None:
    """p99 over extra calls, one line a distribution, each p99 as a multiple of the clairvoyant's.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("plots", extra="plot") from error
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, rows in curves.items():
        hedged = [row for row in rows if row.delay != "clairvoyant"]
        axes.plot(
            [100 * row.extra_calls for row in hedged],
            [row.over for row in hedged],
            marker="o",
            label=name,
        )
    axes.axhline(1.0, color="grey", linestyle="--", label="clairvoyant")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("extra calls, %")
    axes.set_ylabel("p99 latency over the clairvoyant's")
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(path)


def main() -> int:
    """Read, run, print."""
    parser = argparse.ArgumentParser(description="The latency-cost curve of hedge delays.")
    parser.add_argument("names", nargs="*", metavar="PROVIDER/MODEL", help="by default all")
    parser.add_argument("--draws", type=int, default=1000, help="calls for each delay")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--plot", metavar="FILE", help="draw the curves, as PNG, SVG or PDF")
    options = parser.parse_args()
    path = Path(os.environ.get("CASCADE_DATA", ROOT.parent / "shared" / "data")) / FILE
    if not path.exists():
        print(f"hedge: skipped: no {FILE}; CASCADE_DATA names the folder of recorded data")
        return 0
    fitted = read_latencies(path)
    for name in options.names:
        if name not in fitted:
            parser.error(f"{name}: choose from {', '.join(fitted)}")
    curves: dict[str, list[Row]] = {}
    for name in options.names or fitted:
        if sys.stderr.isatty():
            print(f"\r{name:<40}", end="", file=sys.stderr, flush=True)
        curves[name] = curve(fitted[name], options.draws, options.seed)
    if sys.stderr.isatty():
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps({name: [asdict(row) for row in rows] for name, rows in curves.items()}))
    else:
        print("\n\n".join(table(n, rows, len(fitted[n].seconds)) for n, rows in curves.items()))
    if options.plot:
        plot(curves, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
