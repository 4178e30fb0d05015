"""The frame of a plot: where a value is on the paper, and the numbers beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

from cascade_policies.report.markup import Markup, join, tag

WIDTH: Final = 460
HEIGHT: Final = 230
LEFT: Final = 66
RIGHT: Final = 12
TOP: Final = 26
BOTTOM: Final = 28
CHARACTER: Final = 7.4
"""How wide a character may be, in the widest of the fonts that a system may have."""

Tick = tuple[float, str]
"""A value of an axis, and what is written there."""


@dataclass(frozen=True, slots=True)
class Axes:
    """From the least to the greatest value of each axis."""

    left: float
    right: float
    top: float

    def x(self, value: float) -> float:
        """Where a value of the horizontal axis is."""
        share = (value - self.left) / (self.right - self.left)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Where a value of the vertical axis is, which begins at 0."""
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)

    def frame(self, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick]) -> Markup:
        """Lines across at the ticks, and what is written beside them."""
        parts = []
        for value, name in y_ticks:
            at = self.y(value)
            parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, class_="grid"))
            parts.append(tag("text", name, x=LEFT - 8, y=at + 4, text_anchor="end"))
        for value, name in x_ticks:
            at = self.x(value)
            # What is written at an end stays inside.
            half = CHARACTER * len(name) / 2
            shown = min(max(at, half), WIDTH - half)
            parts.append(tag("line", x1=at, x2=at, y1=self.y(0), y2=self.y(0) + 4, class_="axis"))
            parts.append(tag("text", name, x=shown, y=HEIGHT - 8, text_anchor="middle"))
        parts.append(
            tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=self.y(0), y2=self.y(0), class_="axis")
        )
        return join(*parts)


def up_to(most: float, shown: Callable[[float], str]) -> tuple[float, list[Tick]]:
    """The end of an axis from 0 that holds ``most``, and round numbers on the way."""
    if not most > 0:
        return 1.0, [(0.0, shown(0.0))]
    raw = most / 4
    power = 10.0 ** floor(log10(raw))
    step = next(times * power for times in (1, 2, 2.5, 5, 10) if times * power >= raw * 0.999)
    count = max(1, ceil(most / step - 1e-9))
    return step * count, [(step * index, shown(step * index)) for index in range(count + 1)]


def some(ticks: Sequence[Tick], most: int) -> list[Tick]:
    """At most so many, evenly."""
    every = max(1, ceil(len(ticks) / most))
    return list(ticks[::every])
