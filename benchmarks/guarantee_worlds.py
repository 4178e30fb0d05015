"""Worlds whose truth is known: a population of rows, from which recordings are drawn.

Part of ``python -m benchmarks.guarantee``, which says what is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.frontier_data import bfcl
from benchmarks.recorded_json import rows
from cascade_policies.replaying import UNCHECKED, Settings, Table

ACCURACIES = (0.72, 0.85, 0.93)
COSTS = (1.0, 6.0, 30.0)
AUROC = 0.86
ALIKE = 0.5
"""How much of what makes a prompt hard is the same for all tiers."""

ROWS = 200_000
BINS = 400
TOOLS = ("claude-3-haiku-20240307", "gpt-3.5-turbo-0125", "gpt-4-0613")
SUMS = ("Mistral-Nemo-Instruct-2407", "claude-3-haiku-20240307", "claude-3-5-sonnet-20241022")
VOTERS = ("Phi-3.5-mini-instruct", "Meta-Llama-3-8B-Instruct", "Meta-Llama-3.1-8B-Instruct",
          "Qwen2-7B-Instruct", "gemma-2-9b-it")  # fmt: skip

_NORMAL = NormalDist()


def synthetic(seed: int, count: int = ROWS) -> Table:
    """Three tiers whose verifiers' scores are normal, one unit of variance, for right and for wrong
    answers; the distance of the two is what the AUROC says."""
    random = np.random.default_rng(seed)
    shape = (count, len(ACCURACIES))
    ease = random.standard_normal((count, 1))
    own = random.standard_normal(shape)
    limits = [_NORMAL.inv_cdf(accuracy) for accuracy in ACCURACIES]
    quality = (sqrt(ALIKE) * ease + sqrt(1 - ALIKE) * own < limits).astype(np.float64)
    apart = sqrt(2) * _NORMAL.inv_cdf(AUROC)
    raw = random.standard_normal(shape) + apart * (quality - 0.5)
    return table(("small", "mid", "large"), quality, 1 / (1 + np.exp(-raw)),
                 np.tile(np.array(COSTS) / 1000, (count, 1)))  # fmt: skip


def tools() -> Table:
    """BFCL's Python rows of three models, with what `ToolCalls` says; rows of unknown cost left
    out."""
    _, every = bfcl()
    columns = [list(every.tiers).index(name) for name in TOOLS]
    known = ~np.isnan(every.cost_high[:, columns]).any(axis=1)
    quality, score, cost = (
        array[known][:, columns] for array in (every.quality, every.score, every.cost_high)
    )
    return table(TOOLS, quality, score, cost)


def sums() -> Table:
    """ZeroEval's GSM rows of three models at the synthetic costs. The score is the share of five
    small models that give the same answer, which are not paid for: it is the rows that are real."""
    every = list(rows("zeroeval", None))

    def agreed(row: Mapping[str, Any], name: str) -> float:
        said = {model: given["answer"] for model, given in row["models"].items()}
        return [said[voter] for voter in VOTERS].count(said[name]) / len(VOTERS)

    right = [[float(row["models"][name]["correct"]) for name in SUMS] for row in every]
    score = [[agreed(row, name) for name in SUMS] for row in every]
    cost = np.tile(np.array(COSTS) / 1000, (len(every), 1))
    return table(SUMS, np.array(right), np.array(score), cost)


def table(
    names: Sequence[str],
    quality: NDArray[np.float64],
    score: NDArray[np.float64],
    cost: NDArray[np.float64],
) -> Table:
    """A table in which nothing fails and time does not matter."""
    none = np.zeros(quality.shape)
    return Table(
        ids=[str(row) for row in range(len(quality))],
        tiers=names,
        quality=quality,
        score=score,
        cost_low=cost,
        cost_high=cost,
        latency=none,
        check_latency=none,
        failed=none.astype(bool),
        stops_billing=[None] * len(names),
    )


def optimum(world: Table, drop: float) -> float:
    """The mean cost of the cheapest cascade whose quality is at most ``drop`` below the last
    tier's: every choice of three tiers, and every pair of `BINS` quantiles of their scores."""
    floor = float(world.quality[:, -1].mean()) - drop - 1e-12
    count = len(world.tiers)
    best = float(world.cost_high[:, -1].mean())
    for size in range(1, count + 1):
        for chosen in combinations(range(count), size):
            quality, cost = _grid(world, chosen)
            fits = quality >= floor
            if fits.any():
                best = min(best, float(cost[fits].min()))
    return best


def _grid(world: Table, chosen: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quality and cost of the choice at every combination of thresholds, as sums over bins."""
    *first, last = chosen
    if len(first) > 2:
        raise ValueError("no more than three tiers")
    bins = []
    for column in first:
        score = world.score[:, column]
        edges = np.unique(np.quantile(score, np.linspace(0, 1, BINS + 1)[1:]))
        bins.append(np.searchsorted(edges, score))
    while len(bins) < 2:
        bins.append(np.zeros(len(world), np.intp))
    shape = (bins[0].max() + 1, bins[1].max() + 1)
    flat = bins[0] * shape[1] + bins[1]

    def below(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over the rows that are in bins below (a, b); with all of a bin's at its end."""
        sums = np.zeros((shape[0] + 1, shape[1] + 1))
        summed = np.bincount(flat, weights=values, minlength=shape[0] * shape[1])
        sums[1:, 1:] = summed.reshape(shape).cumsum(0).cumsum(1)
        return sums

    quality = below(world.quality[:, last])
    cost = below(world.cost_high[:, last])
    if not first:
        return quality[-1:, -1:] / len(world), cost[-1:, -1:] / len(world)
    if len(first) == 2:
        second, price = below(world.quality[:, first[1]]), below(world.cost_high[:, first[1]])
        quality = second[:, -1:] - second + quality
        cost = price[:, -1:] + cost
    else:
        quality, cost = quality[:, -1:], cost[:, -1:]
    one, price = below(world.quality[:, first[0]]), below(world.cost_high[:, first[0]])
    quality = one[-1, -1] - one[:, -1:] + quality
    cost = price[-1, -1] + cost
    return quality / len(world), cost / len(world)


def alone(world: Table) -> Settings:
    """The last tier alone."""
    return Settings((len(world.tiers) - 1,), (UNCHECKED,))
