"""Whether a parsed query only reads: nothing written, locked or set, no file, no network.

A list of what is known to reach further cannot be complete, as databases take extensions. It
is a gate for answers, not a permission: run queries with a role that may only read.
"""

from __future__ import annotations

import re
from functools import cache
from types import NoneType
from typing import Any

from sqlglot import exp

# Statements that may stand inside a query (a CTE of PostgreSQL can delete), and clauses of one.
_WRITING: tuple[type[exp.Expr], ...] = (
    exp.Alter,
    exp.Analyze,
    exp.Attach,
    exp.Command,
    exp.Commit,
    exp.Copy,
    exp.Create,
    exp.Delete,
    exp.Detach,
    exp.Drop,
    exp.Execute,
    exp.Grant,
    exp.Insert,
    exp.Install,
    exp.Into,
    exp.Kill,
    exp.LoadData,
    exp.Lock,
    exp.Merge,
    exp.Pragma,
    exp.Revoke,
    exp.Rollback,
    exp.Set,
    exp.Transaction,
    exp.TruncateTable,
    exp.Update,
    exp.Use,
)

# Functions by what they begin with or are, from the manuals of the databases named.
_REACHING = re.compile(
    r"load_extension|readfile|writefile|edit|fts3_tokenizer"  # SQLite and its shell
    r"|pg_(read|ls|stat|file|write|terminate|cancel|reload|rotate|notify|sleep|advisory|promote)"
    r"\w*|lo_\w+|dblink\w*|set_config|setval|nextval|(query|table|cursor)_to_xml\w*"  # PostgreSQL
    r"|load_file|sleep|benchmark|(get|release)_lock|sys_(exec|eval)"  # MySQL
    r"|read_\w+|readcsv|readparquet|scan_\w+|\w+_scan|parquet_\w+|sniff_csv|\w+_attach"  # DuckDB
    r"|openrowset|opendatasource|openquery|xp_\w+|sp_\w+"  # SQL Server
    r"|utl_\w+|dbms_\w+",  # Oracle
    re.IGNORECASE,
)
# Names that are harmless elsewhere: `x GLOB y` of SQLite is a function to sqlglot.
_REACHING_IN = {
    "duckdb": re.compile("getenv|glob|query|query_table", re.IGNORECASE),
    "clickhouse": re.compile(
        r"(s3|url|hdfs|gcs|iceberg|azureblobstorage|remote)\w*|cluster|executable|file|input"
        r"|jdbc|odbc|mongodb|mysql|postgresql|redis|sqlite",
        re.IGNORECASE,
    ),
}
_NOTHING = re.compile(r"(?!)")

# A table whose name is a path or address is read from there by DuckDB, Spark and others.
_FILE = re.compile(r"[/\\]|\.(csv|tsv|json|jsonl|ndjson|parquet|orc|avro|xlsx|db|duckdb)\b", re.I)


def more_than_reads(query: exp.Expr, dialect: str | None) -> str | None:
    """What in ``query`` does more than read, or None."""
    # sqlglot's own walk takes five times as long, a good part of what parsing does.
    stack: list[Any] = [query]
    while stack:
        node = stack.pop()
        kind = node.__class__
        if kind in _LEAVES:
            continue
        if kind is list:
            stack += node
            continue
        if kind not in _HARMLESS:
            if not isinstance(node, exp.Expr):
                continue
            found = _reaching_kind(kind, dialect) or _reaching(node, dialect)
            if found is not None:
                return found
        stack += node.args.values()
    return None


_LEAVES = frozenset({exp.Identifier, exp.Literal, exp.Star, NoneType, bool, str})
_HARMLESS = frozenset(
    {exp.Alias, exp.Column, exp.EQ, exp.From, exp.Group, exp.Join, exp.Order, exp.Ordered}
    | {exp.Select, exp.Subquery, exp.TableAlias, exp.Where}
)


@cache
def _reaching_kind(kind: type[exp.Expr], dialect: str | None) -> str | None:
    """What every node of this class does more than read."""
    if issubclass(kind, _WRITING):
        return kind.key.upper()
    if issubclass(kind, exp.Func) and not issubclass(kind, exp.Anonymous):
        return _function(kind.sql_name(), dialect)
    return None


def _reaching(node: exp.Expr, dialect: str | None) -> str | None:
    """What this node does more than read, whatever its class."""
    if isinstance(node, exp.Anonymous):
        return _function(node.name, dialect)
    if isinstance(node, exp.Table):
        for part in node.parts:
            if isinstance(part, exp.Identifier) and part.quoted and _FILE.search(part.name):
                return f"the file {part.name[:40]!r}"
    return None


def _function(name: str, dialect: str | None) -> str | None:
    harmful = _REACHING_IN.get(dialect or "", _NOTHING)
    if _REACHING.fullmatch(name) or harmful.fullmatch(name):
        return f"the function {name[:40]}"
    return None
