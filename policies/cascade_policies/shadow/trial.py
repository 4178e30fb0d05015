"""Two policies side by side: how much tells that the second is worse than the first."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, Literal

from cascade.errors import ConfigError
from cascade_policies.shadow.evidence import Evidence

Arm = Literal["control", "candidate"]
ARMS: Final[tuple[Arm, Arm]] = ("control", "candidate")


class Trial:
    """Values of two arms, compared as they come.

    As soon as there are values of both, the difference of their means is one observation, and the
    next begins. So calls are compared with those about the same time: an hour in which all are
    worse says nothing. While no call of the candidate is worth less by more than ``margin`` on
    average than one of the control, the chance that the evidence ever reaches ``1 / alpha`` is at
    most ``alpha``, as long as the arm of a call does not depend on what will become of it.

    Args:
        margin: the loss that is still allowed, in [0, 1).

    Attributes:
        calls: how many values each arm has had.
        totals: their sums.
    """

    def __init__(self, margin: float) -> None:
        self._evidence = Evidence((1 + margin) / 2)
        self.calls: dict[Arm, int] = dict.fromkeys(ARMS, 0)
        self.totals: dict[Arm, float] = dict.fromkeys(ARMS, 0.0)
        # The same when the last observation was made.
        self._calls_then = dict(self.calls)
        self._totals_then = dict(self.totals)

    @property
    def evidence(self) -> float:
        """What the bets on a loss are worth; at first 1."""
        return self._evidence.value

    def mean(self, arm: Arm) -> float | None:
        """The mean of an arm's values, if it has any."""
        return self.totals[arm] / self.calls[arm] if self.calls[arm] else None

    def take(self, arm: Arm, value: float) -> float:
        """The evidence after one more value, in [0, 1]."""
        self.calls[arm] += 1
        self.totals[arm] += value
        if all(self.calls[each] > self._calls_then[each] for each in ARMS):
            control, candidate = (
                (self.totals[each] - self._totals_then[each])
                / (self.calls[each] - self._calls_then[each])
                for each in ARMS
            )
            # Sums of fractions are rounded, and may leave the interval by that.
            self._evidence.take(min(max((1 + control - candidate) / 2, 0.0), 1.0))
            self._calls_then, self._totals_then = dict(self.calls), dict(self.totals)
        return self.evidence

    def to_dict(self) -> dict[str, Any]:
        """Everything but the margin, for JSON."""
        return {
            "evidence": self._evidence.to_dict(),
            "calls": dict(self.calls),
            "totals": dict(self.totals),
            "calls_then": dict(self._calls_then),
            "totals_then": dict(self._totals_then),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], margin: float) -> Trial:
        """What `to_dict` gave, with its margin.

        Raises:
            ConfigError: it is something else.
        """
        made = cls(margin)
        try:
            made._evidence = Evidence.from_dict(data["evidence"], (1 + margin) / 2)
            made.calls = {arm: int(data["calls"][arm]) for arm in ARMS}
            made.totals = {arm: float(data["totals"][arm]) for arm in ARMS}
            made._calls_then = {arm: int(data["calls_then"][arm]) for arm in ARMS}
            made._totals_then = {arm: float(data["totals_then"][arm]) for arm in ARMS}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"the state of a trial cannot be read: {error!r}") from None
        for arm in ARMS:
            calls, total = made.calls[arm], made.totals[arm]
            then, total_then = made._calls_then[arm], made._totals_then[arm]
            if not (0 <= then <= calls and isfinite(total) and isfinite(total_then)):
                raise ConfigError("the state of a trial is of another version")
        return made
