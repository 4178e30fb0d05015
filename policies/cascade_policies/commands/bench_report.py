"""What ``cascade bench`` makes of the calls it made: figures, tables and a plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cascade.cost import Cost, total
from cascade.errors import CallError
from cascade.policy import Policy
from cascade.result import Attempt, Result

if TYPE_CHECKING:
    from rich.table import Table

TierEnding = Literal["accepted", "rejected", "failed", "undecided"]

_QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Sample:
    """One call.

    Attributes:
        outcome: ``accepted``, or why there is no accepted answer: ``exhausted``, ``deadline``.
        seconds: until the caller had the answer, or the error.
        tiers: how each tier that was started ended.
    """

    outcome: str
    seconds: float
    cost: Cost
    waste: Cost
    tiers: Mapping[str, TierEnding]

    @classmethod
    def of(cls, told: Result | CallError, seconds: float) -> Sample:
        """From what a call gave."""
        if isinstance(told, Result):
            outcome: str = told.outcome
        else:
            outcome = "deadline" if "Deadline" in type(told).__name__ else "exhausted"
        attempts: dict[str, list[Attempt]] = {}
        for attempt in told.attempts:
            attempts.setdefault(attempt.tier, []).append(attempt)
        return cls(
            outcome,
            seconds,
            total(attempt.cost for attempt in told.attempts),
            told.waste,
            {tier: _ending(its) for tier, its in attempts.items()},
        )


def _ending(attempts: Sequence[Attempt]) -> TierEnding:
    outcomes = {attempt.outcome for attempt in attempts}
    for outcome in ("accepted", "rejected"):
        if outcome in outcomes:
            return "accepted" if outcome == "accepted" else "rejected"
    return "undecided" if "cancelled" in outcomes else "failed"


@dataclass(frozen=True, slots=True)
class TierSummary:
    """One tier in one mode: how many calls started it, and how it ended in them."""

    name: str
    started: int
    endings: Mapping[TierEnding, int]

    @property
    def acceptance(self) -> float | None:
        """The share accepted of those in which it was decided."""
        decided = self.started - self.endings["undecided"]
        return self.endings["accepted"] / decided if decided else None

    @property
    def escalation(self) -> float | None:
        """The share of the calls that started it in which it was out."""
        out = self.endings["rejected"] + self.endings["failed"]
        return out / self.started if self.started else None


@dataclass(frozen=True, slots=True)
class Summary:
    """One mode.

    Attributes:
        outcomes: calls by how they ended.
        latencies: p50, p90 and p99 in seconds, of all calls, however they ended.
        mean: seconds.
        cost: of all calls together.
        waste: the part of it spent on attempts whose answer was not returned.
    """

    mode: str
    calls: int
    outcomes: Mapping[str, int]
    latencies: tuple[float, ...]
    mean: float
    cost: Cost
    waste: Cost
    tiers: Sequence[TierSummary]

    def shape(self) -> dict[str, Any]:
        """As JSON has it."""
        from cascade_policies.commands.shape import cost_shape

        latency = {
            f"p{100 * q:g}": round(s, 6) for q, s in zip(_QUANTILES, self.latencies, strict=True)
        }
        return {
            "mode": self.mode,
            "calls": self.calls,
            "outcomes": dict(self.outcomes),
            "latency_s": {**latency, "mean": round(self.mean, 6)},
            "cost": cost_shape(self.cost),
            "waste": cost_shape(self.waste),
            "tiers": [
                {
                    "name": tier.name,
                    "started": tier.started,
                    **tier.endings,
                    "acceptance": tier.acceptance,
                    "escalation": tier.escalation,
                }
                for tier in self.tiers
            ],
        }


def summarise(mode: str, policy: Policy, samples: Sequence[Sample]) -> Summary:
    """The figures of one mode, from one sample or more."""
    seconds = sorted(sample.seconds for sample in samples)
    return Summary(
        mode,
        len(samples),
        dict(Counter(sample.outcome for sample in samples).most_common()),
        tuple(_quantile(seconds, q) for q in _QUANTILES),
        sum(seconds) / len(seconds),
        total(sample.cost for sample in samples),
        total(sample.waste for sample in samples),
        [_tier(tier.name, samples) for tier in policy.tiers],
    )


def _tier(name: str, samples: Sequence[Sample]) -> TierSummary:
    endings = [sample.tiers[name] for sample in samples if name in sample.tiers]
    kinds: tuple[TierEnding, ...] = ("accepted", "rejected", "failed", "undecided")
    return TierSummary(name, len(endings), {kind: endings.count(kind) for kind in kinds})


def _quantile(ordered: Sequence[float], q: float) -> float:
    """Linear between the samples."""
    at = q * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)


def tables(summaries: Sequence[Summary]) -> tuple[Table, str, Table]:
    """The modes, and below them their tiers."""
    modes = _table("mode", "accepted", "p50", "p90", "p99", "mean", "cost", "waste", "not accepted")
    tiers = _table("mode", "tier", "started", "accepted", "rejected", "failed", "undecided",
                   "acceptance", "escalation")  # fmt: skip
    for it in summaries:
        others = [f"{count} {name}" for name, count in it.outcomes.items() if name != "accepted"]
        modes.add_row(
            it.mode,
            f"{it.outcomes.get('accepted', 0)}/{it.calls}",
            *(f"{seconds:.3f} s" for seconds in (*it.latencies, it.mean)),
            str(it.cost),
            str(it.waste),
            ", ".join(others),
        )
        for tier in it.tiers:
            counts = (tier.started, *tier.endings.values())
            shares = (_percent(tier.acceptance), _percent(tier.escalation))
            tiers.add_row(it.mode, tier.name, *map(str, counts), *shares)
    return modes, "", tiers


def _table(*names: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in names:
        left = name in ("mode", "tier", "not accepted")
        table.add_column(name, justify="left" if left else "right")
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def plot(samples: Mapping[str, Sequence[Sample]], path: str) -> None:
    """The share of calls answered within a time, one line a mode."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for mode, its in samples.items():
        seconds = sorted(sample.seconds for sample in its)
        axes.step(seconds, [(i + 1) / len(seconds) for i in range(len(seconds))], label=mode)
    axes.set_xlabel("seconds")
    axes.set_ylabel("share of calls that were over")
    axes.set_ylim(0.0, 1.0)
    axes.legend()
    figure.savefig(path)
