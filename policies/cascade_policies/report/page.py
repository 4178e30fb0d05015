"""A report as one HTML page: nothing is loaded from elsewhere, and no script runs in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Final

from cascade_policies.report.buckets import Buckets
from cascade_policies.report.drift import drift_section
from cascade_policies.report.figures import Check, Model, Report, Step, Task, Tier
from cascade_policies.report.markup import Markup, join, tag, void
from cascade_policies.report.plots import costs, escalations, latencies
from cascade_policies.report.queries import (
    read_checks,
    read_models,
    read_report,
    read_steps,
)
from cascade_policies.report.rollups import HOUR
from cascade_policies.report.source import Series, Source
from cascade_policies.report.words import (
    chance,
    counts,
    difference,
    figure,
    money,
    percent,
    period,
    quantiles,
    share,
)

MOST_TASKS: Final = 40
"""Tasks with a section of their own; the table at the top has all."""

TOP_REASONS: Final = 10

# Should anything ever slip through, the browser runs no script and loads nothing.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(source: Source) -> str:
    """The page of one task or of all."""
    report = read_report(source)
    step = source.window.step
    steps = read_steps(source, step)
    models, checks = read_models(source), read_checks(source)
    body = [_header(report)]
    if len(report.tasks) > 1:
        body.append(tag("section", tag("h2", "All tasks"), _overview(report.tasks), class_="card"))
    for number, task in enumerate(report.tasks[:MOST_TASKS]):
        its = [one for one in steps if one.task == task.task]
        took = source.durations.get(Series(task.task, "call", "", ""), Buckets())
        plots = _plots(source, task, its, took)
        body.append(
            tag(
                "section",
                tag("h2", task.task),
                _tiles(task),
                plots,
                _tiers(task.tiers),
                tag("div", _reasons(task.tiers), _trend(task), class_="beside"),
                _models([one for one in models if one.task == task.task]),
                _checks([one for one in checks if one.task == task.task]),
                class_="card",
                id=f"task-{number}",
            )
        )
    if rest := report.tasks[MOST_TASKS:]:
        body.append(tag("p", f"{len(rest):,} more tasks: give --task", class_="note"))
    if not report.tasks:
        body.append(tag("p", "No calls in this time.", class_="card"))
    body.append(drift_section(report.drift))
    body.append(_footer())
    return f"<!doctype html>\n{tag('html', _head(report), tag('body', *body), lang='en')}\n"


def _head(report: Report) -> Markup:
    style = Markup((files("cascade_policies.report") / "page.css").read_text(encoding="utf-8"))
    return tag(
        "head",
        void("meta", charset="utf-8"),
        void("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("meta", name="color-scheme", content="light dark"),
        void("link", rel="icon", href="data:,"),
        tag("title", f"cascade report, {period(report.since, report.until)}"),
        tag("style", style),
    )


def _header(report: Report) -> Markup:
    calls = sum(task.calls for task in report.tasks)
    tasks = f"{len(report.tasks):,} task{'' if len(report.tasks) == 1 else 's'}"
    words = f"{period(report.since, report.until)} · {calls:,} calls · {tasks}"
    return tag("header", tag("h1", "cascade report"), tag("p", words))


def _footer() -> Markup:
    return tag(
        "footer",
        "Rates have 95% Wilson intervals; changes count as beyond chance at 99%. Quantiles are "
        "right to 4%. Costs run from what was surely billed to what may have been; a cost that is "
        "not known is counted, and never taken for 0. A tier escalated in a call when a later tier "
        "was started because of it.",
    )


def _overview(tasks: Sequence[Task]) -> Markup:
    head = ("task", "calls", "accepted", "escalated", "cost", "waste", "p50", "p95", "p99")
    rows = []
    for number, task in enumerate(tasks):
        name = tag("a", task.task, href=f"#task-{number}") if number < MOST_TASKS else task.task
        rows.append(
            (
                name,
                f"{task.calls:,}",
                percent(task.outcomes.get("accepted", 0) / task.calls),
                share(task.escalated),
                money(task.cost),
                money(task.waste),
                *quantiles(task.latency),
            )
        )
    return _table(head, rows)


def _tiles(task: Task) -> Markup:
    accepted = task.outcomes.get("accepted", 0)
    p50, p95, p99 = quantiles(task.latency)
    rate = share(task.escalated).partition(" ")
    found = (
        ("calls", f"{task.calls:,}", counts(task.outcomes, without="accepted") or "all accepted"),
        ("accepted", percent(accepted / task.calls), f"{accepted:,} calls"),
        ("escalated", rate[0], rate[2].strip("()")),
        ("cost", money(task.cost), _per_call(task)),
        ("of it wasted", money(task.waste), "attempts whose answer was not returned"),
        *(
            (("of it for routing", money(task.routing), f"{task.routed:,} calls routed"),)
            if task.routed
            else ()
        ),
        ("latency p50", p50, f"p95 {p95}, p99 {p99}"),
        ("attempts", f"{task.attempts:,}", str(task.extra) or "no retries, repairs or replicas"),
    )
    return tag(
        "dl",
        *(
            tag("div", tag("dt", name), tag("dd", value), tag("dd", small, class_="small"))
            for name, value, small in found
        ),
        class_="tiles",
    )


def _per_call(task: Task) -> str:
    known = task.calls - task.cost.unknown
    if task.cost.high is None or not known:
        return "no price is known"
    from cascade_policies.report.words import dollars

    return f"{dollars(task.cost.high / known)} a call"


def _plots(source: Source, task: Task, steps: Sequence[Step], buckets: Buckets) -> Markup:
    each = "hour" if source.window.step == HOUR else "day"
    tiers = [tier.tier for tier in task.tiers]
    return tag(
        "div",
        _figure(f"Escalation rate by tier and {each}", escalations(steps, source.window, tiers)),
        _figure(f"Cost by {each}", costs(steps, source.window)),
        _figure("Latency of calls", latencies(buckets, task.latency)),
        class_="plots",
    )


def _figure(caption: str, plot: Markup) -> Markup:
    return tag("figure", tag("figcaption", caption), plot)


def _tiers(tiers: Sequence[Tier]) -> Markup:
    head = ("tier", "calls", "escalated", "attempts", "cost", "p50", "p95", "p99",
            "first token p50", "p95", "<how it ended", "<more attempts")  # fmt: skip
    rows = [
        (tier.tier, f"{tier.calls:,}", share(tier.escalation), f"{tier.attempts:,}",
         money(tier.cost), *quantiles(tier.latency), *quantiles(tier.first_token)[:2],
         counts(tier.endings), str(tier.extra))
        for tier in tiers
    ]  # fmt: skip
    return join(tag("h3", "Tiers"), _table(head, rows))


def _reasons(tiers: Sequence[Tier]) -> Markup:
    rows: list[tuple[object, ...]] = []
    for tier in tiers:
        for reason in tier.reasons[:TOP_REASONS]:
            of = reason.count / tier.escalation.count
            bar = tag("span", class_="bar", style=f"width: {100 * of:.1f}px")
            rows.append((tier.tier, f"{reason.count:,}", percent(of), join(bar, reason.name)))
        if rest := tier.reasons[TOP_REASONS:]:
            count = sum(reason.count for reason in rest)
            of = count / tier.escalation.count
            rows.append((tier.tier, f"{count:,}", percent(of), f"{len(rest):,} others"))
    if not rows:
        return join()
    table = _table(("tier", "escalations", "share", "<because of"), rows)
    return tag("div", tag("h3", "Why tiers escalated"), table)


def _trend(task: Task) -> Markup:
    if not task.trend:
        return join()
    rows = []
    for change in task.trend:
        words = chance(change)
        mark = tag("strong", words) if change.beyond_chance else words
        rows.append(
            (
                change.figure,
                figure(change, change.before),
                figure(change, change.now),
                difference(change),
                mark,
            )
        )
    table = _table(("figure", "before", "now", "change", "<at 99%"), rows)
    return tag("div", tag("h3", "Against the period before"), table)


def _models(models: Sequence[Model]) -> Markup:
    head = ("tier", "<model", "attempts", "cost", "tokens in", "out", "p50", "p95", "p99",
            "<outcomes")  # fmt: skip
    rows = [
        (one.tier, one.model, f"{one.attempts:,}", money(one.cost), f"{one.input_tokens:,}",
         f"{one.output_tokens:,}", *quantiles(one.latency), counts(one.outcomes))
        for one in models
    ]  # fmt: skip
    return tag("details", tag("summary", "Models"), _table(head, rows))


def _checks(checks: Sequence[Check]) -> Markup:
    if not checks:
        return join()
    head = ("tier", "<verifier", "judged", "accepted", "rejected", "abstained", "<because of")
    rows = [
        (one.tier, one.verifier, f"{one.judged:,}", share(one.accepted), f"{one.rejected:,}",
         f"{one.abstained:,}",
         counts({code.code or code.kind: code.count for code in one.codes[:TOP_REASONS]}))
        for one in checks
    ]  # fmt: skip
    return tag("details", tag("summary", "Verifiers"), _table(head, rows))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """The first column and those that begin with ``<`` are words, the others numbers."""
    kinds = ["word" if not at or name[0] == "<" else None for at, name in enumerate(head)]
    top = [tag("th", name.lstrip("<"), class_=kind) for name, kind in zip(head, kinds, strict=True)]
    body = [
        tag("tr", *(tag("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)))
        for row in rows
    ]
    return tag(
        "div", tag("table", tag("thead", tag("tr", *top)), tag("tbody", *body)), class_="scroll"
    )
