"""The plots of the page, as SVG. Their colours are those of the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Final

from cascade_policies.report.axes import (
    CHARACTER,
    HEIGHT,
    LEFT,
    TOP,
    WIDTH,
    Axes,
    some,
    up_to,
)
from cascade_policies.report.buckets import PER_DECADE, Buckets, edge
from cascade_policies.report.figures import Latency, Share, Step
from cascade_policies.report.markup import Markup, join, tag
from cascade_policies.report.rollups import DAY
from cascade_policies.report.window import Window, day_of
from cascade_policies.report.words import dollars, money, percent, seconds, share

COLOURS: Final = 6
"""Tiers with a colour of their own; those after share the last."""

_MERGED: Final = 2  # buckets to a bar: half of them would be empty with few calls
_LONGEST_NAME: Final = 16


def escalations(steps: Sequence[Step], window: Window, tiers: Sequence[str]) -> Markup:
    """The escalation rate of each tier over time, in its 95% interval."""
    shown = [name for name in tiers if any(_of(one, name).count for one in steps)]
    highs = [_of(one, name).high or 0.0 for one in steps for name in shown]
    # With few calls in a day the intervals are wide: the lines decide how high the plot is.
    rates = [_of(one, name).rate or 0.0 for one in steps for name in shown]
    top, ticks = up_to(min(max(highs, default=0.0), 1.6 * max(rates, default=0.0), 1.0), percent)
    axes = _over_time(window, top)
    parts = [axes.frame(_dates(window), ticks)]
    for index, name in enumerate(shown):
        points = [
            (one.start + window.step / 2, _of(one, name), one) for one in steps if name in one.tiers
        ]
        colour = f"c{min(index, COLOURS - 1)}"
        upper = [(at, min(its.high or 0.0, top)) for at, its, _ in points]
        lower = [(at, its.low or 0.0) for at, its, _ in reversed(points)]
        parts.append(tag("polygon", points=_points(axes, upper + lower), class_=f"{colour} band"))
        line = [(at, its.rate or 0.0) for at, its, _ in points]
        parts.append(tag("polyline", points=_points(axes, line), class_=f"{colour} line"))
        for at, its, one in points:
            told = tag("title", f"{one.day}, {name}: {share(its)} of {its.of:,} calls")
            parts.append(
                tag(
                    "circle",
                    told,
                    cx=axes.x(at),
                    cy=axes.y(its.rate or 0.0),
                    r=3,
                    class_=f"{colour} dot",
                )
            )
    if not shown:
        parts.append(_note("no escalations"))
    return _svg("Escalation rate of each tier", join(*parts, _legend(shown)))


def costs(steps: Sequence[Step], window: Window) -> Markup:
    """What calls cost over time: what was surely billed, and what may have been."""
    top, ticks = up_to(max((one.cost.high or 0.0 for one in steps), default=0.0), _short_dollars)
    axes = _over_time(window, top)
    parts = [axes.frame(_dates(window), ticks)]
    for one in steps:
        told = tag("title", f"{one.day}: {money(one.cost)}, {one.calls:,} calls")
        low, high = one.cost.low, one.cost.high
        if low is None or high is None:
            continue
        bars = (_bar(axes, one.start, window.step, 0.0, low, "c0 bar"),
                _bar(axes, one.start, window.step, low, high, "c0 maybe"))  # fmt: skip
        parts.append(tag("g", told, *bars))
    if all(one.cost.high is None for one in steps):
        parts.append(_note("no cost is known"))
    names = ("surely billed", "may have been billed") if any(map(_unsure, steps)) else ()
    return _svg("Cost", join(*parts, _legend(names, ("c0 bar", "c0 maybe"))))


def latencies(buckets: Buckets, latency: Latency) -> Markup:
    """How long calls took: how many in each span of time, on a logarithmic axis."""
    bars: dict[int, int] = {}
    for bucket, (count, cut) in buckets.counts.items():
        if count > cut:
            bars[ceil(bucket / _MERGED)] = bars.get(ceil(bucket / _MERGED), 0) + count - cut
    if not bars:
        return _svg("Latency of calls", _note("no call has ended by itself"))
    first, last = min(bars) - 1, max(bars)
    first, last = (first - 1, last + 1) if last - first < 4 else (first, last)
    top, ticks = up_to(max(bars.values()), lambda value: f"{value:,.0f}")
    axes = Axes(first, last, top)
    parts = [axes.frame(_decades(first, last), [tick for tick in ticks if tick[0] % 1 == 0])]
    total = sum(bars.values())
    for index, count in sorted(bars.items()):
        between = f"{seconds(edge(_MERGED * (index - 1)))} to {seconds(edge(_MERGED * index))}"
        told = tag("title", f"{between}: {count:,} calls, {percent(count / total)}")
        parts.append(tag("g", told, _bar(axes, index - 1, 1, 0.0, count, "c0 bar")))
    return _svg("Latency of calls", join(*parts, *_marks(axes, latency)))


def _marks(axes: Axes, latency: Latency) -> list[Markup]:
    """A line at each quantile, named above; names that would touch go side by side."""
    pairs = (("p50", latency.p50_s), ("p95", latency.p95_s), ("p99", latency.p99_s))
    shown = [(f"{name} {seconds(value)}", value) for name, value in pairs if value is not None]
    at = [axes.x(log10(value) * PER_DECADE / _MERGED) for _, value in shown]
    parts = []
    for x, middle, (name, _) in zip(
        at, _apart(at, [name for name, _ in shown]), shown, strict=True
    ):
        parts.append(tag("line", x1=x, x2=x, y1=TOP - 6, y2=axes.y(0), class_="mark"))
        parts.append(tag("text", name, x=middle, y=TOP - 11, text_anchor="middle", class_="strong"))
    return parts


def _apart(at: Sequence[float], names: Sequence[str]) -> list[float]:
    """Where to write names so that each is near its place, and none over another."""
    halves = [CHARACTER * len(name) / 2 + 3 for name in names]
    middles, end = [], 0.0
    for place, half in zip(at, halves, strict=True):
        middles.append(max(place, end + half))
        end = middles[-1] + half
    end = float(WIDTH)
    for index in reversed(range(len(names))):
        middles[index] = min(middles[index], end - halves[index])
        end = middles[index] - halves[index]
    return middles


def _of(step: Step, tier: str) -> Share:
    return step.tiers.get(tier) or Share.make(0, 0)


def _unsure(step: Step) -> bool:
    return step.cost.low != step.cost.high


def _over_time(window: Window, top: float) -> Axes:
    first = window.since // window.step * window.step
    return Axes(first, -(-window.until // window.step) * window.step, top)


def _dates(window: Window) -> list[tuple[float, str]]:
    first = window.since // window.step * window.step
    starts = range(first, window.until, window.step)
    middle = window.step / 2
    if window.step == DAY:
        return some([(at + middle, day_of(at)[5:]) for at in starts], 7)
    return some([(at + middle, day_of(at, window.step)[-5:]) for at in starts], 7)


def _decades(first: int, last: int) -> list[tuple[float, str]]:
    """Powers of ten within, and more where these are few."""
    per = PER_DECADE / _MERGED
    powers = range(floor(first / per), ceil(last / per) + 1)
    decades = (last - first) / per
    times = (1,) if decades > 2.5 else (1, 3) if decades > 1.5 else (1, 2, 5)
    at = [
        (per * (power + log10(each)), seconds(each * 10.0**power))
        for power in powers
        for each in times
    ]
    return [tick for tick in at if first <= tick[0] <= last]


def _bar(axes: Axes, start: float, width: float, low: float, high: float, kind: str) -> Markup:
    left, right = axes.x(start), axes.x(start + width)
    gap = min(2.0, 0.15 * (right - left))
    return tag(
        "rect", x=left + gap, width=right - left - 2 * gap, y=axes.y(high),
        height=max(0.0, axes.y(low) - axes.y(high)), class_=kind,
    )  # fmt: skip


def _points(axes: Axes, points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in points)


def _legend(names: Sequence[str], kinds: Sequence[str] = ()) -> Markup:
    parts, at = [], float(LEFT)
    for index, name in enumerate(names[:COLOURS]):
        kind = kinds[index] if kinds else f"c{index} bar"
        whole = kinds or len(name) <= _LONGEST_NAME
        words = name if whole else f"{name[: _LONGEST_NAME - 1]}…"
        if at + CHARACTER * len(words) + 16 > WIDTH:
            break
        parts.append(tag("rect", x=at, y=5, width=10, height=10, class_=kind))
        parts.append(tag("text", words, x=at + 15, y=14))
        at += 30 + CHARACTER * len(words)
    return join(*parts)


def _note(words: str) -> Markup:
    return tag("text", words, x=WIDTH / 2, y=HEIGHT / 2, text_anchor="middle", class_="strong")


def _short_dollars(value: float) -> str:
    if 0 < value < 0.001:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"${mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"${value:,.0f}" if value >= 100 else dollars(value).removesuffix(".00")


def _svg(title: str, inner: Markup) -> Markup:
    return tag("svg", tag("title", title), inner, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img")
