"""The frontier as one HTML page that answers the pointer: nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from math import isnan

import msgspec

from cascade_policies.report.markup import Markup, join, tag, void
from cascade_policies.tuning.frontier import Estimate, Point
from cascade_policies.tuning.goal import Goal

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def page(points: Sequence[Point], goal: Goal, title: str, said: Sequence[str]) -> str:
    """The page.

    Args:
        said: paragraphs that explain what was found.
    """
    folder = files("cascade_policies.tuning")
    style = Markup((folder / "page.css").read_text(encoding="utf-8"))
    script = Markup((folder / "page.js").read_text(encoding="utf-8"))
    head = tag(
        "head",
        void("meta", charset="utf-8"),
        void("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", style),
    )
    body = tag(
        "body",
        tag("h1", title),
        join(*(tag("p", line) for line in said)),
        tag("div", tag("label", "across: ", _axis(goal, points)), class_="choice"),
        tag("figure", id="plot"),
        tag("p", "Point at a mark for its policy and its 95% intervals, each taken alone.",
            id="told", aria_live="polite"),
        _table(points),
        tag("script", _data(points), type="application/json", id="points"),
        tag("script", script),
    )  # fmt: skip
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _axis(goal: Goal, points: Sequence[Point]) -> Markup:
    named = {"cost": "US$ per 1,000 calls", "latency": "seconds a call"}
    choices = {
        key: words
        for key, words in named.items()
        if not any(isnan(getattr(point, key).mean) for point in points)
    }
    options = (
        tag("option", words, value=key, selected="selected" if key == goal.minimise else None)
        for key, words in choices.items()
    )
    return tag("select", *options, id="axis")


def _table(points: Sequence[Point]) -> Markup:
    """What the plot shows, for whoever has no script or no eyes for it."""
    rows = [
        tag(
            "tr",
            tag("td", point.kind),
            tag("td", point.name),
            tag("td", _shown(point.quality, 1.0)),
            tag("td", _shown(point.cost, 1000.0)),
            tag("td", _shown(point.latency, 1.0)),
        )
        for point in points
        if point.kind != "policy"
    ]
    names = ("", "policy", "quality", "US$ per 1,000 calls", "seconds a call")
    return tag("table", tag("tr", *(tag("th", name) for name in names)), *rows)


def _shown(one: Estimate, times: float) -> str:
    if isnan(one.mean):
        return "unknown"
    return f"{times * one.mean:.4g} ({times * one.low:.4g} to {times * one.high:.4g})"


def _data(points: Sequence[Point]) -> Markup:
    # JSON in a page: nothing in it may end the element.
    return Markup(msgspec.json.encode(points).decode().replace("<", "\\u003c"))
