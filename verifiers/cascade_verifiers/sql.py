"""`Sql`: the answer is one SQL query that parses, only reads, and as asked for fits a database."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Literal

from sqlglot.dialects.dialect import Dialect

from cascade.errors import ConfigError, nearest
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.composable import Composable
from cascade_verifiers.extract import check_extract
from cascade_verifiers.sql_catalogue import Catalogue
from cascade_verifiers.sql_sandbox import Sandbox, in_worker
from cascade_verifiers.sql_text import Reader, is_short, reject
from cascade_verifiers.sql_worker import Limits, Run

MAX_CHARS = 10_000
READ_SECONDS = 5.0


class Sql(Composable):
    """Accepts an answer that is exactly one SQL query, parses in a dialect and only reads.

    A ladder, of which the rungs after that are optional: the tables and columns exist
    (``catalogue``), the database can plan it (``explain``), it runs within limits (``execute``),
    and gives a row (``not_empty``). The first rung that fails gives the verdict.

    The verdict's ``text`` is the query without fence, final semicolon and comments: comments,
    because what one database takes for a comment another one executes.

    Args:
        dialect: as sqlglot names it (``sqlite``, ``postgres``, ``duckdb``, …); None is its
            permissive mixture of them.
        extract: ``"fence"`` takes the query from the only code fence, where there is one;
            ``"strict"`` takes the whole answer.
        read_only: whether anything but a query is refused: DDL, DML, PRAGMA, ATTACH, COPY,
            locks, functions that reach files or the network. If not, any one statement passes.
        max_chars: longer answers are rejected unread.
        catalogue: the tables and columns there are, as `Catalogue.of` takes them: a dict, a
            ``.sql`` file or its text, an SQLite or DuckDB file, an open connection; True takes
            them from ``database``. Read once, when the verifier is made.
        database: the path of an SQLite or DuckDB file, for the rungs that follow.
        explain: whether the database must be able to plan the query.
        execute: whether the query is run, in a process of its own that may only read.
        not_empty: whether its result must have a row.
        timeout: seconds the database may take for one query.
        max_rows: a query that gives more rows is rejected.
        memory_mb: megabytes the query may take.

    Raises:
        ConfigError: there is no such dialect, a source cannot be read, or an argument would do
            nothing.
    """

    cost_class = "cpu"
    rewrites = "wrapping"

    def __init__(
        self,
        dialect: str | None = None,
        *,
        extract: Literal["strict", "fence"] = "fence",
        read_only: bool = True,
        max_chars: int = MAX_CHARS,
        catalogue: Any = None,
        database: str | Path | None = None,
        explain: bool = False,
        execute: bool = False,
        not_empty: bool = False,
        timeout: float | None = None,
        max_rows: int | None = None,
        memory_mb: int | None = None,
    ) -> None:
        check_extract(extract, ("strict", "fence"))
        if max_chars < 1:
            raise ConfigError(f"max_chars={max_chars!r}: needs a whole number above 0")
        check_dialect(dialect)
        if not_empty and not execute:
            raise ConfigError("not_empty=True needs execute=True")
        if (explain or execute) and not read_only:
            raise ConfigError("read_only=False: explain= and execute= take queries only")
        if catalogue is True:
            catalogue = database
            if database is None:
                raise ConfigError("catalogue=True takes the names from database=, which is missing")
        known = None if catalogue is None else Catalogue.of(catalogue, dialect)
        self._reader = Reader(dialect, extract == "fence", read_only, known)
        self._max_chars = max_chars
        self._not_empty = not_empty
        self._steps: tuple[Literal["explain", "execute"], ...] = (
            *(("explain",) if explain else ()),
            *(("execute",) if execute else ()),
        )
        self._sandbox: Sandbox | None = None
        given = {"timeout": timeout, "max_rows": max_rows, "memory_mb": memory_mb}
        limits = {name: value for name, value in given.items() if value is not None}
        if self._steps:
            if database is None:
                raise ConfigError(f"{self._steps[0]}=True needs database=")
            self._sandbox = Sandbox(database, **limits)  # type: ignore[arg-type]  # by name
            if dialect != self._sandbox.kind:
                raise ConfigError(f"dialect={dialect!r}: the database is {self._sandbox.kind}")
        elif limits or (database is not None and catalogue is not database):
            unused = next(iter(limits), "database")
            raise ConfigError(f"{unused}= does nothing without explain=True or execute=True")

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict; awaitable where the query is long or is put to a database."""
        text = answer.text
        if len(text) > self._max_chars:
            reason = f"the answer is longer than {self._max_chars:,} characters"
            return reject(reason, "too_long")
        if not is_short(text):
            return self._verify_long(text)
        query = self._reader.read(text)
        if isinstance(query, Verdict):
            return query
        return self._accept(text, query.text) if self._sandbox is None else self._put(
            self._sandbox, text, query.text
        )  # fmt: skip

    async def _verify_long(self, text: str) -> Verdict:
        query = await read_long(self._reader, text)
        if isinstance(query, Verdict):
            return query
        if self._sandbox is None:
            return self._accept(text, query)
        return await self._put(self._sandbox, text, query)

    async def _put(self, sandbox: Sandbox, text: str, query: str) -> Verdict:
        run = await sandbox.run(query, self._steps)
        if run.status != "done":
            return failure(run, sandbox.limits)
        if self._not_empty and not run.rows:
            reason = "the query runs and gives no rows; check its conditions and joins"
            return reject(reason, "empty_result")
        return self._accept(text, query)

    def _accept(self, text: str, query: str) -> Verdict:
        return Verdict.accept(text=None if query == text else query)

    def __repr__(self) -> str:
        return f"Sql({self._reader.dialect or ''})"


def check_dialect(dialect: str | None) -> None:
    """Refuse a dialect that sqlglot does not have.

    Raises:
        ConfigError: with the nearest right one.
    """
    known = [name for name in Dialect.classes if name]
    if dialect is not None and dialect not in known:
        raise ConfigError(f"dialect={dialect!r}: {nearest(str(dialect), known)}")


async def read_long(reader: Reader, text: str) -> str | Verdict:
    """What `Reader.judge` says, from a worker process."""
    try:
        return await in_worker(READ_SECONDS, reader.judge, text)
    except TimeoutError:
        return reject("the SQL takes too long to parse", "parse")


def failure(run: Run, limits: Limits) -> Verdict:
    """The rejection of a query that the database refused or did not finish."""
    match run.status:
        case "timeout":
            reason = f"the query takes longer than {limits.timeout:g} seconds"
            return reject(reason, "timeout")
        case "memory":
            reason = f"the query takes more than {limits.memory_mb} MB of memory"
            return reject(reason, "memory")
        case "too_many_rows":
            return reject(f"the query gives more than {limits.max_rows:,} rows", "too_many_rows")
        case "refused":
            return reject(f"the database refuses the query: {run.message}", "explain")
        case _:
            return reject(f"the query fails: {run.message}", "execute")
