"""One candidate: which tiers of a table, their thresholds, and the rule by which they start."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cascade.errors import ConfigError
from cascade.policy import Exhausted, OnAbstain, Prefer
from cascade_policies.replaying.table import Table

UNCHECKED = -math.inf
"""The threshold of a tier without a check: every whole answer is accepted, at once and for free."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A policy as far as it can be evaluated in arrays; attributes are those of `cascade.Policy`.

    What is not here (retries, repairs, ensembles, stand-ins, replicas, limits of a tier's own) is
    replayed call by call, by `cascade.replay.replay`.

    Attributes:
        tiers: columns of the table, in the order they start; K' of them, none twice.
        thresholds: K' scores from which an answer is accepted; `UNCHECKED` for no check at all;
            None for what the verifier itself said.
        start_after: K' delays, the first of which is not looked at; empty for none.
        prefer: which accepted answer wins.
        grace: seconds that an accepted answer waits for lower tiers; None for any.
        deadline: seconds the whole call may take; None for any.
        exhausted: ``best`` gives the best-scored rejected answer when none is accepted.
        on_abstain: K' meanings of an abstention; empty for ``escalate``.

    Raises:
        ConfigError: a value is impossible.
    """

    tiers: tuple[int, ...]
    thresholds: tuple[float | None, ...]
    start_after: tuple[float | None, ...] = ()
    prefer: Prefer = "cheapest"
    grace: float | None = None
    deadline: float | None = None
    exhausted: Exhausted = "raise"
    on_abstain: tuple[OnAbstain, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.tiers)
        _require(count > 0 and len(set(self.tiers)) == count, "tiers", "one or more, none twice")
        for name in ("thresholds", "start_after", "on_abstain"):
            given: Sequence[object] = getattr(self, name)
            optional = name != "thresholds" and not given
            _require(optional or len(given) == count, name, f"{count} values, one a tier")
        fits = all(t is None or t == UNCHECKED or t >= 0 for t in self.thresholds)
        _require(fits, "thresholds", "scores, UNCHECKED, or None")
        fits = all(delay is None or 0 <= delay < math.inf for delay in self.start_after[1:])
        _require(fits, "start_after", "seconds, 0 or more, or None")
        _require(self.grace is None or self.grace >= 0, "grace", "seconds, 0 or more, or None")
        _require(self.deadline is None or self.deadline > 0, "deadline", "seconds above 0, or None")
        _require(self.prefer in ("cheapest", "fastest"), "prefer", "'cheapest' or 'fastest'")
        _require(self.exhausted in ("raise", "best"), "exhausted", "'raise' or 'best'")
        fits = set(self.on_abstain) <= {"escalate", "accept"}
        _require(fits, "on_abstain", "'escalate' or 'accept', one a tier")

    @property
    def delays(self) -> tuple[float, ...]:
        """``start_after`` in numbers: infinite for never, and for the first."""
        given = self.start_after[1:] or (None,) * (len(self.tiers) - 1)
        return (math.inf, *(math.inf if delay is None else delay for delay in given))

    @property
    def abstains(self) -> tuple[OnAbstain, ...]:
        """``on_abstain`` of each tier."""
        usual: OnAbstain = "escalate"
        return self.on_abstain or (usual,) * len(self.tiers)

    @property
    def timed(self) -> bool:
        """Whether anything hangs on how long an attempt takes."""
        overlaps = any(delay < math.inf for delay in self.delays)
        return overlaps or self.deadline is not None

    def check(self, table: Table) -> None:
        """See that the table has what they need.

        Raises:
            ConfigError: a column that is not there, or one without times or verdicts.
        """
        for column, threshold in zip(self.tiers, self.thresholds, strict=True):
            if not 0 <= column < len(table.tiers):
                raise ConfigError(f"tiers: no column {column}: there are {len(table.tiers)}")
            if threshold is None and table.accepted is None:
                raise ConfigError(
                    f"{table.tiers[column]}: needs a threshold, as the table has only scores"
                )


def _require(fits: bool, name: str, wanted: str) -> None:
    if not fits:
        raise ConfigError(f"settings: {name}: needs {wanted}")
