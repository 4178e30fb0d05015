"""`Canary`: a candidate serves a share of the calls, and none any more when it does worse."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cascade.errors import ConfigError
from cascade.logs import warn
from cascade.policy import Policy
from cascade.records import CallRecord
from cascade.routing import Entry, Route
from cascade.types import Request
from cascade_policies.shadow.assigning import Key, Split
from cascade_policies.shadow.guard import Guard, number, version_of
from cascade_policies.shadow.trial import ARMS, Arm, Trial

Quality = Callable[[CallRecord], float | None]
"""What a call was worth, in [0, 1]; None where it says nothing of its policy."""

_KIND: Final = "canary"


def accepted(record: CallRecord) -> float | None:
    """1 where an answer was accepted, else 0; None where the caller cancelled the call."""
    return None if record.outcome == "cancelled" else float(record.outcome == "accepted")


class Canary(Guard[tuple[Arm, float]]):
    """Serves a share of the calls with a candidate, and rolls it back when it does worse.

    Give ``canary.entry`` where a policy is given. A key always gets the same policy. The calls of
    both are compared as they end; once it is certain that the candidate's are worth less than the
    control's by more than ``margin``, all calls get the control, and ``cascade.canary_rolled_back``
    is logged, once. The chance of that is at most ``alpha`` while it is not so, however many calls
    there are.

    Args:
        control: the policy that serves the others: a policy, or the path or name of one.
        candidate: likewise.
        share: of the keys that get the candidate, in (0, 1).
        alpha: the chance of a rollback without reason that is allowed, in (0, 1).
        margin: the loss of the accepted share (or of the quality) that is allowed, in [0, 1).
        name: of the canary: in logs, and as the salt of the assignment.
        key: of a request; by default `call_key`.
        quality: what a call was worth; by default 1 where an answer was accepted, else 0. Where
            that is known later only, return None here, and say it with `judged`.
        state: what `to_dict` gave, to go on from.

    Raises:
        ConfigError: a value is impossible, or two policies have one name.

    Attributes:
        rolled_back: Unix time in seconds of the rollback, or None.
    """

    def __init__(
        self,
        control: Policy | Path | str,
        candidate: Policy | Path | str,
        *,
        share: float = 0.1,
        alpha: float = 0.01,
        margin: float = 0.01,
        name: str = "canary",
        key: Key | None = None,
        quality: Quality = accepted,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        number("share", share, above=0, below=1)
        number("alpha", alpha, above=0, below=1)
        if not 0 <= margin < 1:
            raise ConfigError(f"margin={margin!r}: needs a loss that is allowed, in [0, 1)")
        its = [
            each.name if isinstance(each, Policy) else str(each) for each in (control, candidate)
        ]
        if its[0] == its[1]:
            raise ConfigError(
                f"control and candidate are both named {its[0]!r}: nothing could tell their calls "
                "apart; give one another name"
            )
        super().__init__(name)
        self._policies = dict(zip(ARMS, its, strict=True))
        self._alpha, self._margin, self._quality = alpha, margin, quality
        self._split = Split({"control": 1 - share, "candidate": share}, salt=name, key=key)
        self._trial = Trial(margin)
        self.rolled_back: float | None = None
        if state is not None:
            self.restore(state)
        self.entry = Entry(name, self, {"control": control, "candidate": candidate})

    def check(self, choices: Sequence[str]) -> None:
        """It is the router of its own entry alone.

        Raises:
            ConfigError: it is given to another.
        """
        if tuple(choices) != ARMS:
            raise ConfigError(f"{self.name} is a canary: use its .entry as the policy")

    def route(self, request: Request, choices: Sequence[str], /) -> Route:
        """The candidate, for its share of the keys, and until it is rolled back."""
        if self.rolled_back is not None:
            return Route("control", label="control", reason=f"{self.name}: rolled back")
        return self._split.route(request, choices)

    def call_finished(self, record: CallRecord, /) -> None:
        """Take note of a call that it has routed; see `Observer`."""
        arm = arm_of(record)
        if arm in ARMS and (value := self._quality(record)) is not None:
            self.judged(arm, value)

    def judged(self, arm: Arm, value: float) -> None:
        """Count what one call of an arm was worth.

        Raises:
            ConfigError: the value is not in [0, 1].
        """
        if not 0 <= value <= 1:
            raise ConfigError(f"{self.name}: a call is worth a number in [0, 1]; got {value!r}")
        self._note((arm, float(value)))

    @property
    def trial(self) -> Trial:
        """What is known of the two policies."""
        return self._trial

    def _take(self, seen: tuple[Arm, float]) -> None:
        if self.rolled_back is not None:
            return
        arm, value = seen
        if self._trial.take(arm, value) >= 1 / self._alpha:
            self.rolled_back = time.time()
            self._tell()

    def _tell(self) -> None:
        calls, means = self._trial.calls, {arm: self._trial.mean(arm) for arm in ARMS}
        warn(
            "cascade.canary_rolled_back",
            canary=self.name,
            control=self._policies["control"],
            candidate=self._policies["candidate"],
            control_calls=calls["control"],
            candidate_calls=calls["candidate"],
            control_rate=means["control"],
            candidate_rate=means["candidate"],
            margin=self._margin,
            alpha=self._alpha,
            evidence=round(self._trial.evidence),
        )

    def to_dict(self) -> dict[str, Any]:
        """All that it has learned, as plain data for JSON."""
        return {
            "kind": _KIND,
            "version": 1,
            "margin": self._margin,
            "rolled_back": self.rolled_back,
            "trial": self._trial.to_dict(),
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave.

        Raises:
            ConfigError: it is something else, or of a canary with another margin.
        """
        version_of(data, _KIND, 1)
        if data.get("margin") != self._margin:
            raise ConfigError(
                f"{self.name}: its state is of a canary with margin={data.get('margin')!r}, not "
                f"{self._margin!r}: begin anew, under another name"
            )
        at = data.get("rolled_back")
        if at is not None and not isinstance(at, int | float):
            raise ConfigError(f"{self.name}: its state has rolled_back={at!r}")
        trial = data.get("trial")
        self._trial = Trial.from_dict(trial if isinstance(trial, Mapping) else {}, self._margin)
        self.rolled_back = at


def arm_of(record: CallRecord) -> str:
    """What an entry's router has labelled a call; the router of the policy may add its own."""
    return "" if record.route is None else record.route.label.partition(" / ")[0]
