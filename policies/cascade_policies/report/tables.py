"""A report for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cascade_policies.report.figures import Check, Model, Report, Step
from cascade_policies.report.fitting import Fitting
from cascade_policies.report.words import (
    NONE,
    chance,
    counts,
    difference,
    figure,
    money,
    period,
    quantiles,
    share,
)

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

TOP = 10
"""Reasons shown of a tier; the rest is counted."""


def report_tables(report: Report) -> Iterator[RenderableType]:
    """Tasks, tiers, reasons and the trend."""
    yield f"{period(report.since, report.until)}\n"
    if not report.tasks:
        yield "no calls in this time"
        return
    yield tasks_table(report)
    yield ""
    yield tiers_table(report)
    yield from _reasons(report)
    yield from _trend(report)
    if report.drift:
        from cascade_policies.report.drift import drift_table  # which needs `plain` of here

        yield ""
        yield drift_table(report.drift)


def tasks_table(report: Report) -> Fitting:
    """A line a task; what routers cost only where there are any."""
    routed = any(task.routed for task in report.tasks)
    table = _table("task", "calls", "accepted", "escalated (95% interval)", "cost", "waste",
                   *(("routing",) if routed else ()), "p50", "p95", "p99",
                   left=("not accepted", "more attempts"))  # fmt: skip
    for task in report.tasks:
        table.add_row(
            plain(task.task),
            f"{task.calls:,}",
            f"{task.outcomes.get('accepted', 0):,}",
            share(task.escalated),
            money(task.cost),
            money(task.waste),
            *((money(task.routing) if task.routed else NONE,) if routed else ()),
            *quantiles(task.latency),
            counts(task.outcomes, without="accepted"),
            str(task.extra),
        )
    return Fitting(
        table, ("more attempts", "p99", "waste", "not accepted", "routing", "p50", "accepted")
    )


def tiers_table(report: Report) -> Fitting:
    """A line a tier, in the order in which calls reach them."""
    table = _table("task", "tier", "calls", "escalated (95% interval)", "attempts", "cost",
                   "p50", "p95", "p99", "first token p50", "p95",
                   left=("endings", "more attempts"))  # fmt: skip
    for task in report.tasks:
        for tier in task.tiers:
            table.add_row(
                plain(task.task),
                plain(tier.tier),
                f"{tier.calls:,}",
                share(tier.escalation),
                f"{tier.attempts:,}",
                money(tier.cost),
                *quantiles(tier.latency),
                *quantiles(tier.first_token)[:2],
                counts(tier.endings),
                str(tier.extra),
            )
    return Fitting(
        table,
        ("p95", "first token p50", "more attempts", "p99", "endings", "attempts", "p50", "calls"),
    )


def _reasons(report: Report) -> Iterator[RenderableType]:
    table = _table("task", "tier", "escalations", "share", left=("because of",))
    for task in report.tasks:
        for tier in task.tiers:
            shown = [(reason.name, reason.count) for reason in tier.reasons[:TOP]]
            if rest := tier.reasons[TOP:]:
                shown.append((f"{len(rest):,} others", sum(reason.count for reason in rest)))
            for name, count in shown:
                of = f"{count / tier.escalation.count:.0%}"
                table.add_row(plain(task.task), plain(tier.tier), f"{count:,}", of, plain(name))
    if table.row_count:
        yield ""
        yield table


def _trend(report: Report) -> Iterator[RenderableType]:
    table = _table("task", "against the period before", "before", "now", "change", left=("at 99%",))
    for task in report.tasks:
        for change in task.trend:
            table.add_row(
                plain(task.task),
                plain(change.figure),
                figure(change, change.before),
                figure(change, change.now),
                difference(change),
                chance(change),
                style="bold" if change.beyond_chance else None,
            )
    if table.row_count:
        yield ""
        yield table


def models_table(models: Sequence[Model]) -> Fitting:
    """A line a model of a tier."""
    table = _table("task", "tier", "model", "attempts", "cost", "tokens in", "out", "p50", "p95",
                   "p99", "first token p50", "p95", left=("outcomes", "more attempts"))  # fmt: skip
    for one in models:
        table.add_row(
            plain(one.task),
            plain(one.tier),
            plain(one.model),
            f"{one.attempts:,}",
            money(one.cost),
            f"{one.input_tokens:,}",
            f"{one.output_tokens:,}",
            *quantiles(one.latency),
            *quantiles(one.first_token)[:2],
            counts(one.outcomes),
            str(one.extra),
        )
    return Fitting(
        table,
        (
            "p95",
            "first token p50",
            "more attempts",
            "p99",
            "out",
            "tokens in",
            "outcomes",
            "p50",
            "p95",
        ),
    )


def checks_table(checks: Sequence[Check]) -> Fitting:
    """A line a verifier of a tier."""
    table = _table("task", "tier", "verifier", "judged", "accepted (95% interval)", "rejected",
                   "abstained", left=("because of",))  # fmt: skip
    for one in checks:
        codes = {plain(reason.code or reason.kind): reason.count for reason in one.codes[:TOP]}
        table.add_row(
            plain(one.task),
            plain(one.tier),
            plain(one.verifier),
            f"{one.judged:,}",
            share(one.accepted),
            f"{one.rejected:,}",
            f"{one.abstained:,}",
            counts(codes),
        )
    return Fitting(table, ("because of", "abstained", "rejected"))


def steps_table(steps: Sequence[Step]) -> Fitting:
    """A line a day of a task."""
    table = _table("task", "day", "calls", "accepted", "escalated (95% interval)", "cost", "waste",
                   "p50", "p95", "p99")  # fmt: skip
    for step in steps:
        table.add_row(
            plain(step.task),
            step.day,
            f"{step.calls:,}",
            f"{step.accepted:,}",
            share(step.escalated),
            money(step.cost),
            money(step.waste),
            *quantiles(step.latency),
        )
    return Fitting(table, ("p99", "waste", "p50", "accepted"))


def plain(text: str) -> str:
    """A name as one line of printable characters: some are a model's or a server's own."""
    return "".join(c if c.isprintable() else " " for c in text)


def _table(*names: str, left: Sequence[str] = ()) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    words = ("task", "tier", "model", "verifier", "day", "against the period before")
    for name in names:
        word = name in words
        table.add_column(
            name, justify="left" if word else "right", overflow="fold", no_wrap=not word
        )
    for name in left:
        table.add_column(name, overflow="fold")
    return table
