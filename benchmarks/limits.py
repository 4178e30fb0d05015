"""``--max NAME=VALUE`` and ``--check``: a benchmark that fails where a figure is too large."""

from __future__ import annotations

import argparse
from collections.abc import Mapping


def add_limits(parser: argparse.ArgumentParser, targets: Mapping[str, float]) -> None:
    """Add the two options; the names are those of the targets."""

    def limit(text: str) -> tuple[str, float]:
        name, _, value = text.partition("=")
        if name not in targets:
            raise argparse.ArgumentTypeError(f"no figure {name!r}: give {', '.join(targets)}")
        return name, float(value)

    parser.add_argument("--check", action="store_true", help="fail where a target is missed")
    parser.add_argument(
        "--max", type=limit, action="append", default=[], metavar="NAME=VALUE",
        help="fail where this figure is greater or was not measured",
    )  # fmt: skip


def exceeded(
    figures: Mapping[str, float], options: argparse.Namespace, targets: Mapping[str, float]
) -> list[str]:
    """A line for each limit that does not hold, or of which it is not known."""
    limits = {name: targets[name] for name in targets if options.check and name in figures}
    lines = []
    for name, most in {**limits, **dict(options.max)}.items():
        if name not in figures:
            lines.append(f"{name} was not measured")
        elif figures[name] > most:
            lines.append(f"{name} is {figures[name]:.4g}, more than {most:.4g}")
    return lines
