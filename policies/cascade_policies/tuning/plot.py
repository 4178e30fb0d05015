"""The frontier as a picture: PNG or SVG, whichever the file's name says."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from cascade.errors import ConfigError, MissingExtraError
from cascade_policies.tuning.frontier import Estimate, Point
from cascade_policies.tuning.goal import Goal

FORMATS: Final = (".png", ".svg", ".html")

_LOOKS: Final[dict[str, dict[str, Any]]] = {
    "policy": {"color": "#7a7a7a", "marker": ".", "label": "policies"},
    "model": {"color": "#0072b2", "marker": "s", "label": "one tier alone"},
    "oracle": {"color": "#00916b", "marker": "*", "label": "oracle: who knows what is right"},
    "now": {"color": "#d98200", "marker": "D", "label": "as it is now"},
    "chosen": {"color": "#cf5300", "marker": "o", "label": "chosen"},
}


def check_plot(path: Path) -> None:
    """See that the file can be drawn, before anything is searched for.

    Raises:
        ConfigError: the ending is none that is known, or there is no such folder.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix not in FORMATS:
        raise ConfigError(f"--plot {path}: end the name in {', '.join(FORMATS)}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--plot {path}: there is no folder {str(path.parent)!r}")
    if path.suffix != ".html":
        _matplotlib("matplotlib")


def draw(path: Path, points: Sequence[Point], goal: Goal, title: str) -> None:
    """Draw the points with their intervals.

    Raises:
        ConfigError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    _matplotlib("matplotlib").use("Agg")
    pyplot: Any = _matplotlib("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(8.0, 5.0), layout="constrained")
    for kind, look in _LOOKS.items():
        shown = [point for point in points if point.kind == kind]
        if shown:
            _series(axes, shown, goal, look, faint=kind == "policy")
    for point in points:
        if point.kind == "model":
            where = (_spent(point, goal).mean, point.quality.mean)
            axes.annotate(point.name.replace("$", r"\$"), where, fontsize=8,
                          xytext=(5, -10), textcoords="offset points")  # fmt: skip
    unit = "seconds a call" if goal.minimise == "latency" else r"US\$ per 1,000 calls"
    axes.set(xlabel=f"mean {unit}", ylabel="mean quality", title=title.replace("$", r"\$"))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise ConfigError(f"--plot {path}: cannot be written: {error.strerror}") from error
    finally:
        pyplot.close(figure)


def _series(
    axes: Any, points: Sequence[Point], goal: Goal, look: dict[str, Any], *, faint: bool
) -> None:
    x = [_spent(point, goal) for point in points]
    y = [point.quality for point in points]
    style = {"elinewidth": 0.4 if faint else 1.0, "alpha": 0.6 if faint else 1.0}
    axes.errorbar([each.mean for each in x], [each.mean for each in y],
                  xerr=_arms(x), yerr=_arms(y), linestyle="none", **style, **look)  # fmt: skip


def _arms(estimates: Sequence[Estimate]) -> list[list[float]]:
    return [[one.mean - one.low for one in estimates], [one.high - one.mean for one in estimates]]


def _spent(point: Point, goal: Goal) -> Estimate:
    if goal.minimise == "latency":
        return point.latency
    return Estimate(*(1000.0 * value for value in point.cost))


def _matplotlib(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError("a picture", extra="plot") from error
