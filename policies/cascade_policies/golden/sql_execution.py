"""`SqlExecution`: the answer's query gives what the reference query gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import anyio
from sqlglot import exp

from cascade.errors import ConfigError
from cascade.types import Answer
from cascade.verdict import Verdict
from cascade_policies.golden.golden_set import GoldenRow
from cascade_policies.golden.scorer import RIGHT, Score, ScorerError, unscorable, wrong
from cascade_verifiers.sql import MAX_CHARS, READ_SECONDS, read_long
from cascade_verifiers.sql_results import Columns, same_pickled, same_result
from cascade_verifiers.sql_sandbox import Sandbox, in_worker
from cascade_verifiers.sql_text import Query, Reader
from cascade_verifiers.sql_worker import Run

_SUFFIXES: Final = ("", ".sqlite", ".db", ".duckdb")


class SqlExecution:
    """1 when the answer's query and the reference query give the same rows (execution accuracy).

    Each query is seen to only read and then run on the database, which is opened read-only, in a
    worker process with bounds of time, memory and rows; see `cascade_verifiers.sql_sandbox`.

    Args:
        database: the path of an SQLite or DuckDB file, the same for all rows.
        databases: a folder of such files instead; a row says which in its metadata.
        key: under which key of the metadata; its value is the file's name, or that without its
            ending, or that of a folder with the file of the same name in it.
        ordered: whether the order of rows counts; by default where the reference has an ORDER BY.
        columns: ``"given"``, or ``"any"`` order of columns that makes the results the same.
        tolerance: relative difference that numbers may have.
        timeout: seconds a query may take.
        max_rows: rows it may give.
        memory_mb: megabytes it may take.
    """

    def __init__(
        self,
        database: str | None = None,
        *,
        databases: str | None = None,
        key: str = "database",
        ordered: bool | None = None,
        columns: Columns = "given",
        tolerance: float = 1e-6,
        timeout: float = 5.0,
        max_rows: int = 10_000,
        memory_mb: int = 256,
    ) -> None:
        if (database is None) == (databases is None):
            raise ScorerError("database: give this, the path of a file, or databases, a folder")
        same_result((), (), tolerance=tolerance, columns=columns)  # refuses wrong ones
        self._limits: dict[str, Any] = {
            "timeout": timeout,
            "max_rows": max_rows,
            "memory_mb": memory_mb,
        }
        self.database = database
        self.databases = databases
        self.key = key
        self.ordered = ordered
        self._how: tuple[float, Columns] = (tolerance, columns)
        self._sandboxes: dict[Path, Sandbox] = {}
        self._known: dict[tuple[Path, str], Run] = {}
        if database is not None:
            self._sandbox(Path(database))
        elif not Path(str(databases)).is_dir():
            raise ScorerError(f"databases={databases!r}: no such folder")

    async def score(self, row: GoldenRow, answer: Answer, /) -> Score:
        """1 or 0; no score where the reference query or the database is at fault."""
        try:
            sandbox = self._sandbox(self._path(row))
        except ConfigError as error:
            return unscorable(error.message)
        if not isinstance(row.reference, str):
            return unscorable("the reference is no SQL query")
        reader = Reader(sandbox.kind)
        right = await _query(reader, row.reference)
        if isinstance(right, Verdict):
            return unscorable(f"the reference: {right.reason}")
        try:
            expected = await self._expected(sandbox, right)
        except (RuntimeError, anyio.BrokenWorkerProcess) as error:
            return unscorable(f"the reference: {error}")
        if expected.status != "done":
            return unscorable(f"the reference: {expected.message or expected.status}")
        if len(answer.text) > MAX_CHARS:
            return wrong("the answer is too long")
        given = await _query(reader, answer.text)
        if isinstance(given, Verdict):
            return wrong(given.reason)
        return await self._compare(
            sandbox, given, expected, self._is_ordered(row.reference, reader)
        )

    async def _compare(self, sandbox: Sandbox, given: str, expected: Run, ordered: bool) -> Score:
        try:
            found = await sandbox.run(given, keep=True)
        except (RuntimeError, anyio.BrokenWorkerProcess) as error:
            return wrong(f"the query: {error}")
        if found.status != "done":
            return wrong(f"the query: {found.message or found.status}")
        tolerance, columns = self._how
        arguments = (expected.result, found.result, ordered, tolerance, columns)
        try:
            same = await in_worker(READ_SECONDS, same_pickled, *arguments)
        except TimeoutError:
            return wrong("the results take too long to compare")
        return RIGHT if same else wrong(f"{found.rows} rows, and not those of the reference")

    async def _expected(self, sandbox: Sandbox, query: str) -> Run:
        key = (sandbox.path, query)
        if key not in self._known:
            self._known[key] = await sandbox.run(query, keep=True)
        return self._known[key]

    def _path(self, row: GoldenRow) -> Path:
        if self.database is not None:
            return Path(self.database)
        name = row.metadata.get(self.key)
        if not isinstance(name, str) or not name or name != Path(name).name or "\0" in name:
            raise ScorerError(f"metadata.{self.key}: needs the name of a database")
        folder = Path(str(self.databases))
        for place in (folder, folder / name):
            for suffix in _SUFFIXES:
                if (path := place / f"{name}{suffix}").is_file():
                    return path
        raise ScorerError(f"no database {name!r} in {str(folder)!r}")

    def _sandbox(self, path: Path) -> Sandbox:
        if path not in self._sandboxes:
            self._sandboxes[path] = Sandbox(path, **self._limits)
        return self._sandboxes[path]

    def _is_ordered(self, reference: str, reader: Reader) -> bool:
        if self.ordered is not None:
            return self.ordered
        read = reader.read(reference)  # ours, and short
        return isinstance(read, Query) and isinstance(read.tree.args.get("order"), exp.Order)


async def _query(reader: Reader, text: str) -> str | Verdict:
    """The query that a text is, or why it is none; parsed where it can be killed."""
    return await read_long(reader, text)
