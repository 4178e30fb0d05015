"""The ledger as JSON lines or as a Parquet file, a row a call with its attempts inside."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from itertools import groupby, islice
from operator import itemgetter
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec

from cascade.errors import MissingExtraError
from cascade_policies.ledger.rows import ATTEMPT_COLUMNS, CALL_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

_CALL: Final = ", ".join(f"calls.{name}" for name in ("id", *CALL_COLUMNS))
_ATTEMPT: Final = ", ".join(f"attempts.{name}" for name in ("call", *ATTEMPT_COLUMNS))
_GROUP: Final = 5_000  # calls in a row group of Parquet


def read_calls(
    connection: sqlite3.Connection, *, since: float | None = None, policy: str | None = None
) -> Generator[dict[str, Any], None, None]:
    """Calls in the order they were written, one at a time, as at the first one that is read.

    Each has the columns of ``calls`` and, as ``attempts``, a list with those of ``attempts``;
    their number is ``attempts_made``. The ids of rows are left out.

    Args:
        since: Unix seconds; calls that began before are left out.
        policy: only the calls of this policy, or task.

    Raises:
        sqlite3.Error: the database cannot be read.
    """
    where = "(?1 IS NULL OR calls.began >= ?1) AND (?2 IS NULL OR calls.policy = ?2)"
    values = (since, policy)
    connection.execute("BEGIN")  # both cursors see the same
    try:
        calls = connection.execute(
            f"SELECT {_CALL} FROM calls WHERE {where} ORDER BY calls.id",  # noqa: S608
            values,
        )
        attempts = connection.execute(
            f"SELECT {_ATTEMPT} FROM calls"  # noqa: S608  (names of our own)
            f" JOIN attempts ON attempts.call = calls.id WHERE {where}"
            " ORDER BY calls.id, attempts.id",
            values,
        )
        groups = groupby(attempts, key=itemgetter(0))
        group = next(groups, None)
        for id_, *row in calls:
            call = dict(zip(CALL_COLUMNS, row, strict=True))
            call["attempts_made"] = call.pop("attempts")
            call["attempts"] = []
            if group is not None and group[0] == id_:
                call["attempts"] = [_attempt(one) for one in group[1]]
                group = next(groups, None)
            yield call
    finally:
        connection.execute("COMMIT")


def _attempt(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(ATTEMPT_COLUMNS, row[1:], strict=True))


def write_jsonl(calls: Iterator[dict[str, Any]], file: IO[bytes]) -> int:
    """One object a line, hashes in hexadecimal; how many were written.

    Raises:
        OSError: the file cannot be written.
    """
    encode = msgspec.json.Encoder().encode
    count = 0
    for call in calls:
        for row in (call, *call["attempts"]):
            for name in ("prompt_hash", "answer_hash"):
                if row.get(name) is not None:
                    row[name] = row[name].hex()
        file.write(encode(call) + b"\n")
        count += 1
    return count


def write_parquet(calls: Iterator[dict[str, Any]], file: IO[bytes]) -> int:
    """One row a call, ``attempts`` a list of structs, ``began`` a timestamp in UTC; how many.

    Raises:
        MissingExtraError: pyarrow is not installed.
        OSError: the file cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("exporting to Parquet", extra="parquet") from error
    schema = _schema()
    count = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while rows := list(islice(calls, _GROUP)):
            for row in rows:
                row["began"] = round(row["began"] * 1e6)
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


_INTEGERS: Final = {
    "escalations", "tiers_tried", "attempts_made", "prompt_chars", "answer_chars", "number",
    "member", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens",
}  # fmt: skip
_FLOATS: Final = {
    "latency_s", "cost_low", "cost_high", "waste_low", "waste_high", "route_s", "route_cost_low",
    "route_cost_high", "score", "started_s", "waited_s", "time_to_first_token_s", "check_s",
}  # fmt: skip


def _schema() -> pa.Schema:
    import pyarrow as pa

    def field(name: str) -> pa.Field[Any]:
        if name == "began":
            return pa.field(name, pa.timestamp("us", tz="UTC"))
        if name in _INTEGERS:
            return pa.field(name, pa.int64())
        if name in _FLOATS:
            return pa.field(name, pa.float64())
        return pa.field(name, pa.binary() if name.endswith("_hash") else pa.string())

    attempt = pa.struct([field(name) for name in ATTEMPT_COLUMNS])
    calls = [field(name) for name in CALL_COLUMNS if name != "attempts"]
    return pa.schema([*calls, field("attempts_made"), pa.field("attempts", pa.list_(attempt))])
