"""What a learned router saves on recorded answers, and whether it knows more than chance.

    python -m benchmarks.routers [bfcl] [zeroeval] [routellm] [--json]

Each set is a cascade of two models. A `Learned` router is fitted on a random half of the prompts;
on the other half these are compared, with 95% bootstrap intervals over prompts:

always small   begin at the small model, go on when its check rejects the answer
always large   the large model alone
routed 10%     begin at the large model where the router holds the small one least likely to be
  … 25, 50%    right: for so many of the prompts it was fitted on
least cost     begin where the router expects the least cost (its option ``costs``)

``knows`` is the accuracy above that of a router which begins at the large model for the same share
of the prompts, drawn at random: with an interval that reaches 0, the router has not been shown to
know anything. Its own cost is nothing, its time is printed.

bfcl has function calls, checked by `ToolCalls`; zeroeval has JSON, checked by `JsonSchema`;
routellm has plain answers that nothing checks, so that the route alone decides. Prices are those
published for the models (prices.json of the recorded data). Token counts are the providers' for
bfcl (rows where one reported none are left out) and estimates for the others.

The data lie in $CASCADE_DATA, by default ../shared/data.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from time import perf_counter
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from benchmarks.recorded_json import REASONED, REQUEST, calls_of, data, rows
from cascade import Answer, Price, Request
from cascade.types import Usage
from cascade.verdict import Verdict
from cascade.verifiers import JsonSchema, ToolCalls
from cascade_policies.routers import Learned, fit_router

RESAMPLES = 2000
SHARES = (0.10, 0.25, 0.50)
TIERS: tuple[str, str] = ("small", "large")
SMALL, LARGE = TIERS

Interval = tuple[float, float, float]
"""A value, and the ends of its 95% interval."""


class Set(Struct, frozen=True):
    """A recording, two models of it, their names in the price list, and the small one's check."""

    models: tuple[str, str]
    prices: tuple[str, str]
    accepts: Callable[[dict[str, Any], Any], bool]


def _calls(row: dict[str, Any], output: Any) -> bool:
    parallel = "parallel" in row["category"]
    verdict = ToolCalls(row["functions"], parallel=parallel).verify(REQUEST, calls_of(row, output))
    assert isinstance(verdict, Verdict)
    return verdict.accepted


_JSON = JsonSchema(REASONED)


def _json(row: dict[str, Any], output: Any) -> bool:
    verdict = _JSON.verify(REQUEST, Answer(output or ""))
    assert isinstance(verdict, Verdict)
    return verdict.accepted


NEMO, SONNET = "open-mistral-nemo-2407", "claude-3-5-sonnet-20240620"
GPT_35, GPT_4O = "gpt-3.5-turbo-0125", "gpt-4o-2024-08-06"
MIXTRAL, GPT_4 = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
SETS = {
    "bfcl": Set((NEMO, SONNET), (NEMO, SONNET), _calls),
    "zeroeval": Set((GPT_35, GPT_4O), (GPT_35, GPT_4O), _json),
    "routellm": Set((MIXTRAL, GPT_4), ("open-mixtral-8x7b", GPT_4), lambda row, output: True),
}


class Case(Struct, frozen=True):
    """One prompt, and each pair for the small model and the large one.

    ``correct`` and ``alone`` are of the model's own answer: whether it is right, and US dollars.
    ``right`` and ``cost`` are of the cascade that begins there.
    """

    request: Request
    correct: tuple[bool, bool]
    alone: tuple[float, float]
    right: tuple[bool, bool]
    cost: tuple[float, float]


class Line(Struct, frozen=True):
    """One line of the table."""

    strategy: str
    large_share: float
    accuracy: Interval
    dollars_per_1000: Interval
    knows: Interval | None


def cases(name: str) -> Iterator[Case]:
    """The prompts of a set, each begun at either model."""
    chosen = SETS[name]
    listed = json.loads((data() / "prices.json").read_text())["prices"]
    prices = [Price(input=listed[p]["in"], output=listed[p]["out"]) for p in chosen.prices]
    for row in rows(name, None):
        if row.get("contaminated"):
            continue
        given = [row["models"][model] for model in chosen.models]
        costs = [price.of(_usage(row, one)) for price, one in zip(prices, given, strict=True)]
        small, large = costs
        if small is None or large is None:
            continue
        accepted = chosen.accepts(row, given[0]["output"])
        correct = bool(given[0]["correct"]), bool(given[1]["correct"])
        tools = tuple(row.get("functions", ()))
        request = Request(Request.of(row.get("question") or row["prompt"]).messages, tools)
        yield Case(
            request,
            correct,
            (small, large),
            (correct[0 if accepted else 1], correct[1]),
            (small if accepted else small + large, large),
        )


def _usage(row: dict[str, Any], given: dict[str, Any]) -> Usage:
    prompt = given.get("input_tokens", row.get("input_tokens_est"))
    return Usage(prompt or None, given.get("output_tokens", given.get("output_tokens_est")) or None)


def interval(values: Sequence[float]) -> Interval:
    """The mean and its 95% percentile bootstrap interval, over the same draws each time."""
    random = Random(0)  # noqa: S311  (resampling, no secret)
    count = len(values)
    means = sorted(sum(random.choices(values, k=count)) / count for _ in range(RESAMPLES))
    low, high = means[RESAMPLES * 25 // 1000], means[RESAMPLES * 975 // 1000 - 1]
    return sum(values) / count, low, high


def line(strategy: str, tested: Sequence[Case], large: Sequence[bool]) -> Line:
    """What beginning where ``large`` says comes to."""
    share = sum(large) / len(large)
    right = [float(case.right[at]) for case, at in zip(tested, large, strict=True)]
    by_chance = [(1 - share) * case.right[0] + share * case.right[1] for case in tested]
    knows = [got - chance for got, chance in zip(right, by_chance, strict=True)]
    return Line(
        strategy,
        share,
        interval(right),
        interval([1000 * case.cost[at] for case, at in zip(tested, large, strict=True)]),
        interval(knows) if 0 < share < 1 else None,
    )


def measure(name: str) -> dict[str, Any]:
    """One set: its lines, and what there is to say of the router."""
    random = Random(0)  # noqa: S311  (a split, no secret)
    halves: tuple[list[Case], list[Case]] = ([], [])
    for case in cases(name):
        halves[random.random() < 0.5].append(case)
    train, tested = halves
    labelled = [(case.request, dict(zip(TIERS, case.correct, strict=True))) for case in train]
    router, qualities = fit_router(labelled, TIERS)
    began = perf_counter()
    chances = [router.probabilities(case.request)[SMALL] for case in tested]
    took = (perf_counter() - began) / len(tested)
    lines = [
        line("always small", tested, [False] * len(tested)),
        line("always large", tested, [True] * len(tested)),
    ]
    known = sorted(router.probabilities(case.request)[SMALL] for case in train)
    for share in SHARES:
        threshold = known[int(share * len(known))]
        lines.append(line(f"routed {share:.0%}", tested, [p < threshold for p in chances]))
    costs = {tier: sum(case.alone[at] for case in train) for at, tier in enumerate(TIERS)}
    cheapest = Learned(router.to_dict(), costs=costs)
    starts = [cheapest.route(case.request, TIERS).start == LARGE for case in tested]
    lines.append(line("least cost", tested, starts))
    return {
        "set": name,
        "models": SETS[name].models,
        "train": len(train),
        "test": len(tested),
        "auroc": qualities[SMALL].auroc,
        "microseconds": took * 1e6,
        "lines": [asdict(each) for each in lines],
    }


def show(found: dict[str, Any]) -> None:
    """Print one set."""
    small, large = found["models"]
    auroc = "too few to tell" if found["auroc"] is None else f"{found['auroc']:.3f}"
    print(f"{found['set']}: {small} → {large}; fitted on {found['train']} prompts, tested on "
          f"{found['test']}; AUROC on the training half {auroc}; "
          f"{found['microseconds']:.0f} µs a prompt")  # fmt: skip
    print(f"  {'':14} {'large':>7}  {'accuracy':25}{'US$ per 1000':25}knows")
    for each in found["lines"]:
        values = (each["accuracy"], each["dollars_per_1000"], each["knows"])
        cells = "".join(f"{_shown(value):25}" for value in values)
        print(f"  {each['strategy']:14} {each['large_share']:7.1%}  {cells}".rstrip())
    print(flush=True)


def _shown(value: Interval | None) -> str:
    if value is None:
        return ""
    mean, low, high = (f"{number:.3f}" for number in value)
    return f"{mean} [{low}, {high}]"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{', '.join(SETS)}; default all")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    for name in options.sets:
        if name not in SETS:
            parser.error(f"no set {name!r}; there are {', '.join(SETS)}")
    every = []
    for name in options.sets or SETS:
        found = measure(name)
        every.append(found)
        if not options.json:
            show(found)
    if options.json:
        print(json.dumps({"sets": every}))


if __name__ == "__main__":
    main()
