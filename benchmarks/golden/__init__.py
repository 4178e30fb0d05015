"""The golden sets: prompts with their right answers, and whether an answer is right.

One JSONL file a policy. A row with ``reference`` null has no right answer (something is missing,
or it could be meant in two ways): whatever is accepted there is wrong. ``split`` says whether the
row was looked at while prompts and thresholds were chosen (``tuned``) or not (``held_out``).
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import msgspec

from cascade.errors import nearest

FOLDER = Path(__file__).parent
Split = Literal["tuned", "held_out"]

MAX_ROWS = 1_000
MAX_STEPS = 2_000_000  # of SQLite's virtual machine: some tenths of a second
MAX_BYTES = 1_000_000  # of one value, so that zeroblob() and the like stay small

_READS = (
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
)


class GoldenRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A prompt with its right answer.

    Attributes:
        id: unique in its file.
        split: ``tuned`` or ``held_out``.
        prompt: what is asked.
        reference: the right answer, or None where nothing should be accepted.
        accept: further values that are right too, by the reference's key.
        variables: for the policy's templates.
        data: ``INSERT`` statements for the tables of ``variables["schema"]``.
        ordered: whether the question asks for an order.
        note: why there is no right answer.
    """

    id: str
    split: Split
    prompt: str
    reference: dict[str, str] | str | None
    accept: dict[str, list[str]] = {}
    variables: dict[str, str] = {}
    data: str = ""
    ordered: bool = False
    note: str = ""


def read_golden(name: str) -> list[GoldenRow]:
    """The rows for a policy.

    Raises:
        ValueError: a row is not as `GoldenRow` says, naming file and line.
    """
    path = FOLDER / f"{name}.jsonl"
    rows: list[GoldenRow] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(msgspec.json.decode(line, type=GoldenRow))
        except msgspec.DecodeError as error:
            raise ValueError(f"{path.name}:{number}: {error}") from error
    return rows


def is_right(name: str, row: GoldenRow, text: str) -> bool:
    """Whether an answer to a row of that policy's set is right."""
    if name not in _CHECKS:
        raise ValueError(f"{name!r}: {nearest(name, _CHECKS)}")
    return row.reference is not None and _CHECKS[name](row, text)


def _same_values(row: GoldenRow, text: str) -> bool:
    assert isinstance(row.reference, dict)
    try:
        found = json.loads(text)
    except ValueError:
        return False
    if not isinstance(found, dict) or found.keys() != row.reference.keys():
        return False
    return all(
        found[key] in (value, *row.accept.get(key, ())) for key, value in row.reference.items()
    )


def _same_label(row: GoldenRow, text: str) -> bool:
    return text == row.reference


def _same_rows(row: GoldenRow, text: str) -> bool:
    assert isinstance(row.reference, str)
    try:
        found = query(row, text)
    except sqlite3.Error:
        return False
    wanted = query(row, row.reference)
    return found == wanted if row.ordered else Counter(found) == Counter(wanted)


_CHECKS: dict[str, Callable[[GoldenRow, str], bool]] = {
    "extract": _same_values,
    "classify": _same_label,
    "sql": _same_rows,
}


def query(row: GoldenRow, sql: str) -> list[tuple[Any, ...]]:
    """What a query reads from the row's tables; floating-point numbers to six places.

    It is a model's, so it runs in memory, may only read, and is bounded in steps, rows and bytes.

    Raises:
        sqlite3.Error: it does not run, does more than read, or reaches a bound.
    """
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(row.variables["schema"])
        database.executescript(row.data)
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BYTES)
        database.set_authorizer(_only_reads)
        database.set_progress_handler(lambda: 1, MAX_STEPS)
        found = database.execute(sql).fetchmany(MAX_ROWS + 1)
    if len(found) > MAX_ROWS:
        raise sqlite3.DataError(f"more than {MAX_ROWS} rows")
    return [tuple(_rounded(value) for value in values) for values in found]


def _only_reads(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
