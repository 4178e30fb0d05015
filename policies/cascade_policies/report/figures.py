"""The figures of a report. `shape` makes JSON of them; docs/reports.md explains each."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from cascade_policies.drift.monitor import Drift
from cascade_policies.report.buckets import Buckets
from cascade_policies.report.chance import wilson


class Share(Struct, frozen=True):
    """``count`` of ``of``, with the rate and its 95% interval, which are None of nothing."""

    count: int
    of: int
    rate: float | None
    low: float | None
    high: float | None

    @classmethod
    def make(cls, count: int, of: int) -> Share:
        """With its Wilson interval."""
        if of == 0:
            return cls(count, of, None, None, None)
        return cls(count, of, count / of, *wilson(count, of))


class Money(Struct, frozen=True):
    """US dollars of what is known, and of how many (calls or attempts) the cost is not known.

    None, not 0, where nothing is known.
    """

    low: float | None
    high: float | None
    unknown: int

    @classmethod
    def make(cls, low: float, high: float, unknown: int, of: int) -> Money:
        """The sums over those ``of`` which are known."""
        return cls(None, None, unknown) if of and unknown >= of else cls(low, high, unknown)


class Latency(Struct, frozen=True):
    """Quantiles in seconds; None with too few durations for one. ``count``: those not cut short."""

    count: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None

    @classmethod
    def make(cls, buckets: Buckets) -> Latency:
        """Of all the durations in these buckets."""
        return cls(buckets.whole, *(buckets.quantile(q) for q in (0.5, 0.95, 0.99)))


class Reason(Struct, frozen=True):
    """Why a tier was out, or an attempt: a verdict's code, or the class of an error."""

    kind: str
    verifier: str
    code: str
    count: int

    @property
    def name(self) -> str:
        """In a few words."""
        what = self.code or self.kind
        if self.kind == "failed":
            return what
        name = f"{self.verifier}: {what}" if self.verifier else what
        return f"{name} (abstained)" if self.kind == "abstained" and self.code else name


class Extra(Struct, frozen=True):
    """Attempts that were not the first of their kind."""

    retries: int
    repairs: int
    replicas: int
    fallbacks: int

    def __str__(self) -> str:
        one = ("retry", "repair", "replica", "stand-in")
        more = ("retries", "repairs", "replicas", "stand-ins")
        counts = zip(msgspec.structs.astuple(self), one, more, strict=True)
        return ", ".join(f"{n:,} {single if n == 1 else many}" for n, single, many in counts if n)


class Tier(Struct, frozen=True):
    """A tier, over the calls that reached it; see docs/reports.md for what escalation means.

    Attributes:
        endings: calls by how the tier ended: accepted, rejected, abstained, failed, undecided.
        escalation: of the calls that reached it.
        reasons: of the escalations, the most frequent first.
    """

    tier: str
    calls: int
    endings: dict[str, int]
    escalation: Share
    reasons: list[Reason]
    attempts: int
    extra: Extra
    cost: Money
    latency: Latency
    first_token: Latency


class Model(Struct, frozen=True):
    """A model of a tier, over its attempts."""

    task: str
    tier: str
    model: str
    attempts: int
    outcomes: dict[str, int]
    extra: Extra
    cost: Money
    input_tokens: int
    output_tokens: int
    latency: Latency
    first_token: Latency


class Check(Struct, frozen=True):
    """A verifier of a tier, over the answers it has judged."""

    task: str
    tier: str
    verifier: str
    judged: int
    accepted: Share
    rejected: int
    abstained: int
    codes: list[Reason]


class Step(Struct, frozen=True):
    """One day of a task; one hour in the plots of a short period.

    Attributes:
        start: Unix seconds.
        tiers: escalation of each tier.
    """

    task: str
    start: int
    day: str
    calls: int
    accepted: int
    escalated: Share
    cost: Money
    waste: Money
    latency: Latency
    tiers: dict[str, Share]


class Change(Struct, frozen=True):
    """A figure in the period and in the one before.

    Attributes:
        before: None where there was nothing.
        beyond_chance: None where that cannot be said.
    """

    figure: str
    before: float | None
    now: float | None
    beyond_chance: bool | None


class Task(Struct, frozen=True):
    """One task (or policy).

    Attributes:
        outcomes: calls by how they ended.
        escalated: calls in which any tier escalated.
        cost: of all calls, losers, checks and routers included.
        waste: the part spent on attempts whose answer was not returned.
        routed: calls for which a router was asked.
        routing: the part of ``cost`` that the routers took.
    """

    task: str
    calls: int
    outcomes: dict[str, int]
    escalated: Share
    attempts: int
    extra: Extra
    cost: Money
    waste: Money
    routed: int
    routing: Money
    latency: Latency
    tiers: list[Tier]
    trend: list[Change]


class Report(Struct, frozen=True):
    """Everything a report shows of a period, whose ends are Unix seconds; drift as it was told."""

    since: int
    until: int
    tasks: list[Task]
    drift: list[Drift] = []


def shape(value: Any) -> Any:
    """Figures as plain data for JSON."""
    if isinstance(value, Struct):
        return {name: shape(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [shape(each) for each in value]
    return round(value, 9) if isinstance(value, float) else value
