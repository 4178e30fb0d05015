"""A period beside the one of the same length before it."""

from __future__ import annotations

from dataclasses import dataclass, field

from cascade_policies.report.buckets import Buckets
from cascade_policies.report.chance import means_differ, shares_differ
from cascade_policies.report.figures import Change, Money
from cascade_policies.report.window import Window


@dataclass(slots=True)
class Totals:
    """What a period says of one task.

    Attributes:
        money: sums over the calls: cost low and high, how many are unknown, squares of the high
            cost, waste low and high, and how many of these are unknown; of how many a router was
            asked, its cost low and high, and of how many that is unknown.
        tiers: for each tier its escalations and the calls that reached it.
    """

    calls: int = 0
    escalated: int = 0
    attempts: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    money: list[float] = field(default_factory=lambda: [0] * 11)
    buckets: Buckets = field(default_factory=Buckets)
    tiers: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def cost(self) -> Money:
        """What the calls cost."""
        return Money.make(self.money[0], self.money[1], int(self.money[2]), self.calls)

    @property
    def waste(self) -> Money:
        """The part of it that bought no answer."""
        return Money.make(self.money[4], self.money[5], int(self.money[6]), self.calls)

    @property
    def routed(self) -> int:
        """Of how many calls a router was asked."""
        return int(self.money[7])

    @property
    def routing(self) -> Money:
        """What the routers cost."""
        return Money.make(self.money[8], self.money[9], int(self.money[10]), self.routed)

    @property
    def priced(self) -> tuple[int, float, float]:
        """How many calls have a known cost, its sum and that of its squares."""
        return self.calls - int(self.money[2]), self.money[1], self.money[3]


def changes(
    now: Totals, before: Totals | None, window: Window, ledger_began: float | None
) -> list[Change]:
    """What to compare; empty when the period before has no calls.

    Args:
        ledger_began: Unix time of the oldest call; the hours before were not quiet, but unknown.
    """
    if before is None or before.calls == 0:
        return []
    rate = now.calls / window.hours(ledger_began)
    base = before.calls / window.before.hours(ledger_began)
    rows = [
        Change("calls an hour", base, rate, None),
        _shares("accepted", _accepted(now), _accepted(before)),
        _shares("escalated", (now.escalated, now.calls), (before.escalated, before.calls)),
    ]
    for tier, share in now.tiers.items():
        if tier in before.tiers and (share[0] or before.tiers[tier][0]):
            rows.append(_shares(f"escalation of {tier}", share, before.tiers[tier]))
    rows.append(
        Change("cost a call", _mean(before), _mean(now), means_differ(now.priced, before.priced))
    )
    rows += [_quantiles(f"p{100 * q:g} latency", q, now, before) for q in (0.5, 0.95)]
    return rows


def _accepted(totals: Totals) -> tuple[int, int]:
    return totals.outcomes.get("accepted", 0), totals.calls


def _shares(figure: str, now: tuple[int, int], before: tuple[int, int]) -> Change:
    rates = [count / of if of else None for count, of in (before, now)]
    return Change(figure, rates[0], rates[1], shares_differ(*now, *before))


def _mean(totals: Totals) -> float | None:
    count, cost, _ = totals.priced
    return cost / count if count else None


def _quantiles(figure: str, q: float, now: Totals, before: Totals) -> Change:
    """Two quantiles differ when the shares beyond the earlier one do."""
    base = before.buckets.quantile(q)
    differ = None
    if base is not None:
        differ = shares_differ(*now.buckets.longer(base), *before.buckets.longer(base))
    return Change(figure, base, now.buckets.quantile(q), differ)
