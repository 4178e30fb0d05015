"""The sums are those of the rows, whatever was added, taken out or written by others."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.ledger_data import fill
from cascade_policies.ledger.database import connect, transaction
from cascade_policies.ledger.prune import prune
from cascade_policies.report import rollups
from cascade_policies.report.buckets import bucket
from cascade_policies.report.rollups import DAY, EVER, HOUR
from tests.policies.report.conftest import NOW


def sums(connection: sqlite3.Connection, *, ever: bool = True) -> dict[str, list[Any]]:
    """All that is kept; numbers rounded, as floats that are added in another order differ."""
    found = {}
    for table in rollups.TABLES:
        rows = connection.execute(
            f"SELECT * FROM {table} WHERE span <= ?", (EVER if ever else DAY,)
        )
        found[table] = sorted(
            tuple(round(value, 6) + 0.0 if isinstance(value, float) else value for value in row)
            for row in rows
        )
    return found


def rebuilt(connection: sqlite3.Connection, *, ever: bool = True) -> dict[str, list[Any]]:
    with transaction(connection):
        rollups.rebuild(connection)
    return sums(connection, ever=ever)


def test_calls_counted_as_they_come_and_all_at_once_are_the_same(
    connection: sqlite3.Connection,
) -> None:
    before = sums(connection)
    assert all(before.values())
    assert rebuilt(connection) == before


def test_every_span_has_the_same_calls(connection: sqlite3.Connection) -> None:
    (calls,) = connection.execute("SELECT count(*) FROM calls").fetchone()
    for span in (HOUR, DAY, EVER):
        rows = connection.execute("SELECT start, calls FROM rollup_calls WHERE span = ?", (span,))
        counted = Counter[int]()
        for start, count in rows:
            assert start % span == 0
            counted[start] += count
        assert counted.total() == calls
        began = Counter(
            int(at) // span * span for (at,) in connection.execute("SELECT began FROM calls")
        )
        assert counted == began


@settings(max_examples=10)
@given(
    steps=st.lists(st.sampled_from(["fill", "prune", "behind"]), min_size=1, max_size=5),
    seed=st.integers(0, 99),
)
def test_sums_stay_those_of_the_rows(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], seed: int
) -> None:
    connection = connect(tmp_path_factory.mktemp("l") / "ledger.db")
    now = NOW
    for number, step in enumerate(["fill", *steps]):
        if step == "prune":
            prune(connection, max_age_days=0.5, now=now)
        else:
            now += DAY
            fill(connection, 300, until=now, days=1.0, seed=seed + number, count=step == "fill")
        if step == "behind":
            assert rollups.is_behind(connection)
            with transaction(connection):
                rollups.catch_up(connection)
        assert not rollups.is_behind(connection)
    kept = sums(connection, ever=False)
    assert rebuilt(connection, ever=False) == kept
    connection.close()


def test_what_was_deleted_stays_in_the_sums_since_the_beginning(
    connection: sqlite3.Connection,
) -> None:
    everything = "SELECT sum(calls) FROM rollup_calls WHERE span = ?"
    (before,) = connection.execute(everything, (EVER,)).fetchone()
    deleted = prune(connection, max_age_days=7.0, now=NOW)
    assert 0 < deleted < before
    assert connection.execute(everything, (EVER,)).fetchone() == (before,)
    assert connection.execute(everything, (DAY,)).fetchone() == (before - deleted,)


def test_all_calls_deleted_leave_no_hours(connection: sqlite3.Connection) -> None:
    prune(connection, max_age_days=0.0, now=NOW + DAY)
    assert not any(sums(connection, ever=False).values())


def test_buckets_in_sql_are_those_in_python(tmp_path: Path) -> None:
    connection = connect(tmp_path / "ledger.db")
    edges = dict(connection.execute("SELECT bucket, seconds FROM rollup_edges"))
    for index, seconds in edges.items():
        # Just below and above the edge: rounding may differ in the edge itself.
        assert bucket(seconds * (1 - 1e-9)) == index
        assert bucket(seconds * (1 + 1e-9)) == min(index + 1, max(edges))
    connection.close()


def test_an_error_is_told_by_its_class_alone(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        connection.execute(
            "UPDATE attempts SET error = 'RateLimitError: key sk-secret is over its limit' "
            "WHERE outcome = 'failed'"
        )
    rebuilt(connection)
    codes = "SELECT DISTINCT code FROM rollup_attempts WHERE outcome = 'failed'"
    assert connection.execute(codes).fetchall() == [("RateLimitError",)]


def test_an_abstention_is_no_rejection(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        connection.execute(
            "UPDATE attempts SET reason = 'abstained: it crashed', code = 'check.crash' "
            "WHERE outcome = 'rejected' AND tier = 'medium'"
        )
    rebuilt(connection)
    rows = connection.execute(
        "SELECT DISTINCT ending, code FROM rollup_tiers "
        "WHERE tier = 'medium' AND escalated > 0 AND ending <> 'failed'"
    )
    assert rows.fetchall() == [("abstained", "check.crash")]
