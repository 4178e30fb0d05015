"""What is too old or too much is deleted, oldest first, and the file becomes smaller."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cascade.records import CallRecord
from cascade_policies.ledger.database import connect
from cascade_policies.ledger.insert import write_calls
from cascade_policies.ledger.prune import CHUNK, prune
from cascade_policies.ledger.rows import Recorder

if TYPE_CHECKING:
    from tests.policies.ledger.conftest import MakeCall

NOW = 1_800_000_000.0
DAY = 86_400.0


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(path)) as connection:
        yield connection


def fill(connection: sqlite3.Connection, records: Sequence[CallRecord]) -> None:
    assert write_calls(connection, Recorder(), records) == len(records)


def ids(connection: sqlite3.Connection) -> list[int]:
    return [id_ for (id_,) in connection.execute("SELECT id FROM calls ORDER BY id")]


def test_the_old_go_with_their_attempts(
    connection: sqlite3.Connection, make_call: MakeCall
) -> None:
    ages = [4, 3, 2.001, 2, 1]
    fill(connection, [make_call(4, began=NOW - age * DAY) for age in ages])
    assert prune(connection, max_age_days=2, now=NOW) == 3
    assert ids(connection) == [4, 5]
    left = connection.execute("SELECT DISTINCT call FROM attempts ORDER BY call").fetchall()
    assert left == [(4,), (5,)]
    assert prune(connection, max_age_days=2, now=NOW) == 0


def test_one_behind_a_younger_one_waits_for_it(
    connection: sqlite3.Connection, make_call: MakeCall
) -> None:
    fill(connection, [make_call(1, began=NOW - age * DAY) for age in (3, 1, 3)])
    assert prune(connection, max_age_days=2, now=NOW) == 1
    assert ids(connection) == [2, 3]
    assert prune(connection, max_age_days=2, now=NOW + 2 * DAY) == 2


def test_many_go_in_several_transactions(
    connection: sqlite3.Connection, make_call: MakeCall
) -> None:
    fill(connection, [make_call(1, began=NOW - 3 * DAY) for _ in range(2 * CHUNK + 1)])
    assert prune(connection, max_age_days=2, now=NOW, at_most=1) == CHUNK
    assert prune(connection, max_age_days=2, now=NOW) == CHUNK + 1
    assert ids(connection) == []


@pytest.mark.parametrize("at_most", [None, 1])
def test_by_size_the_oldest_go_until_it_is_small_enough(
    path: Path, connection: sqlite3.Connection, make_call: MakeCall, at_most: int | None
) -> None:
    fill(connection, [make_call(n, f"{n} " * 2000, began=NOW + n) for n in range(1000)])
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before, limit = path.stat().st_size, 1_000_000
    deleted = prune(connection, max_bytes=limit, at_most=at_most, now=NOW)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert ids(connection) == list(range(deleted + 1, 1001))
    if at_most is None:
        assert 0.8 * limit < path.stat().st_size <= limit
    else:
        assert limit < path.stat().st_size < before


def test_without_a_limit_or_without_calls_nothing_happens(
    connection: sqlite3.Connection, make_call: MakeCall
) -> None:
    assert prune(connection, max_age_days=1, max_bytes=1) == 0
    fill(connection, [make_call(1, began=0.0)])
    assert prune(connection) == 0
    assert ids(connection) == [1]


def test_the_sums_of_the_hours_lose_what_is_deleted(
    connection: sqlite3.Connection, make_call: MakeCall
) -> None:
    fill(connection, [make_call(1, began=NOW - age * DAY) for age in (3, 3, 1)])
    prune(connection, max_age_days=2, now=NOW)
    sums = connection.execute("SELECT sum(calls) FROM rollup_calls WHERE span = 3600").fetchone()
    assert sums == (1,)


def test_others_may_write_afterwards(connection: sqlite3.Connection, make_call: MakeCall) -> None:
    fill(connection, [make_call(1, began=0.0) for _ in range(3)])
    prune(connection, max_age_days=2, now=NOW)
    fill(connection, [make_call(4), make_call(1)])
    assert connection.execute("SELECT sum(attempts) FROM calls").fetchone() == (3,)
    assert connection.execute("SELECT count(*) FROM attempts").fetchone() == (3,)
