"""What the names in a query may mean, and what to say of one that means nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

from sqlglot import exp

from cascade_verifiers.sql_catalogue import Catalogue, Table

Code = Literal["unknown_table", "unknown_column", "ambiguous_column"]
Tables = Mapping[str, Table]

OPEN = Table("", None)
"""A source of unknown columns: every name passes."""

# Every table has these, whatever its definition says; and words that stand without brackets.
EVERYWHERE = frozenset(
    {"rowid", "oid", "_rowid_", "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "rownum"}
    | {"level", "_partitiontime", "current_date", "current_time", "current_timestamp", "sysdate"}
    | {"current_user", "session_user", "user", "localtime", "localtimestamp", "current_catalog"}
    | {"current_schema", "current_role", "systimestamp"}
)


@dataclass(frozen=True, slots=True)
class WrongName:
    """A name that is not there, and the sentence that tells a model so."""

    code: Code
    reason: str


class Wrong(Exception):  # noqa: N818  # leaves the recursion; never seen outside
    def __init__(self, code: Code, reason: str) -> None:
        self.found = WrongName(code, reason)


@dataclass(slots=True)
class Scope:
    """What the names in one SELECT may mean."""

    outer: Scope | None
    ctes: Tables
    sources: dict[str, Table] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    aliases: set[str] = field(default_factory=set)
    merged: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    natural: bool = False


class Columns:
    """Columns put together from several sources; open when one of them is."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.open = False
        self.unnamed = False

    def add(self, name: str) -> None:
        self.found.setdefault(name.lower(), name)

    def add_all(self, tables: Iterable[Table]) -> None:
        for table in tables:
            self.open |= table.columns is None
            self.unnamed |= table.unnamed
            self.found.update(table.columns or {})

    def table(self) -> Table:
        return Table("", None if self.open else self.found, self.unnamed)

    @classmethod
    def of(cls, tables: Iterable[Table]) -> Table:
        columns = cls()
        columns.add_all(tables)
        return columns.table()


def outputs(projections: Iterable[exp.Expr], scope: Scope, dialect: str | None) -> Table:
    """The columns that a SELECT list gives."""
    columns = Columns()
    for node in projections:
        if isinstance(node, exp.Star):
            columns.add_all(scope.sources.values())
        elif isinstance(node, exp.Column):
            if isinstance(node.this, exp.Star):
                columns.add_all([scope.sources.get(node.table.lower(), OPEN)])
            else:
                columns.add(word(node.this))
        elif name := node.alias_or_name if isinstance(node, exp.Alias) else "":
            columns.add(name)
        else:
            columns.unnamed = True
    if columns.unnamed and dialect != "sqlite":
        return OPEN  # databases name them by rules of their own
    return columns.table()


def renamed(table: Table, alias: exp.Expr | None) -> Table:
    """The table under its alias, with the column names that gives."""
    names = [column.name for column in alias.args.get("columns") or ()] if alias else []
    if not names:
        return table
    # Fewer names than columns rename the first ones only.
    few = table.columns is not None and len(names) < len(table.columns)
    return Table(table.name, None if few else {name.lower(): name for name in names})


def word(part: exp.Expr) -> str:
    """What `Expr.name` says, in a third of its time where that is an identifier's."""
    if part.__class__ is exp.Identifier:
        name: str = part.args["this"]
        return name
    return part.name


def has(table: Table, name: str) -> bool:
    """Whether the table may have a column of this name."""
    if table.columns is None:
        return True
    key = name.lower()
    return key in table.columns or (bool(table.name) and key in EVERYWHERE)


def has_really(table: Table, name: str) -> bool:
    """Whether it is known to have one."""
    return table.columns is not None and name.lower() in table.columns


def outward(scope: Scope | None) -> Iterator[Scope]:
    """The scope and those around it."""
    while scope is not None:
        yield scope
        scope = scope.outer


def visible(scope: Scope) -> Iterator[Table]:
    """Every source that a name in this scope may belong to."""
    return (table for inner in outward(scope) for table in inner.sources.values())


def close(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names; compared with few, as each comparison costs 20 µs."""
    by_key = {other.lower(): other for other in known}
    key = name.lower()[:60]
    alike = sorted(by_key, key=lambda other: (other[:2] != key[:2], abs(len(other) - len(key))))
    found = get_close_matches(key, alike[:200], n=1, cutoff=0.6)
    return by_key[found[0]] if found else ""


def nearest_of(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """How a sentence ends: with the nearest known name, else with all of them."""
    names = list(dict.fromkeys(known))
    if near := close(name, names):
        return f"; did you mean {quoted(near)}?"
    return f"; {otherwise} {', '.join(sorted(names)[:15])}"[:200] if otherwise and names else ""


def quoted(name: str) -> str:
    """The name in quotes, cut short."""
    return repr(name[:60])


def no_table(name: str, scope: Scope) -> Wrong:
    """The error of a column whose table is not in reach."""
    alias = next((s.renamed[name.lower()] for s in outward(scope)
                  if name.lower() in s.renamed), None)  # fmt: skip
    if alias is not None:
        reason = f"{quoted(name)} has the alias {alias[:40]} in this query; use the alias"
        return Wrong("unknown_table", reason)
    known = [key for s in outward(scope) for key in s.sources if key[:1] not in ("", " ")]
    return Wrong("unknown_table", f"{quoted(name)} is no table or alias in this FROM clause"
                  + nearest_of(name, known, "there are"))  # fmt: skip


def hint(catalogue: Catalogue, name: str, scope: Scope, owner: Table | None) -> str:
    """How the sentence about an unknown column ends: with the name that may be meant."""
    tables = [owner] if owner is not None else [*visible(scope)]
    known = [column for table in tables for column in (table.columns or {}).values()]
    if near := close(name, known):
        return f"; did you mean {quoted(near)}?"
    others = [t for t in visible(scope) if t is not owner and has_really(t, name)]
    if not others:
        others = catalogue.having(name)
    if others:
        return f"; {others[0].name or 'a subquery'} has a column of this name"
    return f"; there are {', '.join(known[:12])}"[:200] if known else ""
