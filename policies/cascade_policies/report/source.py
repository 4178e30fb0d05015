"""The sums in a ledger's database, read for one period."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from cascade.errors import ConfigError, nearest
from cascade_policies.report.buckets import Buckets
from cascade_policies.report.rollups import DAY, EVER
from cascade_policies.report.window import Window


class Series(NamedTuple):
    """What durations are of; ``tier`` and ``model`` are "" of calls."""

    task: str
    measure: str
    tier: str
    model: str


@dataclass(frozen=True)
class Source:
    """What to read: a ledger, a period of it, and one task or None for all."""

    connection: sqlite3.Connection
    window: Window
    task: str | None = None

    def sums(
        self, table: str, keys: Sequence[str], sums: Sequence[str], *, step: int = DAY
    ) -> list[Any]:
        """The sums of a table for each combination of keys; ``start`` is that of its step."""
        rows, values = self._rows(table, (*keys, *sums), step)
        condition = "" if self.task is None else " WHERE policy = ?"
        return self.connection.execute(
            f"SELECT {', '.join((*keys, *(f'sum({name})' for name in sums)))} FROM ({rows})"  # noqa: S608  (our own names)
            f"{condition} GROUP BY {', '.join(map(str, range(1, len(keys) + 1)))}",
            values if self.task is None else (*values, self.task),
        ).fetchall()

    @cached_property
    def durations(self) -> dict[Series, Buckets]:
        """How long calls, attempts and first tokens took."""
        made: defaultdict[Series, Buckets] = defaultdict(Buckets)
        for series, _, bucket, count, cut in self._durations(self._series(None), DAY, "0"):
            made[series].add(bucket, count, cut)
        return dict(made)

    def calls_durations(self, step: int) -> dict[tuple[str, int], Buckets]:
        """How long the calls of each task took, for each step of time."""
        made: defaultdict[tuple[str, int], Buckets] = defaultdict(Buckets)
        for series, start, bucket, count, cut in self._durations(
            self._series("call"), step, "start"
        ):
            made[series.task, start].add(bucket, count, cut)
        return dict(made)

    def _series(self, measure: str | None) -> dict[int, Series]:
        rows = self.connection.execute(
            "SELECT id, policy, measure, tier, model FROM rollup_series "
            "WHERE (?1 IS NULL OR policy = ?1) AND (?2 IS NULL OR measure = ?2)",
            (self.task, measure),
        )
        return {id_: Series(*names) for id_, *names in rows}

    def _durations(
        self, series: Mapping[int, Series], step: int, start: str
    ) -> Iterator[tuple[Series, int, int, int, int]]:
        rows, values = self._rows(
            "rollup_durations", ("series", "start", "bucket", "durations", "cut"), step
        )
        # By number, and not joined with the names: that takes three times as long.
        for id_, *row in self.connection.execute(
            f"SELECT series, {start}, bucket, sum(durations), sum(cut) FROM ({rows}) "  # noqa: S608  (our own names)
            f"WHERE series IN ({', '.join(map(str, series))}) GROUP BY 1, 2, 3",
            values,
        ):
            yield series[id_], row[0], row[1], row[2], row[3]

    def _rows(self, table: str, columns: Sequence[str], step: int) -> tuple[str, tuple[int, ...]]:
        """Columns of the sums of this period, with the start of their step."""
        shown = [f"start - start % {step} AS start" if c == "start" else c for c in columns]
        parts = self.window.parts(step)
        one = f"SELECT {', '.join(shown)} FROM {table} WHERE span = ? AND start >= ? AND start < ?"  # noqa: S608  (our own names)
        return " UNION ALL ".join([one] * len(parts)), tuple(value for p in parts for value in p)


def task_names(connection: sqlite3.Connection) -> list[str]:
    """Every task that a ledger has had calls of."""
    rows = connection.execute("SELECT DISTINCT policy FROM rollup_calls WHERE span = ?", (EVER,))
    return [name for (name,) in rows]


def check_task(connection: sqlite3.Connection, task: str) -> None:
    """See that a ledger has had calls of a task.

    Raises:
        ConfigError: it has none; the message says what it may have been meant.
    """
    names = task_names(connection)
    found = "SELECT EXISTS (SELECT 1 FROM calls WHERE policy = ?)"  # some are in no sum yet
    if task not in names and not connection.execute(found, (task,)).fetchone()[0]:
        raise ConfigError(f"--task {task!r}: {nearest(task, names)}")
