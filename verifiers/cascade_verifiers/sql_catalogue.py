"""The tables and columns of a database: from DDL, a live database or a dict."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from cascade.errors import ConfigError

_Read = dict[tuple[str, str], list[str] | None]

_COLUMNS = """
SELECT table_schema, table_name, column_name FROM information_schema.columns
WHERE table_schema NOT IN ('information_schema', 'pg_catalog')
ORDER BY table_schema, table_name, ordinal_position
"""
_CREATES = re.compile(r"^\s*(?:CREATE|ALTER)\b", re.IGNORECASE | re.MULTILINE)
_IS_DDL = re.compile(r"\bCREATE\b.*\b(?:TABLE|VIEW)\b", re.IGNORECASE | re.DOTALL)
# What pg_dump writes between its statements: data, which no SQL parser can read.
_COPIED = re.compile(r"^COPY [^\n]* FROM stdin;\n.*?^\\\.$", re.MULTILINE | re.DOTALL)
_VIRTUAL = re.compile(r"CREATE\s+VIRTUAL\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?[\"`\[]?(\w+)", re.I)


@dataclass(frozen=True, slots=True)
class Table:
    """A table, view or subquery: its columns by their lower-case names.

    Attributes:
        name: as written in the catalogue; empty for a subquery.
        columns: lower-case name → name as written; None where they are not known, so that any
            name passes.
        unnamed: whether there are outputs without a name besides.
    """

    name: str
    columns: Mapping[str, str] | None
    unnamed: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What tables and columns there are. Names count without letter case, as in most databases.

    Made by `Catalogue.of`; build it once, as a live database is read when it is made.
    """

    tables: Mapping[str, Table] = field(default_factory=dict)
    schemas: Mapping[str, Mapping[str, Table]] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Any, dialect: str | None = None) -> Catalogue:
        """From what there is:

        - a dict of table → columns (a list, or a dict of column → type; None: any column);
          a table may be written ``schema.table``
        - the path of a ``.sql`` file, or its text: CREATE TABLE, CREATE VIEW and ALTER TABLE … ADD
          are read, in ``dialect``, and everything else is passed over
        - the path of an SQLite or DuckDB file
        - an open connection: ``sqlite3``, DuckDB, or any DB-API connection to a database that has
          ``information_schema`` (PostgreSQL)

        Raises:
            ConfigError: it is none of these, cannot be read, or has no table.
        """
        if isinstance(source, Catalogue):
            return source
        if isinstance(source, Mapping):
            found = cls.build(
                (*_split(str(name)), _names(name, value)) for name, value in source.items()
            )
        elif isinstance(source, sqlite3.Connection):
            found = cls.build(_sqlite_tables(source))
        elif isinstance(source, str) and _IS_DDL.search(source):
            found = _from_ddl(source, dialect)
        elif isinstance(source, str | Path):
            found = _from_file(Path(source), dialect)
        elif callable(getattr(source, "cursor", None)):
            found = cls.build(_information_schema(source))
        else:
            raise ConfigError(
                f"catalogue: a dict, DDL, a path or a connection; got {type(source).__name__}"
            )
        if not found.tables:
            raise ConfigError("catalogue: it has no tables")
        return found

    @classmethod
    def build(cls, tables: Iterable[tuple[str, str, Iterable[str] | None]]) -> Catalogue:
        """From schema (or ``""``), table and its columns; None: any column."""
        plain: dict[str, Table] = {}
        schemas: dict[str, dict[str, Table]] = {}
        for schema, name, columns in tables:
            known = None if columns is None else {column.lower(): column for column in columns}
            table = Table(name, known)
            key = name.lower()
            if schema:
                schemas.setdefault(schema.lower(), {})[key] = table
            twin = plain.get(key)
            # Of two schemas, which one a bare name means depends on the search path.
            plain[key] = table if twin is None else Table(name, _union(twin, table))
        return cls(plain, schemas)

    def find(self, name: str, schema: str = "") -> Table | None:
        """The table of this name; one of the database's own when it looks like that."""
        key = name.lower()
        if schema:
            there = self.schemas.get(schema.lower())
            if there is not None:
                return there.get(key)
            if schema.lower() in ("information_schema", "pg_catalog", "sys"):
                return Table(name, None)
        found = self.tables.get(key)
        if found is None and key.startswith(("sqlite_", "pg_", "duckdb_")):
            return Table(name, None)
        return found

    def names(self) -> list[str]:
        """The tables' names as written."""
        return [table.name for table in self.tables.values()]

    def having(self, column: str) -> list[Table]:
        """The tables with a column of this name."""
        key = column.lower()
        return [table for table in self.tables.values() if table.columns and key in table.columns]


def database_kind(path: Path) -> Literal["sqlite", "duckdb"]:
    """What database a file is, by its first bytes.

    Raises:
        ConfigError: it cannot be read, or is neither.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except (OSError, ValueError) as error:
        raise ConfigError(f"database {str(path)!r} cannot be read: {error}") from error
    if head == b"SQLite format 3\0":
        return "sqlite"
    if head[8:12] == b"DUCK":
        return "duckdb"
    raise ConfigError(f"{str(path)!r} is neither an SQLite nor a DuckDB database")


def _from_file(path: Path, dialect: str | None) -> Catalogue:
    if path.suffix.lower() == ".sql":
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError(f"catalogue {str(path)!r} cannot be read: {error}") from error
        return _from_ddl(text, dialect)
    if database_kind(path) == "sqlite":
        uri = f"{path.absolute().as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                return Catalogue.build(_sqlite_tables(connection))
        except sqlite3.Error as error:
            raise ConfigError(f"catalogue {str(path)!r} cannot be read: {error}") from error
    duckdb = import_duckdb()
    with closing(duckdb.connect(str(path), read_only=True)) as connection:
        return Catalogue.build(_information_schema(connection))


def import_duckdb() -> Any:
    """The module ``duckdb``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise ConfigError(
            "a DuckDB database needs duckdb: pip install 'cascade-engine[duckdb]'"
        ) from error
    return duckdb


def _sqlite_tables(connection: sqlite3.Connection) -> list[tuple[str, str, list[str] | None]]:
    named = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
    found: list[tuple[str, str, list[str] | None]] = []
    for (name,) in named.fetchall():
        try:
            rows = connection.execute("SELECT name FROM pragma_table_xinfo(?)", (name,)).fetchall()
            found.append(("", name, [column for (column,) in rows] or None))
        except sqlite3.Error:
            found.append(("", name, None))  # a view on what is gone, a module that is not loaded
    return found


def _information_schema(connection: Any) -> list[tuple[str, str, list[str]]]:
    with closing(connection.cursor()) as cursor:
        cursor.execute(_COLUMNS)
        rows: list[tuple[str, str, str]] = cursor.fetchall()
    return [
        (schema, table, [row[2] for row in group])
        for (schema, table), group in groupby(rows, key=lambda row: (row[0], row[1]))
    ]


def _from_ddl(text: str, dialect: str | None) -> Catalogue:
    text = _COPIED.sub("", text)
    starts = [match.start() for match in _CREATES.finditer(text)]
    tables: _Read = {}
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        # Statement by statement: some files lack semicolons, some have what no parser reads.
        _read_statement(text[start:end].strip(), dialect, tables)
    return Catalogue.build((*name, columns) for name, columns in tables.items())


def _read_statement(text: str, dialect: str | None, tables: _Read) -> None:
    if virtual := _VIRTUAL.match(text):
        tables["", virtual[1]] = None
        return
    try:
        statements = sqlglot.parse(text, dialect=dialect)
    except SqlglotError as error:
        if re.match(r"CREATE\s+(\w+\s+)*?(TABLE|VIEW)\b", text, re.IGNORECASE):
            line = text.splitlines()[0][:60]
            raise ConfigError(f"catalogue: {line!r} does not parse: {error}"[:300]) from error
        return
    for statement in statements:
        if isinstance(statement, exp.Create) and statement.kind in ("TABLE", "VIEW"):
            made = statement.this
            target = made.this if isinstance(made, exp.Schema) else made
            columns = _defined(made) or _selected(statement.args.get("expression"))
            tables[_full_name(target)] = columns
        elif isinstance(statement, exp.Alter):
            known = tables.get(_full_name(statement.this))
            if known is not None:
                known.extend(column.name for column in statement.find_all(exp.ColumnDef))


def _full_name(table: exp.Expr) -> tuple[str, str]:
    db = table.args.get("db")
    return (db.name if db is not None else "", table.name)


def _split(full: str) -> tuple[str, str]:
    schema, _, name = full.rpartition(".")
    return schema, name


def _defined(schema: exp.Expr) -> list[str] | None:
    if not isinstance(schema, exp.Schema):
        return None
    kinds = (exp.ColumnDef, exp.Identifier)
    return [part.name for part in schema.expressions if isinstance(part, kinds)] or None


def _selected(query: exp.Expr | None) -> list[str] | None:
    """The columns a view gives; None where that is not plain to see."""
    names = query.named_selects if isinstance(query, exp.Query) else []
    return None if not names or "*" in names or "" in names else list(names)


def _names(table: object, value: object) -> Sequence[str] | None:
    if value is None:
        return None
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        names = list(value)
        if all(isinstance(name, str) for name in names):
            return names
    raise ConfigError(f"catalogue: the columns of {table!r} are a list of names or a dict of types")


def _union(one: Table, other: Table) -> dict[str, str] | None:
    if one.columns is None or other.columns is None:
        return None
    return {**one.columns, **other.columns}
