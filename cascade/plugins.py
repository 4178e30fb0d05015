"""Entry points, read once a process: the door by which built-ins and plugins come in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@cache
def entry_points_of(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of a group by name; not loaded yet."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=group)}
