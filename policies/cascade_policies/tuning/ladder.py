"""The tiers to choose from, and what one attempt of each comes to, ready for a search."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cascade.errors import ConfigError
from cascade_policies.replaying.settings import UNCHECKED, Settings
from cascade_policies.replaying.table import Array, Flags, Table
from cascade_policies.replaying.vectorised import Evaluator
from cascade_policies.tuning.goal import Goal

Threshold = float | None
_SHOWN: Final = 3  # rows named in an error


@dataclass(frozen=True, slots=True)
class Ladder:
    """What may be changed about a policy, and what stays.

    Attributes:
        policy: as it is now; its tiers are those to choose from, in their order.
        tunable: for each of them whether its threshold may change. The threshold of a tier that
            comes last stays as it is.
        delays: whether start delays may be set.

    Raises:
        ConfigError: there is not a flag for each tier.
    """

    policy: Settings
    tunable: tuple[bool, ...]
    delays: bool = False

    def __post_init__(self) -> None:
        if len(self.tunable) != len(self.policy.tiers):
            raise ConfigError(f"tunable: needs {len(self.policy.tiers)} flags, one a tier")

    @classmethod
    def of(cls, table: Table, *, delays: bool = False) -> Ladder:
        """All tiers of a table: every score may have a threshold, the last tier has no check."""
        count = len(table.tiers)
        thresholds = (0.5,) * (count - 1) + (UNCHECKED,)
        return cls(Settings(tuple(range(count)), thresholds), (True,) * count, delays)

    def settings(
        self,
        positions: Iterable[int],
        thresholds: Iterable[Threshold],
        start_after: tuple[float | None, ...] = (),
    ) -> Settings:
        """A candidate of these tiers, by their positions in the policy."""
        chosen = tuple(positions)
        return replace(
            self.policy,
            tiers=tuple(self.policy.tiers[k] for k in chosen),
            thresholds=tuple(thresholds),
            start_after=start_after,
            on_abstain=tuple(self.policy.abstains[k] for k in chosen),
        )

    def alone(self, position: int) -> Settings:
        """One tier and no other."""
        return self.settings((position,), (self.policy.thresholds[position],))

    @property
    def top(self) -> Settings:
        """The last tier alone: what a candidate must not fall behind, and the fallback."""
        return self.alone(len(self.policy.tiers) - 1)

    def check(self, table: Table, goal: Goal) -> None:
        """See that every number a search needs is there.

        Raises:
            ConfigError: there are no rows, or values are missing or impossible.
        """
        self.policy.check(table)
        if not len(table):
            raise ConfigError("the recording has no rows")
        columns = list(self.policy.tiers)
        answered = ~table.failed[:, columns]
        quality = table.quality[:, columns]
        unknown = answered & np.isnan(quality)
        _refuse(table, columns, unknown, "no quality", "score the answers, or leave the rows out")
        with np.errstate(invalid="ignore"):
            outside = answered & ((quality < 0.0) | (quality > 1.0))
        _refuse(table, columns, outside, "a quality outside [0, 1]", "scale the scorer's values")
        if goal.minimise == "cost" or goal.max_cost is not None:
            missing = np.isnan(table.cost_high[:, columns])
            _refuse(table, columns, missing, "no known cost", "give the model a price")
        if goal.timed or self.delays or self.policy.timed:
            missing = np.isnan(table.latency[:, columns])
            missing |= answered & np.isnan(table.check_latency[:, columns])
            _refuse(table, columns, missing, "no latency", "leave latency out of the goal")


def _refuse(table: Table, columns: list[int], bad: Flags, what: str, remedy: str) -> None:
    if not bad.any():
        return
    column = int(np.flatnonzero(bad.any(axis=0))[0])
    rows = np.flatnonzero(bad[:, column])
    named = ", ".join(repr(table.ids[row]) for row in rows[:_SHOWN])
    more = ", …" if len(rows) > _SHOWN else ""
    raise ConfigError(
        f"tier {table.tiers[columns[column]]!r} has {what} in {len(rows)} of {len(table)} rows "
        f"({named}{more}): {remedy}"
    )


class Values(NamedTuple):
    """What the calls of one candidate come to, a row a call; costs are what may be billed."""

    quality: Array
    cost: Array
    latency: Array
    """Seconds; NaN where they are not known."""
    escalated: Flags

    def spent(self, goal: Goal) -> Array:
        """What is to be small."""
        return self.latency if goal.minimise == "latency" else self.cost


class Player:
    """Plays candidates on the rows of a table."""

    def __init__(self, table: Table, goal: Goal) -> None:
        self.table = table
        self._timed = goal.timed
        self._evaluator: Evaluator | None = None
        self._columns: dict[tuple[int, bool], tuple[Array, Array, Array]] = {}

    def play(self, settings: Settings) -> Values:
        """As `Evaluator.evaluate`, to the last bit, but quick where nothing hangs on times."""
        if self._timed or settings.timed or settings.exhausted == "best":
            if self._evaluator is None:
                self._evaluator = Evaluator(self.table)
            found = self._evaluator.evaluate(settings)
            return Values(found.quality, found.cost_high, found.latency, found.escalations > 0)
        rows = len(self.table)
        quality, cost = np.zeros(rows), np.zeros(rows)
        open_: NDArray[np.bool_] = np.ones(rows, np.bool_)
        escalated = np.zeros(rows, np.bool_)
        pairs = zip(settings.tiers, settings.thresholds, settings.abstains, strict=True)
        for k, (column, threshold, abstain) in enumerate(pairs):
            worth, price, score = self.column(column, checked=threshold != UNCHECKED)
            np.add(cost, price, out=cost, where=open_)
            if k == 1:
                escalated = open_.copy()
            passed = _passed(self.table, column, score, threshold, abstain == "accept")
            passed &= open_
            np.copyto(quality, worth, where=passed)
            open_ &= ~passed
        return Values(quality, cost, np.full(rows, np.nan), escalated)

    def column(self, index: int, *, checked: bool) -> tuple[Array, Array, Array]:
        """Quality (0 where it failed), cost and score of a tier; its check's cost only where it is
        checked."""
        if (index, checked) not in self._columns:
            table = self.table
            failed = table.failed[:, index]
            quality = np.where(failed, 0.0, table.quality[:, index])
            cost = np.ascontiguousarray(table.cost_high[:, index])
            if table.check_cost is not None:
                unchecked = cost - table.check_cost[:, index]
                cost = unchecked if not checked else np.where(failed, unchecked, cost)
            score = np.ascontiguousarray(table.score[:, index])
            self._columns[index, checked] = quality, cost, score
        return self._columns[index, checked]


def ranked(table: Table, settings: Settings, position: int) -> Array:
    """The score of one tier of the settings for a search: infinite where nothing hangs on it."""
    column = settings.tiers[position]
    score = np.where(table.failed[:, column], -np.inf, table.score[:, column])
    abstained = np.inf if settings.abstains[position] == "accept" else -np.inf
    return np.where(np.isnan(score), abstained, score)


def _passed(
    table: Table, column: int, score: Array, threshold: Threshold, accepts: bool
) -> NDArray[np.bool_]:
    ok = ~table.failed[:, column]
    if threshold == UNCHECKED:
        return ok
    if threshold is None:
        assert table.accepted is not None
        passed = ok & table.accepted[:, column] & ~np.isnan(score)
    else:
        with np.errstate(invalid="ignore"):
            passed = ok & (score >= threshold)
    if accepts:
        passed |= ok & np.isnan(score)
    return np.asarray(passed, np.bool_)
