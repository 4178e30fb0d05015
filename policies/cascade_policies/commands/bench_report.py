"""What ``cascade bench`` makes of the calls it made: figures, tables and a plot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cascade.cost import Cost, total
from cascade.errors import BudgetExceededError, CallError, DeadlineExceededError
from cascade.policy import Policy
from cascade.result import Attempt, Result
from cascade_policies.commands.errors import ACCEPTED, NOT_ACCEPTED, exit_code
from cascade_policies.commands.output import printable

if TYPE_CHECKING:
    from rich.table import Table

TierEnding = Literal["accepted", "rejected", "failed", "undecided"]

_QUANTILES = (0.5, 0.9, 0.99)
_MOST_REASONS = 10
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an attempt brought no accepted answer; ``tier`` is empty where no tier was tried."""

    tier: str
    outcome: str
    text: str

    @property
    def kind(self) -> tuple[str, str, str]:
        """The same for reasons that differ in their figures only: seconds, ports, sizes."""
        return self.tier, self.outcome, re.sub(r"\d+", "0", self.text)


@dataclass(frozen=True, slots=True)
class Sample:
    """One call.

    Attributes:
        outcome: ``accepted``, or why there is no accepted answer: ``exhausted``, ``deadline``,
            ``budget``.
        seconds: until the caller had the answer, or the error.
        tiers: how each tier that was started ended.
        code: the exit code of such a call.
        reasons: why there is no accepted answer; none where there is one.
    """

    outcome: str
    seconds: float
    cost: Cost
    waste: Cost
    tiers: Mapping[str, TierEnding]
    code: int
    reasons: Sequence[Reason]

    @classmethod
    def of(cls, told: Result | CallError, seconds: float) -> Sample:
        """From what a call gave."""
        if isinstance(told, Result):
            outcome: str = told.outcome
            code = ACCEPTED if told.accepted else NOT_ACCEPTED
        else:
            outcome = _named(told)
            code = exit_code(told)
        attempts: dict[str, list[Attempt]] = {}
        for attempt in told.attempts:
            attempts.setdefault(attempt.tier, []).append(attempt)
        return cls(
            outcome,
            seconds,
            total(attempt.cost for attempt in told.attempts),
            told.waste,
            {tier: _ending(its) for tier, its in attempts.items()},
            code,
            () if code == ACCEPTED else tuple(_reasons(told, outcome)),
        )


def _named(error: CallError) -> str:
    match error:
        case DeadlineExceededError():
            return "deadline"
        case BudgetExceededError():
            return "budget"
    return "exhausted"


def _reasons(told: Result | CallError, outcome: str) -> Iterator[Reason]:
    for attempt in told.attempts:
        text = attempt.reason
        request_id = getattr(attempt.error, "request_id", None)
        if request_id:  # another one in every call
            text = text.replace(f" (request {request_id})", "")
        yield Reason(attempt.tier, attempt.outcome, text[:_LONGEST_REASON])
    if not told.attempts and isinstance(told, CallError):
        yield Reason("", outcome, told.message[:_LONGEST_REASON])


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
        reasons: why calls have no accepted answer, the most frequent ones, and in how many calls.
    """

    mode: str
    calls: int
    outcomes: Mapping[str, int]
    latencies: tuple[float, ...]
    mean: float
    cost: Cost
    waste: Cost
    tiers: Sequence[TierSummary]
    reasons: Sequence[tuple[Reason, int]]

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
            "reasons": [
                {"tier": it.tier, "outcome": it.outcome, "reason": it.text, "calls": calls}
                for it, calls in self.reasons
            ],
        }


def summarise(mode: str, policy: Policy, samples: Sequence[Sample]) -> Summary:
    """The figures of one mode, from one sample or more."""
    seconds = sorted(sample.seconds for sample in samples)
    # A file that was changed meanwhile may have other tiers.
    names = dict.fromkeys([tier.name for tier in policy.tiers])
    names |= dict.fromkeys(name for sample in samples for name in sample.tiers)
    return Summary(
        mode,
        len(samples),
        dict(Counter(sample.outcome for sample in samples).most_common()),
        tuple(_quantile(seconds, q) for q in _QUANTILES),
        sum(seconds) / len(seconds),
        total(sample.cost for sample in samples),
        total(sample.waste for sample in samples),
        [_tier(name, samples) for name in names],
        _frequent(samples),
    )


def _frequent(samples: Sequence[Sample]) -> list[tuple[Reason, int]]:
    """The reasons that most calls have, each shown as it was first told."""
    shown: dict[tuple[str, str, str], Reason] = {}
    counts: Counter[tuple[str, str, str]] = Counter()
    for sample in samples:
        for reason in sample.reasons:
            shown.setdefault(reason.kind, reason)
        counts.update({reason.kind for reason in sample.reasons})
    return [(shown[kind], calls) for kind, calls in counts.most_common(_MOST_REASONS)]


def overall_code(samples: Mapping[str, Sequence[Sample]]) -> int:
    """The exit code: that of an accepted answer if there is one, else that of most calls."""
    codes = Counter(sample.code for its in samples.values() for sample in its)
    return ACCEPTED if ACCEPTED in codes else codes.most_common(1)[0][0]


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


def tables(summaries: Sequence[Summary]) -> list[Table | str]:
    """The modes, below them their tiers, and below these why calls have no accepted answer."""
    from rich.text import Text

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
    reasons = _table("mode", "tier", "calls", "why not accepted")
    for it in summaries:
        for reason, calls in it.reasons:
            text = " ".join(printable(f"{reason.outcome}: {reason.text}").split())
            # As text, or rich would take what is in brackets for its own.
            reasons.add_row(it.mode, reason.tier, str(calls), Text(text))
    return [modes, "", tiers, "", reasons] if reasons.row_count else [modes, "", tiers]


def _table(*names: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in names:
        left = name in ("mode", "tier", "not accepted", "why not accepted")
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
