"""`DriftWatch`: tells when a task's escalation rate or cost has changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, NamedTuple

from cascade import logs
from cascade.errors import ConfigError, nearest
from cascade.records import CallRecord
from cascade_policies.drift.baseline import FIRST, Baseline
from cascade_policies.drift.monitor import COST, LEARN, RATE, THRESHOLD, Drift, Monitor

Baselines = Mapping[str, Mapping[str, Baseline | float]]
"""By policy and then by figure, ``escalation rate`` or ``cost per call``."""

_VERSION = 1


class Seen(NamedTuple):
    """What one call says."""

    policy: str
    at: float
    escalated: bool
    cost: float | None  # dollars; None where it is not known


def seen(record: CallRecord) -> Seen | None:
    """What a call says, or None of one that says nothing of its models.

    That is a call that its caller cancelled, or that ended by a bug or for want of budget.
    """
    if record.outcome in ("cancelled", "error"):
        return None
    ended = record.began + record.latency
    return Seen(record.policy, ended, record.escalations > 0, record.cost.high)


class Watches:
    """The monitors of all tasks.

    Args:
        threshold: evidence from which on a change is told. While nothing changes, a figure gives
            a false alarm after so many calls at the earliest, on average.
        learn: how many calls a baseline is learned from.
        baselines: those that are not to be learned. A number stands for itself and 5% of it on
            either side.

    Raises:
        ConfigError: a value that cannot be.
    """

    def __init__(
        self,
        *,
        threshold: float = THRESHOLD,
        learn: int = LEARN,
        baselines: Baselines | None = None,
    ) -> None:
        if not (threshold > 1 and isfinite(threshold)):
            raise ConfigError(f"threshold={threshold!r}: needs a number above 1, like 10_000")
        if learn < FIRST:
            raise ConfigError(f"learn={learn!r}: needs {FIRST} calls or more")
        self._threshold = threshold
        self._learn = learn
        self._given = {
            (policy, what): _baseline(policy, what, given)
            for policy, its in (baselines or {}).items()
            for what, given in its.items()
        }
        self._monitors: dict[tuple[str, str], Monitor] = {}

    def take(self, call: Seen) -> list[Drift]:
        """The changes that one more call makes certain."""
        change = self._monitor(call.policy, RATE).take(float(call.escalated), call.at)
        found = [] if change is None else [change]
        if call.cost is not None:
            change = self._monitor(call.policy, COST).take(call.cost, call.at)
            if change is not None:
                found.append(change)
        return found

    def _monitor(self, policy: str, what: str) -> Monitor:
        key = (policy, what)
        monitor = self._monitors.get(key)
        if monitor is None:
            monitor = self._monitors[key] = self._make(key)
        return monitor

    def _make(self, key: tuple[str, str]) -> Monitor:
        given = self._given.get(key)
        return Monitor(*key, threshold=self._threshold, learn=self._learn, given=given)

    def states(self) -> dict[tuple[str, str], dict[str, Any]]:
        """By policy and figure, what `restore` takes: plain data for JSON."""
        return {key: monitor.to_dict() for key, monitor in self._monitors.items()}

    def restore(self, key: tuple[str, str], state: dict[str, Any]) -> None:
        """Go on from a state of `states`.

        Raises:
            ConfigError: it is something else.
        """
        monitor = self._make(key)
        monitor.restore(state)
        self._monitors[key] = monitor


class DriftWatch:
    """An `Observer` that logs ``cascade.drift_detected`` when a task's figures have changed.

    Watched are the share of a policy's calls that escalate, and what a call costs. A call whose
    cost is not known says nothing of the cost. What is known of a task is in memory alone:
    `to_dict` gives it, and `LedgerDriftWatch` keeps it in a ledger.

    Args:
        threshold: evidence from which on a change is told. While nothing changes, a figure gives
            a false alarm after so many calls at the earliest, on average.
        learn: how many calls a baseline is learned from.
        baselines: those that are not to be learned, by policy and then by ``escalation rate`` or
            ``cost per call``. A number stands for itself and 5% of it on either side.

    Raises:
        ConfigError: a value that cannot be.
    """

    def __init__(
        self,
        *,
        threshold: float = THRESHOLD,
        learn: int = LEARN,
        baselines: Baselines | None = None,
    ) -> None:
        self._watches = Watches(threshold=threshold, learn=learn, baselines=baselines)

    def call_finished(self, record: CallRecord, /) -> None:
        """Take note of a call; see `Observer`."""
        call = seen(record)
        if call is not None:
            tell(self._watches.take(call))

    def to_dict(self) -> dict[str, Any]:
        """All that was learned, as plain data for JSON."""
        states = self._watches.states()
        return {
            "version": _VERSION,
            "watches": [
                {"policy": policy, "what": what, "state": state}
                for (policy, what), state in states.items()
            ],
        }

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Any],
        *,
        threshold: float = THRESHOLD,
        learn: int = LEARN,
        baselines: Baselines | None = None,
    ) -> DriftWatch:
        """Go on from what `to_dict` gave.

        Raises:
            ConfigError: it is something else, or of another version.
        """
        made = cls(threshold=threshold, learn=learn, baselines=baselines)
        if data.get("version") != _VERSION:
            raise ConfigError(f"drift state of version {data.get('version')!r}, not {_VERSION}")
        try:
            for its in data["watches"]:
                made._watches.restore((its["policy"], its["what"]), its["state"])
        except (KeyError, TypeError) as error:
            raise ConfigError(f"drift state cannot be read: {error!r}") from None
        return made


def tell(found: Iterable[Drift]) -> None:
    """Log changes."""
    for drift in found:
        logs.warn(
            "cascade.drift_detected",
            policy=drift.policy,
            what=drift.what,
            before=_digits(drift.before),
            now=_digits(drift.now),
            evidence=round(drift.evidence),
            calls=drift.calls,
        )


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def _baseline(policy: str, what: str, given: Baseline | float) -> Baseline:
    place = f"baselines: {policy}: {what}"
    if what not in (RATE, COST):
        raise ConfigError(f"{place}: {nearest(what, (RATE, COST))}")
    if isinstance(given, Baseline):
        return given
    most = 1.0 if what == RATE else float("inf")
    if not 0 <= given < most:
        unit = "a share below 1" if what == RATE else "dollars"
        raise ConfigError(f"{place}: needs {unit}, or a Baseline; got {given!r}")
    return Baseline.rate(given) if what == RATE else Baseline.cost(given)
