"""Figures in words, the same in tables and on pages."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log10

from cascade_policies.report.figures import Change, Latency, Money, Share
from cascade_policies.report.window import moment

NONE = "-"
"""What stands where there is no figure."""


def percent(rate: float | None) -> str:
    """A share; with a decimal near 0 and 1, which only stand for none and all."""
    if rate is None:
        return NONE
    if rate in (0.0, 1.0) or 0.1 <= rate < 0.99:
        return f"{rate:.0%}"
    return f"{min(max(rate, 0.001), 0.999):.1%}"


def share(one: Share) -> str:
    """A rate with its interval: ``25% (22% to 28%)``."""
    if one.rate is None:
        return NONE
    return f"{percent(one.rate)} ({percent(one.low)} to {percent(one.high)})"


def money(one: Money) -> str:
    """``$1.20 to $1.45``, and how many of unknown cost come on top."""
    if one.low is None or one.high is None:
        return "unknown"
    low, high = dollars(one.low), dollars(one.high)
    known = low if low == high else f"{low} to {high}"
    return f"{known} + {one.unknown:,} unknown" if one.unknown else known


def dollars(value: float | None) -> str:
    """Cents from a dollar on, three digits below."""
    if value is None:
        return "unknown"
    if value == 0 or value >= 1:
        return f"${value:,.2f}" if value else "$0"
    shown = f"{value:.{2 - floor(log10(value))}f}".rstrip("0")
    return f"${shown}" if len(shown) > 3 else f"${value:.2f}"


def seconds(value: float | None) -> str:
    """Three digits: ``850 ms``, ``1.24 s``, ``75.0 s``."""
    if value is None:
        return NONE
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if value * factor < 999.5:
            return f"{value * factor:.3g} {unit}"
    return f"{value:.3g} s" if value < 999.5 else f"{value:,.0f} s"


def quantiles(one: Latency) -> tuple[str, str, str]:
    """p50, p95 and p99."""
    return seconds(one.p50_s), seconds(one.p95_s), seconds(one.p99_s)


def counts(its: Mapping[str, int], *, without: str = "") -> str:
    """``12 rejected, 3 failed``."""
    return ", ".join(f"{count:,} {name}" for name, count in its.items() if name != without)


def figure(change: Change, value: float | None) -> str:
    """A figure of the trend, in its unit."""
    if change.figure.startswith("cost"):
        return NONE if value is None else dollars(value)
    if "latency" in change.figure:
        return seconds(value)
    if change.figure == "calls an hour":
        return NONE if value is None else f"{value:,.4g}"
    return percent(value)


def difference(change: Change) -> str:
    """How the figure has changed: points of a share, per cent of anything else."""
    if change.before is None or change.now is None:
        return NONE
    moved = change.now - change.before
    if change.figure.startswith(("accepted", "escalat")):
        return f"{100 * moved:+.1f} points"
    return NONE if change.before == 0 else f"{moved / change.before:+.0%}"


def chance(change: Change) -> str:
    """Whether that may be chance."""
    if change.beyond_chance is None:
        return ""
    return "beyond chance" if change.beyond_chance else "may be chance"


def period(since: float, until: float) -> str:
    """From when to when, given as Unix times."""
    return f"{moment(since)} to {moment(until)} UTC"
