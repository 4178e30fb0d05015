"""One figure of one task: its baseline while that is learned, and the evidence of a change."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

from msgspec import Struct

from cascade.errors import ConfigError
from cascade_policies.drift.baseline import FIRST, Baseline, cap_of
from cascade_policies.drift.detector import Detector

RATE: Final = "escalation rate"
COST: Final = "cost per call"

THRESHOLD: Final = 10_000.0
LEARN: Final = 3200


class Drift(Struct, frozen=True, kw_only=True):
    """A change that was found.

    Attributes:
        policy: name of the policy, which is that of the task.
        what: the figure that changed.
        at: Unix time in seconds at which the call ended that made it certain.
        before: the mean in the baseline; of a cost in dollars, clipped as `Baseline` says.
        now: the mean since the change.
        evidence: the e-detector's value, at least the threshold.
        calls: how many there were since the change, as far as that can be told.
    """

    policy: str
    what: str
    at: float
    before: float
    now: float
    evidence: float
    calls: int


class Monitor:
    """Watches the mean of one figure of one policy.

    The baseline is learned from the first 100 values, and again from the first 200, 400, … up to
    ``learn``: a large change shows early, a small one later. After a change the values that follow
    are the baseline.

    Args:
        policy: its name.
        what: the figure.
        threshold: the evidence that is a change.
        learn: how many values the baseline is learned from.
        given: the baseline, where nothing is to be learned.
    """

    def __init__(
        self, policy: str, what: str, *, threshold: float, learn: int, given: Baseline | None = None
    ) -> None:
        self._policy = policy
        self._what = what
        self._threshold = threshold
        self._learn = learn
        self._first: list[float] = []  # values, while there is no baseline
        self._watched: tuple[Baseline, Detector] | None = None
        if given is not None:
            self._watched = given, Detector(given)
        self._sums: tuple[int, float, float] | None = None  # count, sum, squares while it learns

    def _begin(self) -> None:
        self._first = []
        self._watched = self._sums = None

    def take(self, value: float, at: float) -> Drift | None:
        """The change that one more value makes certain.

        Args:
            value: 0 or more.
            at: Unix time in seconds.
        """
        if self._watched is None:
            self._take_first(value)
            return None
        baseline, detector = self._watched
        evidence = detector.take(value)
        if evidence >= self._threshold:
            calls, now = detector.since_change()
            self._begin()
            return Drift(
                policy=self._policy,
                what=self._what,
                at=at,
                before=baseline.mean,
                now=now,
                evidence=evidence,
                calls=calls,
            )
        if self._sums is not None:
            self._refine(self._sums, min(value / baseline.cap, 1.0))
        return None

    def _take_first(self, value: float) -> None:
        self._first.append(value)
        count = len(self._first)
        if count < FIRST:
            return
        cap = 1.0 if self._what == RATE else cap_of(self._first)
        parts = [min(each / cap, 1.0) for each in self._first]
        sums = (count, sum(parts), sum(part * part for part in parts))
        baseline = Baseline.learned(*sums, cap)
        self._watched = baseline, Detector(baseline)
        self._first = []
        self._sums = sums if count < self._learn else None

    def _refine(self, sums: tuple[int, float, float], part: float) -> None:
        assert self._watched is not None
        baseline, detector = self._watched
        count = sums[0] + 1
        sums = self._sums = (count, sums[1] + part, sums[2] + part * part)
        doublings, rest = divmod(count, FIRST)
        if count >= self._learn or (rest == 0 and doublings & (doublings - 1) == 0):
            baseline = Baseline.learned(*sums, baseline.cap)
            detector.tune(baseline)
            self._watched = baseline, detector
        if count >= self._learn:
            self._sums = None

    def to_dict(self) -> dict[str, Any]:
        """Everything but the settings, for JSON."""
        if self._watched is None:
            return {"first": list(self._first)}
        baseline, detector = self._watched
        return {
            "baseline": [baseline.mean, baseline.low, baseline.high, baseline.cap],
            "sums": None if self._sums is None else list(self._sums),
            "detector": detector.to_dict(),
        }

    def restore(self, data: dict[str, Any]) -> None:
        """Go on from what `to_dict` gave.

        Raises:
            ConfigError: it is something else.
        """
        first: list[float] = []
        watched = sums = None
        try:
            if "first" in data:
                first = [float(value) for value in data["first"]]
            else:
                baseline = Baseline(*map(float, data["baseline"]))
                watched = baseline, Detector.from_dict(data["detector"], baseline)
                if data["sums"] is not None:
                    count, total, squares = map(float, data["sums"])
                    sums = int(count), total, squares
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"the state of a drift monitor cannot be read: {error!r}") from None
        if len(first) >= FIRST or not all(map(isfinite, (*first, *(sums or ())))):
            raise ConfigError("the state of a drift monitor is of another version")
        self._first, self._watched, self._sums = first, watched, sums
