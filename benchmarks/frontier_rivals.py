"""Other ways to choose among the same models, all given the same task on the same rows.

Part of ``python -m benchmarks.frontier``, which says what is measured.

The task: the least cost at an accuracy of at most ``drop`` below that of the top model.
Each way chooses on four fifths of the rows, and what it chose is played on the fifth that it has
not seen; in five turns every row is played once.

top model          for every prompt
cheapest model     the cheapest that meets the task on the rows it chose on
random mixture     two models, one of them for a share of the prompts drawn at random; its accuracy
                   and cost are the expected ones
learned router     a cheap model or the top one, by the prompt alone and without any check, as
                   RouteLLM does (Ong et al., arXiv 2406.18665): a regression says how likely the
                   cheap one is right, fitted on one half; its threshold is set on the other
learned scores     up to three models, each answer scored by a regression that was fitted on one
                   half, with thresholds set on the other, as FrugalGPT does (Chen, Zaharia, Zou,
                   arXiv 2305.05176); without a certificate
checked, naive     up to three models and the same check as the tuned policy; of all that meet the
                   task on the rows it chose on, the cheapest; without a certificate
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.frontier_points import Array, play, sequence
from benchmarks.recorded_json import calls_of
from cascade import Request
from cascade.errors import ConfigError
from cascade.verifiers import fit_learned
from cascade_policies.replaying import UNCHECKED, Evaluator, Settings, Table
from cascade_policies.routers import fit_router

TOP = "top model"
FOLDS = 5
MOST_TIERS = 3
STEPS = 8
"""Thresholds tried a tier: quantiles of the scores."""

STRENGTH = 0.1
"""Of the regressions. To look for the best in cross-validation takes 25 times as long."""

Rows = Sequence[dict[str, Any]]


class NotAvailableError(Exception):
    """A way needs what is not there."""


class Chosen(NamedTuple):
    """What a way chose, and what that comes to on the rows it has not seen."""

    what: str
    quality: Array
    cost: Array


class Task:
    """One turn: the rows to choose on, and those to play.

    Args:
        table: of all rows, the cheapest column first and the top model last.
        rows: all rows, as recorded.
        fit: positions of the rows to choose on, in an order that says nothing.
        test: positions of those to play.
        drop: how far the accuracy may be below the top model's.
    """

    def __init__(
        self, table: Table, rows: Rows, fit: NDArray[np.intp], test: NDArray[np.intp], drop: float
    ) -> None:
        self.table = table
        self.rows = rows
        self.fit = fit
        self.test = test
        self.drop = drop
        self.known = table.take(fit)
        self.unseen = table.take(test)
        self.top = len(table.tiers) - 1

    def target(self, known: Table) -> float:
        """The accuracy to be reached on some of the known rows."""
        return float(known.quality[:, self.top].mean()) - self.drop

    def column(self, column: int, what: str | None = None) -> Chosen:
        """One model for every prompt."""
        unseen = self.unseen
        name = self.table.tiers[column] if what is None else what
        return Chosen(name, unseen.quality[:, column], unseen.cost_high[:, column])

    def played(self, settings: Settings, unseen: Table | None = None) -> Chosen:
        """A policy on the rows that were not seen."""
        calls = play(self.unseen if unseen is None else unseen, settings)
        return Chosen(names(self.table.tiers, settings), calls.quality, calls.cost_high)

    @cached_property
    def halves(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """One half of the known rows to fit regressions on, the other to set thresholds on."""
        middle = len(self.fit) // 2
        return self.fit[:middle], self.fit[middle:]

    @cached_property
    def chances(self) -> Array:
        """How likely each model is right, by the prompt alone: of shape (rows, models)."""
        _require_sklearn()
        models = self.table.tiers
        learning = [
            (_request(row), {model: bool(row["models"][model]["correct"]) for model in models})
            for row in (self.rows[at] for at in self.halves[0])
        ]
        router, _ = fit_router(learning, models, strength=STRENGTH)
        says = [router.probabilities(_request(row)) for row in self.rows]
        return np.array([[one[model] for model in models] for one in says])

    @cached_property
    def scores(self) -> Array:
        """How likely each answer is right: of shape (rows, models)."""
        _require_sklearn()
        scores = np.empty(self.table.score.shape)
        for column, model in enumerate(self.table.tiers):
            asked = [Request.of(row["prompt"]) for row in self.rows]
            answers = [calls_of(row, row["models"][model]["output"]) for row in self.rows]
            right = [bool(row["models"][model]["correct"]) for row in self.rows]
            learning = [(asked[at], answers[at], right[at]) for at in self.halves[0]]
            try:
                learned = fit_learned(learning, strength=STRENGTH)
            except ConfigError:  # all are right, or all wrong: nothing to be learned
                scores[:, column] = 0.5
            else:
                pairs = zip(asked, answers, strict=True)
                scores[:, column] = [learned.score(*pair) or 0.0 for pair in pairs]
        return scores


def tasks(table: Table, rows: Rows, drop: float, folds: int = FOLDS) -> Iterator[Task]:
    """The turns: every row is played in exactly one."""
    order = np.random.default_rng(0).permutation(len(table))
    for fold in range(folds):
        test = order[fold::folds]
        fit = order[~np.isin(order, test)]
        yield Task(table, rows, fit, test, drop)


def top_model(task: Task) -> Chosen:
    """The model that the others are measured by."""
    return task.column(task.top)


def cheapest_model(task: Task) -> Chosen:
    """The cheapest single model that meets the task."""
    good = task.known.quality.mean(axis=0) >= task.target(task.known)
    costs = np.where(good, task.known.cost_high.mean(axis=0), np.inf)
    return task.column(int(costs.argmin()))


def random_mixture(task: Task) -> Chosen:
    """The cheapest mixture of two models that meets the task."""
    quality, cost = task.known.quality.mean(axis=0), task.known.cost_high.mean(axis=0)
    target = task.target(task.known)
    best = (np.inf, 0, 0, 1.0)
    for small, large in product(range(len(quality)), repeat=2):
        if quality[large] >= target:
            short = quality[small] < target
            share = (target - quality[small]) / (quality[large] - quality[small]) if short else 0.0
            best = min(best, (share * cost[large] + (1 - share) * cost[small], small, large, share))
    _, small, large, share = best
    one, other = task.column(small), task.column(large)
    what = f"{one.what} | {other.what}" if share else one.what
    mixed = [(1 - share) * a + share * b for a, b in zip(one[1:], other[1:], strict=True)]
    return Chosen(what, *mixed)


def learned_router(task: Task) -> Chosen:
    """A cheap model where the router holds it likely enough to be right, else the top one."""
    setting, large = task.halves[1], task.top
    known = task.table.take(setting)
    target = task.target(known)
    found = (float(known.cost_high[:, large].mean()), large, np.inf)
    for small in range(len(task.table.tiers)):
        chances = task.chances[setting, small]
        for threshold in np.quantile(chances, np.linspace(0, 1, 3 * STEPS)):
            quality, cost = _routed(known, chances >= threshold, small, large)
            if quality.mean() >= target:
                found = min(found, (float(cost.mean()), small, float(threshold)))
    _, small, threshold = found
    easy = task.chances[task.test, small] >= threshold
    models = task.table.tiers
    return Chosen(f"{models[small]} | {models[large]}", *_routed(task.unseen, easy, small, large))


def _routed(table: Table, easy: NDArray[np.bool_], small: int, large: int) -> tuple[Array, Array]:
    return (
        np.where(easy, table.quality[:, small], table.quality[:, large]),
        np.where(easy, table.cost_high[:, small], table.cost_high[:, large]),
    )


def learned_scores(task: Task) -> Chosen:
    """A cascade by learned scores."""
    scored = replaced(task.table, task.scores)
    known = scored.take(task.halves[1])
    steps = np.linspace(0, 1, STEPS)
    grids = [np.unique(np.quantile(scores, steps)).tolist() for scores in known.score.T]
    candidates = [
        Settings(tiers=tiers, thresholds=(*thresholds, UNCHECKED))
        for tiers in subsets(len(known.tiers))
        if len(tiers) < MOST_TIERS or tiers[-1] == task.top
        for thresholds in product(*(grids[tier] for tier in tiers[:-1]))
    ]
    return task.played(cheapest(known, candidates, task.target(known)), scored.take(task.test))


def checked_naive(task: Task) -> Chosen:
    """The cheapest cascade over the check that meets the task on the known rows."""
    candidates = [sequence(*tiers) for tiers in subsets(len(task.table.tiers))]
    return task.played(cheapest(task.known, candidates, task.target(task.known)))


def subsets(count: int) -> Iterator[tuple[int, ...]]:
    """Up to `MOST_TIERS` of so many columns, the cheaper first."""
    for size in range(1, MOST_TIERS + 1):
        yield from combinations(range(count), size)


def cheapest(known: Table, candidates: Sequence[Settings], target: float) -> Settings:
    """The cheapest of those that reach the target; the most accurate where none does."""
    means = Evaluator(known).means(candidates)
    good = means.quality >= target
    if not good.any():
        return candidates[int(means.quality.argmax())]
    return candidates[int(np.where(good, means.cost_high, np.inf).argmin())]


def names(tiers: Sequence[str], settings: Settings) -> str:
    """The settings' tiers, in order."""
    return " → ".join(tiers[column] for column in settings.tiers)


def replaced(table: Table, scores: Array) -> Table:
    """The table with other scores."""
    return replace(table, score=scores)


def _require_sklearn() -> None:
    if find_spec("sklearn") is None:
        raise NotAvailableError("scikit-learn: pip install 'cascade-engine[learned]'")


def _request(row: dict[str, Any]) -> Request:
    return Request(Request.of(row["prompt"]).messages, tuple(row["functions"]))


RIVALS: Mapping[str, Callable[[Task], Chosen]] = {
    TOP: top_model,
    "cheapest model": cheapest_model,
    "random mixture": random_mixture,
    "learned router": learned_router,
    "learned scores": learned_scores,
    "checked, naive": checked_naive,
}
