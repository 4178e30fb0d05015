"""Evaluates many settings on a table at once; equal to the state machine's replay of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cascade_policies.replaying.schedule import ACCEPTED, Column, Rules, Schedule
from cascade_policies.replaying.settings import Settings
from cascade_policies.replaying.table import Array, Table

CELLS: Final = 1 << 14
"""Settings times prompts worked out at once: few enough for their arrays to stay in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What the calls come to; arrays of shape (n,), or (m, n) for m settings.

    Attributes:
        tier: column of the tier whose answer is given; -1 when there is none.
        outcome: `ACCEPTED`, `EXHAUSTED` or `DEADLINE`, of
            `cascade_policies.replaying.schedule`.
        quality: of the answer; 0 when there is none.
        cost_low, cost_high: US dollars, losers included.
        latency: seconds.
        escalations: how many tiers were started because those before were out.
        started: how many tiers were started.
    """

    tier: NDArray[np.int64]
    outcome: NDArray[np.int8]
    quality: Array
    cost_low: Array
    cost_high: Array
    latency: Array
    escalations: NDArray[np.int8]
    started: NDArray[np.int8]

    def at(self, index: int) -> Outcomes:
        """Those of one of m settings."""
        return Outcomes(*(getattr(self, name)[index] for name in self.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """Means over the prompts, of shape (m,) for m settings; NaN where one of them is not known."""

    quality: Array
    cost_low: Array
    cost_high: Array
    latency: Array
    escalations: Array
    accepted: Array


def evaluate(table: Table, settings: Settings) -> Outcomes:
    """What the calls of one candidate come to; for many, make an `Evaluator`.

    Raises:
        ConfigError: the table has not what the settings need.
    """
    return Evaluator(table).evaluate(settings)


class Evaluator:
    """Evaluates settings on one table.

    Args:
        table: what was recorded.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self._columns = [Column.of(table, index) for index in range(len(table.tiers))]

    def evaluate(self, settings: Settings) -> Outcomes:
        """What the calls of one candidate come to.

        Raises:
            ConfigError: the table has not what the settings need.
        """
        settings.check(self.table)
        rules, best = Rules.of([settings]), settings.exhausted == "best"
        return self.play(settings.tiers, rules, best=best).at(0)

    def each(self, candidates: Sequence[Settings]) -> Iterator[tuple[int, Outcomes]]:
        """The position and the outcomes of each candidate; alike ones together, not in order.

        Raises:
            ConfigError: as `evaluate`.
        """
        for positions, outcomes in self._chunks(candidates):
            for row, position in enumerate(positions):
                yield position, outcomes.at(row)

    def means(self, candidates: Sequence[Settings]) -> Means:
        """The means of each candidate, in order.

        Raises:
            ConfigError: as `evaluate`.
        """
        found = np.full((6, len(candidates)), np.nan)
        for positions, all_of in self._chunks(candidates):
            values = (all_of.quality, all_of.cost_low, all_of.cost_high, all_of.latency)
            counts = (all_of.escalations, all_of.outcome == ACCEPTED)
            for row, array in enumerate((*values, *counts)):
                found[row, positions] = array.mean(axis=1)
        return Means(*found)

    def _chunks(self, candidates: Sequence[Settings]) -> Iterator[tuple[list[int], Outcomes]]:
        alike: dict[tuple[object, ...], list[int]] = {}
        for position, each in enumerate(candidates):
            each.check(self.table)
            alike.setdefault((each.tiers, each.exhausted, each.timed), []).append(position)
        size = max(1, CELLS // max(1, len(self.table)))
        for (tiers, exhausted, _), positions in alike.items():
            assert isinstance(tiers, tuple)
            for at in range(0, len(positions), size):
                chunk = positions[at : at + size]
                rules = Rules.of([candidates[position] for position in chunk])
                yield chunk, self.play(tiers, rules, best=exhausted == "best")

    def play(self, tiers: Sequence[int], rules: Rules, *, best: bool = False) -> Outcomes:
        """The outcomes of m settings with these tiers, of shape (m, n).

        Raises:
            ConfigError: something hangs on times, and one is not known.
        """
        columns = [self._columns[index] for index in tiers]
        timed = rules.timed
        if timed:
            for column in columns:
                column.require_times()
        played = Schedule(columns, rules, len(self.table))
        low, high = played.costs(timed=timed)
        chosen = played.winner
        if best:
            chosen = np.where(chosen < 0, played.best_rejected(), chosen)
        quality, tier = np.zeros(played.shape), np.full(played.shape, -1)
        for k, column in enumerate(columns):
            mine = chosen == k
            np.copyto(quality, column.quality, where=mine)
            tier[mine] = tiers[k]
        return Outcomes(
            tier,
            played.outcome,
            quality,
            low,
            high,
            played.latency,
            played.escalations,
            played.started,
        )
