"""What `frontier` found, for people: tables and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks.frontier_choices import Choices
from benchmarks.frontier_points import Interval, Point, Reference
from benchmarks.frontier_published import Scored

LOOKS: Mapping[str, tuple[str, str]] = {
    "single": ("o", "#8a8f98"),
    "policy": ("D", "#1667b7"),
    "tuned": ("*", "#c4302b"),
    "rival": ("s", "#d98b1f"),
    "oracle": ("^", "#2f8f4e"),
}
"""Marker and colour of each kind of point."""


SHOWN = 35.0
"""Percentage points of accuracy in a picture; what is worse is named beside it."""

_CORNERS = ((6, 4), (6, -11), (-14, 4), (-14, -11))


class Section(Struct, frozen=True, kw_only=True):
    """What was found on one set.

    Attributes:
        title: what the plot calls it.
        scored: of published figures only.
        choices: what each way to choose among the models comes to, where they were compared.
        notes: what else there is to say, a line each.
    """

    title: str
    points: tuple[Point, ...] = ()
    references: tuple[Reference, ...] = ()
    scored: tuple[Scored, ...] = ()
    choices: tuple[Choices, ...] = ()
    notes: tuple[str, ...] = ()


def table(name: str, section: Section) -> str:
    """One section as text."""
    lines = [f"{name}: {section.title}"]
    lines += _scored(section.scored)
    lines += _points(section.points)
    for choices in section.choices:
        lines += _choices(choices)
    lines += [f"  {note}" for note in section.notes]
    lines += _references(section.references)
    return "\n".join(lines) + "\n"


def _scored(scored: Sequence[Scored]) -> list[str]:
    if not scored:
        return []
    lines = [f"  {'model':50} {'rows':>5} {'published':>9} {'recorded':>8} {'anew':>6}  differ"]
    for line in scored:
        known = "" if line.published is None else f"{line.published:.2f}"
        differ = f"{len(line.differ)}: {', '.join(line.differ)}" if line.differ else "0"
        lines.append(
            f"  {f'{line.set}: {line.model}':50} {line.rows:>5} {known:>9} {line.recorded:8.2f} "
            f"{line.anew:6.2f}  {differ}"
        )
    return lines


def _points(points: Sequence[Point]) -> list[str]:
    alone = [each for each in points if each.kind not in ("tuned", "rival")]
    if not alone:
        return []
    heads = f"{'US$ per 1000':25} {'escalated':>9} {'p50 s':>6} {'p95 s':>6}"
    lines = [f"  {'':66} {'accuracy %':21} {heads}"]
    for each in alone:
        least = each.least
        cost = "" if each.dollars is None else _cell(each.dollars, 3)
        if each.dollars is not None and least is not None and least < each.dollars[0] - 1e-9:
            cost = f"{least:.3f} to {each.dollars[0]:.3f}"
        share = "" if each.escalated is None or each.kind == "single" else f"{each.escalated:.1f}%"
        times = ["" if t is None else f"{t:.2f}" for t in (each.p50, each.p95)]
        lines.append(
            f"  {each.name:66} {_cell(each.accuracy, 1):21} {cost:25} {share:>9} "
            f"{times[0]:>6} {times[1]:>6}".rstrip()
        )
    return lines


def _choices(choices: Choices) -> list[str]:
    lines = [
        f"  At most {choices.drop:.0%} below {choices.top}, chosen on other rows than it is "
        "played on:",
        f"  {'':20} {'below it, points':24} {'accuracy %':21} {'US$ per 1000':25} chosen",
    ]
    for way in choices.ways:
        chosen = "; ".join(f"{n}x {what}" if n > 1 else what for what, n in way.chosen.items())
        lines.append(
            f"  {way.name:20} {_cell(way.below, 1):24} {_cell(way.accuracy, 1):21} "
            f"{_cell(way.dollars, 3):25} {chosen}"
        )
    lines += [f"  {name:20} not available: {needs}" for name, needs in choices.missing.items()]
    return lines


def _references(references: Sequence[Reference]) -> list[str]:
    missed = [each for each in references if not each.met]
    if not references:
        return []
    lines = [f"  {len(references) - len(missed)} of {len(references)} references met"]
    for each in references:
        verdict = "ok    " if each.met else "MISSED"
        found = "none" if each.found is None else f"{each.found:.4g}"
        expected = f"expected {each.expected:.4g} ± {each.tolerance:.2g}"
        lines.append(f"    {verdict} {each.what}: {found}, {expected}")
    return lines


def _cell(value: Interval, digits: int) -> str:
    mean, low, high = (f"{number:.{digits}f}" for number in value)
    return f"{mean} [{low}, {high}]"


def plot(sections: Mapping[str, Section], path: Path) -> None:
    """Cost against accuracy, a panel a set; the ending says which kind of file.

    Raises:
        SystemExit: matplotlib is not installed, or nothing here can be drawn.
    """
    drawn = [section for section in sections.values() if section.points]
    if not drawn:
        raise SystemExit("no plot: published figures have no costs; name another set")
    try:
        matplotlib = import_module("matplotlib")
    except ModuleNotFoundError as error:
        raise SystemExit("no plot: pip install 'cascade-engine[plot]'") from error
    matplotlib.use("Agg")
    size = (13, 5.6 * len(drawn))
    figure, axes = import_module("matplotlib.pyplot").subplots(
        len(drawn), 1, figsize=size, squeeze=False
    )
    for axis, section in zip(axes.flat, drawn, strict=True):
        _panel(axis, section)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _panel(axis: Any, section: Section) -> None:
    """The points, numbered, and beside them what the numbers are."""
    known = [point for point in section.points if _across(point) is not None]
    known.sort(key=lambda point: (_across(point), -point.accuracy[0]))
    priced = any(point.dollars is not None for point in known)
    free = min((x for point in known if (x := _across(point))), default=1.0) / 3
    """Where a log axis has what costs nothing."""
    bottom = max(point.accuracy[1] for point in known) - SHOWN
    floor = max(bottom, min(point.accuracy[1] for point in known)) - 1
    seen: set[str] = set()
    for number, point in enumerate(known, 1):
        x = _across(point) or (free if priced else 0.0)
        mean = point.accuracy[0]
        marker, colour = LOOKS[point.kind]
        sides = {"yerr": _sides(point.accuracy)}
        if point.dollars is not None and point.dollars[0]:
            sides["xerr"] = _sides(point.dollars)
        axis.errorbar(
            x, mean, **sides, fmt=marker, color=colour, elinewidth=0.8, alpha=0.9,
            markersize=14 if point.kind == "tuned" else 6, zorder=2 + (point.kind != "single"),
            label=None if point.kind in seen else _NAMES[point.kind],
        )  # fmt: skip
        seen.add(point.kind)
        where = _CORNERS[number % len(_CORNERS)]
        axis.annotate(
            str(number), (x, mean), xytext=where, textcoords="offset points", fontsize=8,
            color=colour, annotation_clip=True,
        )  # fmt: skip
        below = ", below the picture" if mean < floor else ""
        free_of_cost = ", free" if point.dollars is not None and not point.dollars[0] else ""
        axis.text(
            1.02, 1.0 - (number - 0.5) / max(24, len(known)), fontsize=8, color=colour, va="center",
            s=f"{number}  {point.name}: {mean:.1f}%{free_of_cost}{below}", transform=axis.transAxes,
        )  # fmt: skip
    axis.set_xlabel("% of the questions that reach a large model (costs were not recorded)")
    if priced:
        axis.set_xscale("log")
        axis.set_xlabel("US$ per 1,000 prompts, the most that may be billed (log scale)")
    axis.set(title=section.title, ylabel="accuracy, % (95% intervals)")
    axis.set_ylim(bottom=floor)
    axis.grid(alpha=0.25)
    axis.margins(x=0.08)
    axis.legend(loc="lower right", fontsize=8)


_NAMES: Mapping[str, str] = {
    "single": "one model",
    "policy": "policy",
    "tuned": "tuned, certified",
    "rival": "chosen otherwise",
    "oracle": "oracle",
}


def _across(point: Point) -> float | None:
    return point.large if point.dollars is None else point.dollars[0]


def _sides(value: Interval) -> list[list[float]]:
    """How far an interval reaches down and up; where it has no width, rounding may turn it over."""
    mean, low, high = value
    return [[max(0.0, mean - low)], [max(0.0, high - mean)]]
