"""The corners of every choice of tiers: its best thresholds, price of quality by price."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from cascade_policies.replaying.settings import UNCHECKED, Settings
from cascade_policies.replaying.table import Array, Flags
from cascade_policies.tuning.ascent import Ranks, Rung, climb, rung, threshold
from cascade_policies.tuning.goal import Goal
from cascade_policies.tuning.ladder import Ladder, Player, ranked

PRICES: Final = np.geomspace(1e-3, 1e2, 26)
"""λ, in units of quality for what the most expensive tier costs."""

STEPS: Final = 12
"""Candidates between two corners."""

RESAMPLES: Final = 8
"""How often the corners are looked for on rows weighted anew; their ranks' mean is what counts."""

_ENOUGH: Final = 10_000  # rows, of all resamples: on more, one search is as good as its mean


class Climber:
    """Finds corners, each once."""

    def __init__(self, ladder: Ladder, player: Player, goal: Goal) -> None:
        self._ladder, self._player, self._goal = ladder, player, goal
        self._draws = _draws(len(player.table))
        self._rungs: dict[tuple[int, bool], Rung | None] = {}
        self._corners: dict[tuple[int, ...], list[Ranks]] = {}
        self._worth: dict[Settings, tuple[float, float]] = {}
        self._unit = 1.0
        means = [self._spent(position) for position in range(len(ladder.policy.tiers))]
        self._unit = max(means) or 1.0

    def best(self, choices: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """For each price the choice that is best at it."""
        able = [chosen for chosen in choices if self._able(chosen)]
        found = []
        for at, price in enumerate(PRICES):
            worths = [self._objective(chosen, at, float(price)) for chosen in able]
            found.append(able[int(np.argmax(worths))])
        return found

    def between(self, chosen: tuple[int, ...], at: int) -> Iterator[Settings]:
        """From the corner at one price to that at the next."""
        here, there = self._climbed(chosen)[at], self._climbed(chosen)[at + 1]
        for step in range(STEPS + 1):
            share = step / STEPS
            ranks = tuple(round(a + share * (b - a)) for a, b in zip(here, there, strict=True))
            yield self._settings(chosen, ranks)

    def from_top(self, chosen: tuple[int, ...]) -> Iterator[Settings]:
        """From the last tier alone, which is safe, to the first corner, which may be luck."""
        yield self._ladder.top
        if chosen[-1] == len(self._ladder.policy.tiers) - 1:
            corner = self._climbed(chosen)[0]
            for step in range(STEPS):
                yield self._settings(chosen, [round(rank * step / STEPS) for rank in corner])

    def _objective(self, chosen: tuple[int, ...], at: int, price: float) -> float:
        settings = self._settings(chosen, self._climbed(chosen)[at])
        if settings not in self._worth:
            values = self._player.play(settings)
            spent = float(np.mean(values.spent(self._goal)))
            self._worth[settings] = float(np.mean(values.quality)), spent / self._unit
        quality, spent = self._worth[settings]
        return quality - price * spent

    def _climbed(self, chosen: tuple[int, ...]) -> list[Ranks]:
        if chosen not in self._corners:
            rungs = self._of(chosen)
            starts: list[Ranks | None] = [None] * len(self._draws)
            corners: list[Ranks] = []
            for price in PRICES / self._unit:
                starts = [
                    climb(rungs, float(price), start, weights)
                    for start, weights in zip(starts, self._draws, strict=True)
                ]
                ranks = [each for each in starts if each is not None]
                corners.append(
                    tuple(round(sum(column) / len(ranks)) for column in zip(*ranks, strict=True))
                )
            self._corners[chosen] = corners
        return self._corners[chosen]

    def _settings(self, chosen: tuple[int, ...], ranks: Sequence[int]) -> Settings:
        policy = self._ladder.policy
        thresholds = [
            threshold(each, rank) if each.accepts is None else policy.thresholds[position]
            for each, rank, position in zip(self._of(chosen), ranks, chosen, strict=False)
        ]
        return self._ladder.settings(chosen, (*thresholds, policy.thresholds[chosen[-1]]))

    def _able(self, chosen: tuple[int, ...]) -> bool:
        """Whether every tier but the last accepts some answers."""
        last = len(chosen) - 1
        return all(self._rung(k, last=place == last) for place, k in enumerate(chosen))

    def _of(self, chosen: tuple[int, ...]) -> list[Rung]:
        last = len(chosen) - 1
        rungs = [self._rung(k, last=place == last) for place, k in enumerate(chosen)]
        return [each for each in rungs if each is not None]

    def _rung(self, position: int, *, last: bool) -> Rung | None:
        if (position, last) not in self._rungs:
            made = _rung(self._ladder, self._player, self._goal, position, last=last)
            self._rungs[position, last] = made
        return self._rungs[position, last]

    def _spent(self, position: int) -> float:
        values = self._player.play(self._ladder.alone(position))
        return float(np.mean(values.spent(self._goal)))


def _rung(ladder: Ladder, player: Player, goal: Goal, position: int, *, last: bool) -> Rung | None:
    """None where the tier is of no use before another one."""
    table, policy = player.table, ladder.policy
    own = policy.thresholds[position]
    quality, cost, _ = player.column(policy.tiers[position], checked=own != UNCHECKED)
    spent = cost
    if goal.minimise == "latency":
        column = policy.tiers[position]
        check = np.where(table.failed[:, column], 0.0, table.check_latency[:, column])
        spent = table.latency[:, column] + (check if own != UNCHECKED else 0.0)
    if ladder.tunable[position] and not last:
        return rung(quality, spent, ranked(table, policy, position))
    # What it accepts is what it leaves no escalation for, when played with a free tier behind.
    kept = player.play(ladder.alone(position))
    accepts = kept.quality > 0.0 if last else _accepted(ladder, player, position)
    none = np.zeros(0, np.intp)
    return Rung(quality, spent, accepts, none, none, np.zeros(0))


def _accepted(ladder: Ladder, player: Player, position: int) -> Flags:
    policy, table = ladder.policy, player.table
    column, own = policy.tiers[position], policy.thresholds[position]
    failed = table.failed[:, column]
    if own == UNCHECKED:
        return np.asarray(~failed, np.bool_)
    if own is None:
        assert table.accepted is not None
        abstained = policy.abstains[position] == "accept"
        said = np.where(np.isnan(table.score[:, column]), abstained, table.accepted[:, column])
        return np.asarray(said.astype(np.bool_) & ~failed, np.bool_)
    return np.asarray(ranked(table, policy, position) >= own, np.bool_)


def _draws(rows: int) -> list[Array | None]:
    """How often each row counts, for every search; None for once."""
    count = min(RESAMPLES, _ENOUGH // max(rows, 1))
    if count < 2:
        return [None]
    random = np.random.default_rng(rows)
    return [random.poisson(1.0, rows).astype(np.float64) for _ in range(count)]
