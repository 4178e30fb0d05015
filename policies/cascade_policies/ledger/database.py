"""The ledger's database: where it is, how it is opened, and how its schema grows.

One SQLite file, shared by every process that writes to it or reads it, and by the budgets. In WAL
mode readers never wait for a writer, and a killed process leaves the last whole transaction.
"""

from __future__ import annotations

import os
import sqlite3
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

from cascade.errors import ConfigError, PolicyFileError

APPLICATION_ID: Final = 0x43415343
"""``PRAGMA application_id`` of a ledger, "CASC": another program's database is left alone."""

BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait while another process writes."""

VARIABLE: Final = "CASCADE_LEDGER"
_DEFAULT: Final = Path(".cascade", "ledger.db")
_WAL_LIMIT: Final = 64 * 2**20  # bytes the write-ahead log keeps on disk after a checkpoint
_OLDEST_SQLITE: Final = (3, 37)  # the first with STRICT tables


class Migration(NamedTuple):
    """One step of the schema, a file in ``migrations``."""

    number: int
    name: str
    sql: str


def ledger_path(given: Path | None = None) -> Path:
    """Where the ledger is.

    The path given; else ``[ledger] path`` of the project file, ``CASCADE_LEDGER``, or
    ``.cascade/ledger.db`` beside the project file or in the working directory.

    Raises:
        PolicyFileError: the project file is no TOML, or its ``[ledger] path`` is no text.
        ConfigError: ``CASCADE_CONFIG`` names no file.
    """
    if given is not None:
        return given
    from cascade_policies.project.current import find_project

    project = find_project()
    if project is not None and (path := _path_in(project)) is not None:
        return path
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    return (Path.cwd() if project is None else project.parent) / _DEFAULT


def _path_in(project: Path) -> Path | None:
    try:
        document = tomllib.loads(project.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PolicyFileError(f"cannot be read: {error}", file=str(project)) from error
    ledger = document.get("ledger")
    path = ledger.get("path") if isinstance(ledger, dict) else None
    if path is None:
        return None
    if not isinstance(path, str) or not path:
        raise PolicyFileError(
            f"needs the path of a file; got {path!r}", file=str(project), key="ledger.path"
        )
    return project.parent / Path(path).expanduser()


def connect(
    path: Path | str, *, create: bool = True, timeout: float = BUSY_TIMEOUT
) -> sqlite3.Connection:
    """Open the ledger and bring its schema up to date.

    The connection is in autocommit mode: write inside `transaction`. Any thread may use it, one at
    a time.

    Args:
        path: the file; its folder is made too.
        create: whether to make what is not there.
        timeout: seconds to wait while another process writes.

    Raises:
        ConfigError: there is none and ``create`` is False; it is no ledger, or that of a later
            version; it is locked, corrupt, or cannot be read or written.
    """
    path = Path(path)
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise ConfigError(f"the ledger needs SQLite 3.37 or later, not {sqlite3.sqlite_version}")
    try:
        if not path.exists():
            if not create:
                raise ConfigError(f"no ledger at {path}: give its path, or set {VARIABLE}")
            _create(path)
        connection = sqlite3.connect(
            path, timeout=timeout, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection, path, timeout)
            migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"cannot open the ledger {path}: {error}") from error
    return connection


def connect_to_read(path: Path | str) -> sqlite3.Connection:
    """Open a ledger that is only to be read; nothing is made that is not there.

    Where it can be written, its schema is brought up to date. Else it is read as it is, and
    `is_writable` says so: from another user's folder, a backup, a read-only file system.

    Raises:
        ConfigError: as `connect`; or it cannot be written and is of an earlier version.
    """
    path = Path(path)
    if not path.exists() or os.access(path, os.W_OK):
        try:
            return connect(path, create=False)
        except ConfigError as error:
            cause = error.__cause__
            if not isinstance(cause, sqlite3.OperationalError) or not _is_unwritable(cause):
                raise
    try:
        connection = open_read_only(path)
        try:
            _check_readable(connection, path)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"cannot read the ledger {path}: {error}") from error
    return connection


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that can write nothing; whatever the database is.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    log = path.with_name(f"{path.name}-wal")
    # SQLite makes files beside a database in WAL mode even to read it. Where it cannot, and nobody
    # has made any, nobody writes, and it needs none.
    alone = not os.access(path.parent, os.W_OK) and not (log.exists() and log.stat().st_size)
    query = "mode=ro&immutable=1" if alone else "mode=ro"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


def is_writable(connection: sqlite3.Connection) -> bool:
    """Whether a connection from `connect_to_read` can write after all."""
    return not connection.execute("PRAGMA query_only").fetchone()[0]


def _is_unwritable(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def _check_readable(connection: sqlite3.Connection, path: Path) -> None:
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    if mark != APPLICATION_ID:
        raise ConfigError(f"{path} is no ledger, or an empty one: give another path")
    steps = migrations()
    done = _known(connection, path, steps)
    if any(step.number not in done for step in steps):
        raise ConfigError(
            f"{path} was written by an earlier version, and cannot be written to bring it up to "
            "date: make it writable, or give the path of a copy"
        )


def _create(path: Path) -> None:
    """An empty file that nobody else may read: it will hold prompts. SQLite's own files follow."""
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent.name == _DEFAULT.parent.name:
            (path.parent / ".gitignore").write_text("*\n")
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _prepare(connection: sqlite3.Connection, path: Path, timeout: float) -> None:
    connection.execute("BEGIN")  # what is read below is of one moment
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    connection.execute("COMMIT")
    if mark not in (0, APPLICATION_ID) or (tables and not mark):
        raise ConfigError(f"{path} is the database of another program: give another path")
    if not tables:  # afterwards, and after the change to WAL, it would only wait for writers
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _write_ahead(connection, time.monotonic() + timeout)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")


def _write_ahead(connection: sqlite3.Connection, until: float) -> None:
    """Change to WAL; SQLite does not wait for others who change to it at the same moment."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything inside is written, or nothing. Waits for other writers first."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors, like a full disk, have ended it already
            connection.execute("ROLLBACK")
        raise


def migrations() -> list[Migration]:
    """All that are shipped, in order."""
    folder = files("cascade_policies.ledger") / "migrations"
    found = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    steps = [Migration(int(f.name[:4]), f.name, f.read_text(encoding="utf-8")) for f in found]
    return sorted(steps)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Run the migrations that have not run yet, each in a transaction of its own.

    Raises:
        ConfigError: the database has seen one that is not known here.
    """
    steps = migrations()
    done = _known(connection, path, steps)
    for step in steps:
        if step.number not in done:
            with transaction(connection):
                _run(connection, step)


def _known(connection: sqlite3.Connection, path: Path, steps: Sequence[Migration]) -> set[int]:
    """The migrations that have run, all of which have to be known here."""
    done = _done(connection)
    if unknown := done - {step.number for step in steps}:
        raise ConfigError(
            f"{path} was written by a later version (schema {max(unknown)}; "
            f"known here: up to {steps[-1].number}): upgrade cascade-engine"
        )
    return done


def _done(connection: sqlite3.Connection) -> set[int]:
    (made,) = connection.execute(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'migrations'"
    ).fetchone()
    rows = connection.execute("SELECT number FROM migrations") if made else ()
    return {number for (number,) in rows}


def _run(connection: sqlite3.Connection, step: Migration) -> None:
    if step.number in _done(connection):  # by another process, while this one waited
        return
    for statement in _statements(step.sql):
        connection.execute(statement)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations"
        " (number INTEGER PRIMARY KEY, name TEXT NOT NULL, ran REAL NOT NULL) STRICT"
    )
    connection.execute(
        "INSERT INTO migrations VALUES (?, ?, ?)", (step.number, step.name, time.time())
    )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {max(_done(connection))}")


def _statements(sql: str) -> Iterator[str]:
    # `executescript` would commit first. A trigger holds semicolons, which SQLite sees through.
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
