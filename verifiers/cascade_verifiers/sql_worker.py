"""Running one query against a database file, read-only and within limits: in a worker process.

What stands between a hostile query and the machine, outermost first: the process is killed from
outside (`sql_sandbox`); it may not write files or take more address space than it is given; the
database is opened read-only with a handler that refuses everything but reading; and the engine's
own limits end it in an orderly way, so that the process can be used again.
"""

from __future__ import annotations

import contextlib
import pickle
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

Status = Literal["done", "refused", "failed", "timeout", "memory", "too_many_rows"]

# SQLite's built-in functions, without load_extension, fts3_tokenizer and what tells of the build.
_FUNCTIONS = frozenset(
    """
    -> ->> abs acos acosh asin asinh atan atan2 atanh avg bm25 ceil ceiling changes char
    coalesce concat concat_ws cos cosh count cume_dist current_date current_time
    current_timestamp date datetime degrees dense_rank exp first_value floor format glob
    group_concat hex highlight ifnull if iif instr json json_array json_array_length
    json_error_position json_extract json_group_array json_group_object json_insert json_object
    json_patch json_pretty json_quote json_remove json_replace json_set json_type json_valid
    jsonb jsonb_array jsonb_extract jsonb_group_array jsonb_group_object jsonb_insert
    jsonb_object jsonb_patch jsonb_remove jsonb_replace jsonb_set julianday lag last_value lead
    length like likelihood likely ln log log10 log2 lower ltrim match matchinfo max median min
    mod nth_value ntile nullif octet_length offsets percent_rank percentile percentile_cont
    percentile_disc pi pow power printf quote radians random randomblob rank replace round
    row_number rtrim sign sin sinh snippet soundex sqlite_version sqrt strftime string_agg
    substr substring subtype sum tan tanh time timediff total trim trunc typeof unhex unicode
    unistr unistr_quote unixepoch unlikely upper zeroblob
    """.split()  # noqa: SIM905  # a list of 140 strings would take 140 lines
)
_ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
_BROKEN = ("unable to open", "not a database", "malformed", "locked", "disk I/O error")
_OPERATIONS = 1000
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may take.

    Attributes:
        timeout: seconds.
        max_rows: rows of the result.
        memory_mb: megabytes on top of what the empty process has.
    """

    timeout: float = 5.0
    max_rows: int = 10_000
    memory_mb: int = 256


@dataclass(frozen=True, slots=True)
class Run:
    """How a query went.

    Attributes:
        status: ``done``; ``refused`` by the database before it ran; ``failed`` while running; or
            the limit it went over.
        message: the database's own words when refused or failed.
        rows: how many rows it gave.
        result: the rows, pickled, where they were asked for.
    """

    status: Status
    message: str = ""
    rows: int = 0
    result: bytes = b""


def ready(modules: Sequence[str]) -> None:
    """Import what will be needed, so that a query's time does not pay for it."""
    for module in modules:
        import_module(module)


def run_query(
    kind: Literal["sqlite", "duckdb"],
    path: str,
    sql: str,
    limits: Limits,
    steps: Sequence[Literal["explain", "execute"]],
    keep: bool,
) -> Run:
    """Explain and execute ``sql``; ``keep`` sends the rows back.

    Raises:
        RuntimeError: the database itself cannot be read, which is not the query's fault.
    """
    run = _sqlite if kind == "sqlite" else _duckdb
    if kind == "duckdb":
        import_module("duckdb")
    # DuckDB keeps to its own limit, and takes address space for threads that it never fills.
    with _fenced(limits.memory_mb + (0 if kind == "sqlite" else 4096)):
        try:
            return run(path, sql, limits, steps, keep)
        except MemoryError:
            return Run("memory")


@contextmanager
def _fenced(megabytes: int) -> Iterator[None]:
    """No files written, and only so much more memory. Undone after: the process is shared."""
    if sys.platform == "win32":
        yield
        return
    import resource

    before = [(kind, resource.getrlimit(kind)) for kind in (resource.RLIMIT_FSIZE,
                                                            resource.RLIMIT_AS)]  # fmt: skip
    allowed = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_AS: _address_space() + megabytes * 2**20}
    try:
        for kind, (_, hard) in before:
            wanted = allowed[kind]
            # macOS knows the limit on address space and refuses to set it.
            with contextlib.suppress(ValueError, OSError):
                capped = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
                resource.setrlimit(kind, (capped, hard))
        yield
    finally:
        for kind, limit in before:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(kind, limit)


def _address_space() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return 2**30
    import resource

    return pages * resource.getpagesize()


def _sqlite(
    path: str, sql: str, limits: Limits, steps: Sequence[str], keep: bool
) -> Run:  # fmt: skip
    deadline = time.monotonic() + limits.timeout
    with closing(_open_sqlite(Path(path), limits)) as connection:
        connection.set_authorizer(_authorize)
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _OPERATIONS)
        running = False
        try:
            if "explain" in steps:
                connection.execute(f"EXPLAIN {sql}").fetchone()
            if "execute" not in steps:
                return Run("done")
            running = True
            cursor = connection.execute(sql)
            return _fetched(cursor.fetchmany, limits, keep)
        except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError) as error:
            message = str(error)
            if message == "interrupted":
                return Run("timeout")
            if "too big" in message or "out of memory" in message:
                return Run("memory", message)
            if any(word in message for word in _BROKEN):
                raise RuntimeError(f"the database cannot be read: {message}") from error
            return Run("failed" if running else "refused", message)


def _open_sqlite(path: Path, limits: Limits) -> sqlite3.Connection:
    # With a journal beside it the file alone is not the database, and must not be called so.
    journals = (path.with_name(f"{path.name}-{kind}") for kind in ("wal", "journal"))
    alone = not any(journal.exists() and journal.stat().st_size for journal in journals)
    uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=0)
    try:
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(limits.memory_mb * 2**20 // 8, 10**6))
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000)
        for pragma in ("query_only = 1", "temp_store = MEMORY", "trusted_schema = 0"):
            connection.execute(f"PRAGMA {pragma}")
        # A virtual table is connected on first use by statements the authorizer would refuse.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')").fetchall()
        virtual = "SELECT name FROM sqlite_master WHERE sql LIKE 'create virtual%'"
        for (name,) in connection.execute(virtual).fetchall():
            quoted = name.replace('"', '""')
            with contextlib.suppress(sqlite3.Error):
                connection.execute(f'SELECT 1 FROM "{quoted}" LIMIT 0')  # noqa: S608  # quoted
    except sqlite3.Error as error:
        connection.close()
        raise RuntimeError(f"the database cannot be read: {error}") from error
    return connection


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    if action in _ALLOWED:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and (first, second) == ("data_version", None):
        return sqlite3.SQLITE_OK  # full-text tables ask for it, inside
    return sqlite3.SQLITE_DENY


def _duckdb(path: str, sql: str, limits: Limits, steps: Sequence[str], keep: bool) -> Run:
    duckdb: Any = import_module("duckdb")
    config = {
        "enable_external_access": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "memory_limit": f"{limits.memory_mb}MB",
        "temp_directory": "",
        "threads": "1",
        "lock_configuration": "true",
    }
    try:
        connection = duckdb.connect(path, read_only=True, config=config)
    except duckdb.Error as error:
        raise RuntimeError(f"the database cannot be read: {error}") from error
    timer = threading.Timer(limits.timeout, connection.interrupt)
    running = False
    with closing(connection):
        timer.start()
        try:
            statements = connection.extract_statements(sql)
            if [s.type for s in statements] != [duckdb.StatementType.SELECT]:
                return Run("refused", "it is not one SELECT")
            if "explain" in steps:
                connection.execute(f"EXPLAIN {sql}").fetchone()
            if "execute" not in steps:
                return Run("done")
            running = True
            return _fetched(connection.execute(sql).fetchmany, limits, keep)
        except duckdb.InterruptException:
            return Run("timeout")
        except duckdb.OutOfMemoryException as error:
            return Run("memory", str(error))
        except duckdb.Error as error:
            # A query can be told by its binding: DuckDB plans before it runs.
            planned = isinstance(error, duckdb.BinderException | duckdb.CatalogException)
            return Run("failed" if running and not planned else "refused", str(error))
        finally:
            timer.cancel()
            timer.join()


def _fetched(fetchmany: Callable[[int], list[Any]], limits: Limits, keep: bool) -> Run:
    count = size = 0
    kept: list[tuple[Any, ...]] = []
    while rows := fetchmany(_BATCH):
        count += len(rows)
        if count > limits.max_rows:
            return Run("too_many_rows", rows=count)
        if keep:
            size += sum(len(cell) for row in rows for cell in row if isinstance(cell, str | bytes))
            if size > limits.memory_mb * 2**20 // 8:
                return Run("memory", "the result is too large")
            kept.extend(rows)
    return Run("done", rows=count, result=pickle.dumps(kept, 5) if keep else b"")
