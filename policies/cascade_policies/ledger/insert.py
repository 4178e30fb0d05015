"""Calls into the database, many at a time.

The thread that writes shares the interpreter lock with the event loop. SQLite gives it up and
takes it back for every statement, and under a busy loop each time costs up to 5 ms, so one
statement carries many rows; `executemany` would run one a row. Making the rows is Python, which
would keep the lock from the loop for 5 ms at a time, so the thread can pause now and then.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from functools import cache
from typing import Final

from cascade import logs
from cascade.records import CallRecord
from cascade_policies.ledger.database import transaction
from cascade_policies.ledger.rows import ATTEMPT_COLUMNS, CALL_COLUMNS, Recorder, Row, Rows
from cascade_policies.report import rollups

_SLICE: Final = 16  # calls made into rows in one go, which takes some 0.3 ms
_BREATH: Final = 1e-5  # seconds; with 0 a loop that waits for the interpreter would not get it
_COUNTS: Final = (256, 32, 4, 1)  # rows a statement; SQLite takes 32,766 values in one


def write_calls(
    connection: sqlite3.Connection,
    recorder: Recorder,
    records: Sequence[CallRecord],
    *,
    breathe: bool = False,
) -> int:
    """Write the calls with their attempts and say how many are in the database now.

    One that can never be written is logged and left out; the others are written all the same.
    With ``breathe`` the event loop is let in now and then.

    Raises:
        sqlite3.Error, OSError: the database cannot be used now.
    """
    try:
        rows = _rows(recorder, records, breathe)
        with transaction(connection):
            _insert_calls(connection, rows)
    except Exception as error:
        if not _is_for_good(error):
            raise
        if len(records) > 1:
            half = len(records) // 2
            first = write_calls(connection, recorder, records[:half])
            return first + write_calls(connection, recorder, records[half:])
        if "UNIQUE constraint failed: calls.call_id" in str(error):
            return 1  # it is there: a commit that was said to have failed had not
        logs.warn("cascade.call_unwritable", call_id=records[0].id, error=str(error))
        return 0
    return len(records)


def _is_for_good(error: Exception) -> bool:
    """Whether it is the record's fault, and not the database's, which may be well again later."""
    if isinstance(error, sqlite3.OperationalError | OSError):
        return False
    return type(error) is not sqlite3.DatabaseError  # corrupt, or no database at all


def _rows(recorder: Recorder, records: Sequence[CallRecord], breathe: bool) -> list[Rows]:
    rows = []
    for number, record in enumerate(records, 1):
        rows.append(recorder.rows(record))
        if breathe and number % _SLICE == 0:
            time.sleep(_BREATH)
    return rows


def _insert_calls(connection: sqlite3.Connection, rows: Sequence[Rows]) -> None:
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()
    calls: list[Row] = []
    attempts: list[Row] = []
    for id_, (call, its) in enumerate(rows, last + 1):
        calls.append((id_, *call))
        attempts += [(id_, *attempt) for attempt in its]
    _insert(connection, "calls", ("id", *CALL_COLUMNS), calls)
    _insert(connection, "attempts", ("call", *ATTEMPT_COLUMNS), attempts)
    rollups.add(connection, last + 1, last + len(rows))


def _insert(
    connection: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: Sequence[Row]
) -> None:
    done = 0
    for count in _COUNTS:
        while len(rows) - done >= count:
            values = [value for row in rows[done : done + count] for value in row]
            connection.execute(_statement(table, columns, count), values)
            done += count


@cache
def _statement(table: str, columns: tuple[str, ...], count: int) -> str:
    row = f"({', '.join('?' * len(columns))})"
    names, rows = ", ".join(columns), ", ".join([row] * count)
    return f"INSERT INTO {table} ({names}) VALUES {rows}"  # noqa: S608  (our own names)
