"""Figures from the sums in the ledger's database."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from cascade_policies.drift.store import detections
from cascade_policies.report.buckets import Buckets
from cascade_policies.report.figures import (
    Check,
    Extra,
    Latency,
    Model,
    Money,
    Reason,
    Report,
    Share,
    Step,
    Task,
    Tier,
)
from cascade_policies.report.rollups import DAY
from cascade_policies.report.source import Series, Source
from cascade_policies.report.trend import Totals, changes
from cascade_policies.report.window import day_of

_EXTRA: Final = ("retries", "repairs", "replicas", "fallbacks")
_COST: Final = ("cost_low", "cost_high", "cost_unknown")
_WASTE: Final = ("waste_low", "waste_high", "waste_unknown")
_ROUTE: Final = ("routed", "route_low", "route_high", "route_unknown")
_NOTHING: Final = Buckets()


def read_report(source: Source) -> Report:
    """Every task with its tiers and its trend; the ones with the most calls first."""
    earlier = replace(source, window=source.window.before)
    now, before = _totals(source), _totals(earlier)
    tiers = _tiers(source)
    began = _began(source.connection)
    tasks = []
    for name, one in now.items():
        its = tiers.get(name, [])
        figures = Task(
            task=name,
            calls=one.calls,
            outcomes=one.outcomes,
            escalated=Share.make(one.escalated, one.calls),
            attempts=one.attempts,
            extra=_plus(tier.extra for tier in its),
            cost=one.cost,
            waste=one.waste,
            routed=one.routed,
            routing=one.routing,
            latency=Latency.make(one.buckets),
            tiers=its,
            trend=changes(one, before.get(name), source.window, began),
        )
        tasks.append(figures)
    tasks.sort(key=lambda task: (-task.calls, task.task))
    since, until = source.window.since, source.window.until
    drift = detections(source.connection, since, until, task=source.task)
    return Report(since, until, tasks, drift)


def _began(connection: sqlite3.Connection) -> float | None:
    """When the oldest call of the ledger began."""
    at: float | None = connection.execute("SELECT min(began) FROM calls").fetchone()[0]
    return at


def _totals(source: Source) -> dict[str, Totals]:
    """What is known of each task without looking at its attempts."""
    sums = ("calls", "escalated", "attempts", *_COST, "cost_squares", *_WASTE, *_ROUTE)
    made: dict[str, Totals] = {}
    for task, outcome, calls, escalated, attempts, *money in source.sums(
        "rollup_calls", ("policy", "outcome"), sums
    ):
        one = made.setdefault(task, Totals())
        one.outcomes[outcome] = calls
        one.calls += calls
        one.escalated += escalated
        one.attempts += attempts
        one.money = [had + more for had, more in zip(one.money, money, strict=True)]
    for series, buckets in source.durations.items():
        if series.measure == "call":
            made.setdefault(series.task, Totals()).buckets = buckets
    for task, tier, calls, escalated in source.sums(
        "rollup_tiers", ("policy", "tier"), ("calls", "escalated")
    ):
        made.setdefault(task, Totals()).tiers[tier] = (escalated, calls)
    return made


class _Spent:
    """Attempts, however they are grouped."""

    def __init__(self) -> None:
        self.attempts = 0
        self.extra = [0] * len(_EXTRA)
        self.money = [0.0, 0.0, 0]
        self.tokens = [0, 0]
        self.outcomes: Counter[str] = Counter()

    def take(self, outcome: str, sums: Sequence[Any]) -> None:
        self.attempts += sums[0]
        self.outcomes[outcome] += sums[0]
        self.extra = [a + b for a, b in zip(self.extra, sums[1:5], strict=True)]
        self.money = [a + b for a, b in zip(self.money, sums[5:8], strict=True)]
        self.tokens = [a + b for a, b in zip(self.tokens, sums[8:10], strict=True)]

    @property
    def cost(self) -> Money:
        low, high, unknown = self.money
        return Money.make(low, high, int(unknown), self.attempts)


def _spent(source: Source) -> dict[tuple[str, str, str], _Spent]:
    """The attempts of each model of each tier."""
    sums = ("attempts", *_EXTRA, *_COST, "input_tokens", "output_tokens")
    made: defaultdict[tuple[str, str, str], _Spent] = defaultdict(_Spent)
    for task, tier, model, outcome, *values in source.sums(
        "rollup_attempts", ("policy", "tier", "model", "outcome"), sums
    ):
        made[task, tier, model].take(outcome, values)
    return dict(made)


def _tiers(source: Source) -> dict[str, list[Tier]]:
    """The tiers of each task, in the order in which its calls reach them."""
    endings: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    reasons: defaultdict[tuple[str, str], list[Reason]] = defaultdict(list)
    out: Counter[tuple[str, str]] = Counter()
    numbers: defaultdict[tuple[str, str], float] = defaultdict(float)
    keys = ("policy", "tier", "ending", "verifier", "code")
    for task, tier, ending, verifier, code, calls, escalated, number in source.sums(
        "rollup_tiers", keys, ("calls", "escalated", "numbers")
    ):
        endings[task, tier][ending] += calls
        out[task, tier] += escalated
        numbers[task, tier] += number
        if escalated:
            reasons[task, tier].append(Reason(ending, verifier, code, escalated))
    spent: defaultdict[tuple[str, str], _Spent] = defaultdict(_Spent)
    for (task, tier, _), its in _spent(source).items():
        _merge(spent[task, tier], its)
    durations: defaultdict[tuple[str, str, str], Buckets] = defaultdict(Buckets)
    for series, buckets in source.durations.items():
        durations[series.task, series.tier, series.measure].merge(buckets)
    made: defaultdict[str, list[Tier]] = defaultdict(list)
    for task, tier in sorted(endings, key=lambda key: numbers[key] / endings[key].total()):
        key = (task, tier)
        calls = endings[key].total()
        made[task].append(
            Tier(
                tier=tier,
                calls=calls,
                endings=dict(endings[key].most_common()),
                escalation=Share.make(out[key], calls),
                reasons=_ranked(reasons[key]),
                attempts=spent[key].attempts,
                extra=Extra(*spent[key].extra),
                cost=spent[key].cost,
                latency=Latency.make(durations[task, tier, "attempt"]),
                first_token=Latency.make(durations[task, tier, "first_token"]),
            )
        )
    return dict(made)


def read_models(source: Source) -> list[Model]:
    """Every model of every tier; those with the most attempts first."""
    durations = source.durations
    made = [
        Model(
            task=task,
            tier=tier,
            model=model,
            attempts=its.attempts,
            outcomes=dict(its.outcomes.most_common()),
            extra=Extra(*its.extra),
            cost=its.cost,
            input_tokens=its.tokens[0],
            output_tokens=its.tokens[1],
            latency=Latency.make(durations.get(Series(task, "attempt", tier, model), _NOTHING)),
            first_token=Latency.make(
                durations.get(Series(task, "first_token", tier, model), _NOTHING)
            ),
        )
        for (task, tier, model), its in _spent(source).items()
    ]
    return sorted(made, key=lambda one: (-one.attempts, one.task, one.tier, one.model))


def read_checks(source: Source) -> list[Check]:
    """Every verifier of every tier; those that judged the most first."""
    counted: defaultdict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    codes: defaultdict[tuple[str, str, str], list[Reason]] = defaultdict(list)
    for task, tier, verifier, outcome, code, attempts in source.sums(
        "rollup_attempts", ("policy", "tier", "verifier", "outcome", "code"), ("attempts",)
    ):
        if not verifier or outcome not in ("accepted", "rejected", "abstained"):
            continue
        key = (task, tier, verifier)
        counted[key][outcome] += attempts
        if outcome != "accepted":
            codes[key].append(Reason(outcome, verifier, code, attempts))
    made = [
        Check(
            task=task,
            tier=tier,
            verifier=verifier,
            judged=its.total(),
            accepted=Share.make(its["accepted"], its.total()),
            rejected=its["rejected"],
            abstained=its["abstained"],
            codes=_ranked(codes[task, tier, verifier]),
        )
        for (task, tier, verifier), its in counted.items()
    ]
    return sorted(made, key=lambda one: (-one.judged, one.task, one.tier, one.verifier))


def read_steps(source: Source, step: int = DAY) -> list[Step]:
    """Each task day by day, or hour by hour; days without calls are left out."""
    sums = ("calls", "escalated", *_COST, *_WASTE)
    found: dict[tuple[str, int], list[Any]] = {}
    accepted: Counter[tuple[str, int]] = Counter()
    for task, start, outcome, *values in source.sums(
        "rollup_calls", ("policy", "start", "outcome"), sums, step=step
    ):
        had = found.setdefault((task, start), [0] * len(sums))
        found[task, start] = [a + b for a, b in zip(had, values, strict=True)]
        if outcome == "accepted":
            accepted[task, start] += values[0]
    tiers: defaultdict[tuple[str, int], dict[str, Share]] = defaultdict(dict)
    for task, start, tier, calls, escalated in source.sums(
        "rollup_tiers", ("policy", "start", "tier"), ("calls", "escalated"), step=step
    ):
        tiers[task, start][tier] = Share.make(escalated, calls)
    durations = source.calls_durations(step)
    return [
        Step(
            task=key[0],
            start=key[1],
            day=day_of(key[1], step),
            calls=calls,
            accepted=accepted[key],
            escalated=Share.make(escalated, calls),
            cost=Money.make(money[0], money[1], money[2], calls),
            waste=Money.make(money[3], money[4], money[5], calls),
            latency=Latency.make(durations.get(key, _NOTHING)),
            tiers=tiers[key],
        )
        for key, (calls, escalated, *money) in sorted(found.items())
    ]


def _merge(into: _Spent, other: _Spent) -> None:
    for outcome, count in other.outcomes.items():
        into.outcomes[outcome] += count
    into.attempts += other.attempts
    for name in ("extra", "money", "tokens"):
        pairs = zip(getattr(into, name), getattr(other, name), strict=True)
        setattr(into, name, [a + b for a, b in pairs])


def _ranked(reasons: list[Reason]) -> list[Reason]:
    return sorted(reasons, key=lambda one: (-one.count, one.kind, one.verifier, one.code))


def _plus(extras: Iterable[Extra]) -> Extra:
    counts = [[getattr(one, name) for name in _EXTRA] for one in extras]
    return (
        Extra(*(sum(column) for column in zip(*counts, strict=True)))
        if counts
        else Extra(0, 0, 0, 0)
    )
