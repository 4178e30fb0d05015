"""Ways to choose among the models, each played on rows that it has not seen.

Part of ``python -m benchmarks.frontier``, which says what is measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from msgspec import Struct

from benchmarks.frontier_points import Interval, Kind, Point, point, resampled
from benchmarks.frontier_rivals import (
    RIVALS,
    Chosen,
    NotAvailableError,
    Rows,
    Task,
    tasks,
)
from cascade_policies.replaying import Table


class Way(Struct, frozen=True):
    """One way to choose, over all turns.

    Attributes:
        below: by how much its accuracy is below the top model's on the same rows, in percentage
            points, with the bootstrap interval of the paired difference.
        chosen: what was chosen, and in how many turns.
    """

    name: str
    point: Point
    below: Interval
    chosen: dict[str, int]

    @property
    def accuracy(self) -> Interval:
        """Percent."""
        return self.point.accuracy

    @property
    def dollars(self) -> Interval:
        """US dollars per 1,000 prompts."""
        assert self.point.dollars is not None
        return self.point.dollars


class Choices(Struct, frozen=True):
    """All ways under one task.

    Attributes:
        missing: ways that cannot be taken here, and what they need.
    """

    top: str
    drop: float
    ways: tuple[Way, ...]
    missing: dict[str, str]


def compare(
    table: Table,
    rows: Rows,
    drop: float,
    more: Mapping[str, Callable[[Task], Chosen]],
) -> Choices:
    """All ways on the same turns: the rivals, and ``more``."""
    turns = list(tasks(table, rows, drop))
    top = np.concatenate([turn.unseen.quality[:, turn.top] for turn in turns])
    ways, missing = [], {}
    for name, choose in {**RIVALS, **more}.items():
        try:
            found = [choose(turn) for turn in turns]
        except NotAvailableError as error:
            missing[name] = str(error)
            continue
        quality = np.concatenate([each.quality for each in found])
        cost = np.concatenate([each.cost for each in found])
        below = resampled(100 * (top - quality))
        kind: Kind = "tuned" if name in more else "rival"
        said = Counter(each.what for each in found)
        ways.append(Way(name, point(name, kind, quality, cost), below, dict(said.most_common())))
    return Choices(table.tiers[-1], drop, tuple(ways), missing)
