"""Whether the tables and columns that a query names are there.

Written for this and not taken from sqlglot's `qualify`, which does not miss unknown tables, takes
SQLite's double-quoted strings for columns, and costs several times what parsing does. Where SQL is
too rich to be sure (table functions, struct fields, pivots), the name passes: what is there is
seldom refused, what is not there is mostly found.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType
from typing import Any

from sqlglot import exp

from cascade_verifiers.sql_catalogue import Catalogue, Table
from cascade_verifiers.sql_scope import (
    EVERYWHERE,
    OPEN,
    Columns,
    Scope,
    Tables,
    Wrong,
    WrongName,
    has,
    hint,
    nearest_of,
    no_table,
    outputs,
    quoted,
    renamed,
    visible,
    word,
)

_ALIAS_IN_WHERE = ("sqlite", "duckdb", "snowflake", "bigquery", "clickhouse", "databricks", None)
_SEEN = ("with_", "from_", "joins", "laterals", "expressions", "hint")
# What most nodes are, so that their kind alone says what to do.
_LEAVES = frozenset({exp.Identifier, exp.Literal, exp.Star, NoneType, bool, str})
_PLAIN = frozenset(
    {exp.Alias, exp.And, exp.Count, exp.EQ, exp.GT, exp.Group, exp.Limit, exp.LT, exp.Max, exp.Or}
    | {exp.Order, exp.Ordered, exp.Sum, exp.Where}
)
_UNITS = frozenset(
    {"microsecond", "millisecond", "second", "minute", "hour", "day", "week", "month", "quarter"}
    | {"year", "dow", "doy", "epoch"}
)


def wrong_name(
    query: exp.Expr, catalogue: Catalogue, dialect: str | None, sql: str
) -> WrongName | None:
    """The first wrong name in ``query``, which was parsed from ``sql``; None without one."""
    try:
        _Check(catalogue, dialect, sql).query(query, None, {})
    except Wrong as wrong:
        return wrong.found
    return None


class _Check:
    def __init__(self, catalogue: Catalogue, dialect: str | None, sql: str) -> None:
        self.catalogue = catalogue
        self.dialect = dialect
        self.sql = sql

    def query(self, node: exp.Expr, outer: Scope | None, ctes: Tables) -> Table:
        """Check a query; the columns it gives."""
        if (with_ := node.args.get("with_")) is not None:
            ctes = self._with(with_, outer, ctes)
        if isinstance(node, exp.Select):
            return self._select(node, outer, ctes)
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, outer, ctes)
        if isinstance(node, exp.Subquery):
            return self._brackets(node, outer, ctes)
        scope = Scope(outer, ctes)
        scope.sources[""] = OPEN
        self._walk(node.args.values(), scope, "")
        return OPEN

    def _with(self, with_: exp.Expr, outer: Scope | None, ctes: Tables) -> Tables:
        known = dict(ctes)
        entries = [(cte, cte.alias.lower()) for cte in with_.expressions]
        for _, name in entries:
            # Itself when recursive, and in SQLite the later ones too; else a table of that name.
            if self.catalogue.find(name) is None:
                known[name] = OPEN
        for cte, name in entries:
            given = self.query(cte.this, outer, known)
            known[name] = renamed(given, cte.args.get("alias"))
        return known

    def _set_operation(self, node: exp.Expr, outer: Scope | None, ctes: Tables) -> Table:
        rights: list[exp.Expr] = []
        below: exp.Expr = node
        while isinstance(below, exp.SetOperation) and (below is node or "with_" not in below.args):
            rights.append(below.expression)
            below = below.this
        first = self.query(below, outer, ctes)
        given = [first, *(self.query(right, outer, ctes) for right in reversed(rights))]
        # ORDER BY may name an output of any branch; how far it reaches differs by database.
        scope = Scope(outer, ctes, {str(n): table for n, table in enumerate(given)}, natural=True)
        rest = (node.args.get(key) for key in ("order", "limit", "offset"))
        self._walk(rest, scope, "order", qualified=False)
        return first

    def _brackets(self, node: exp.Expr, outer: Scope | None, ctes: Tables) -> Table:
        scope = Scope(outer, ctes)
        if isinstance(node.this, exp.Query):
            given = self.query(node.this, outer, ctes)
        else:
            self._source(node.this, scope)
            given = Columns.of(scope.sources.values())
        scope.sources.setdefault("", given)
        scope.natural = True
        inner = ("order", "limit", "offset")
        self._walk((node.args.get(key) for key in inner), scope, "order", qualified=False)
        return given

    def _select(self, node: exp.Expr, outer: Scope | None, ctes: Tables) -> Table:
        arguments = node.args
        scope = Scope(outer, ctes)
        if (from_ := arguments.get("from_")) is not None:
            self._source(from_.this, scope)
        if joins := arguments.get("joins"):
            self._joins(joins, scope)
        for lateral in arguments.get("laterals") or ():
            self._source(lateral, scope)
        projections: list[exp.Expr] = arguments.get("expressions") or []
        aliases = {p.alias.lower() for p in projections if isinstance(p, exp.Alias)}
        if self.dialect != "sqlite":
            scope.aliases = aliases
        self._walk(projections, scope, "expressions")
        scope.aliases = aliases
        for key, value in arguments.items():
            if value is not None and key not in _SEEN:
                self._walk((value,), scope, key)
        return outputs(projections, scope, self.dialect)

    def _joins(self, joins: Iterable[exp.Expr], scope: Scope) -> None:
        for join in joins:
            self._source(join.this, scope)
            scope.natural |= join.args.get("method") in ("NATURAL", "ASOF")
            for name in join.args.get("using") or ():
                self._using(name.name, scope)
        for join in joins:
            self._walk((join.args.get("on"),), scope, "on")

    def _using(self, name: str, scope: Scope) -> None:
        scope.merged.add(name.lower())
        tables = [*scope.sources.values()]
        lacking = [tables[-1]] if tables and not has(tables[-1], name) else []
        if tables and not any(has(table, name) for table in tables[:-1]):
            lacking = tables[:1]
        if lacking:
            known = lacking[0].columns or {}
            reason = f"{lacking[0].name or 'the subquery'} has no column {quoted(name)} to join by"
            raise Wrong("unknown_column", reason + nearest_of(name, known.values()))

    def _source(self, node: exp.Expr, scope: Scope) -> None:
        """Enter a table, subquery or function of FROM into the scope."""
        alias = node.args.get("alias")
        if isinstance(node, exp.Lateral):
            node = node.this if isinstance(node.this, exp.Subquery) else node
            given = self.query(node, scope, scope.ctes) if isinstance(node, exp.Query) else OPEN
        elif isinstance(node, exp.Table):
            given = self._table(node, scope)
        elif isinstance(node, exp.Subquery) and not isinstance(node.this, exp.Query):
            # (a JOIN b): what is inside keeps its names, unless the whole has one.
            inner = scope if alias is None else Scope(scope.outer, scope.ctes)
            self._source(node.this, inner)
            given = Columns.of(inner.sources.values())
            if alias is None:
                self._joins(node.args.get("joins") or (), scope)
                return
        elif isinstance(node, exp.Query):
            # A database lets a subquery see its neighbours only with LATERAL.
            given = self.query(node, scope.outer, scope.ctes)
        else:
            self._walk(node.args.values(), scope, "from")
            given = OPEN
        name = "" if alias is None else alias.name
        if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            own = word(node.this)
            if alias is not None:
                scope.renamed[own.lower()] = name
            else:
                name = own
        key = name.lower() or f" {len(scope.sources)}"
        if node.args.get("pivots") or node.args.get("laterals"):
            given = OPEN
        if key in scope.sources:
            scope.doubled.add(key)
        scope.sources[key] = renamed(given, alias)
        if joins := node.args.get("joins"):
            self._joins(joins, scope)  # a table in brackets carries what it is joined with

    def _table(self, node: exp.Table, scope: Scope) -> Table:
        if not isinstance(node.this, exp.Identifier):
            self._walk((node.this,), scope, "from")
            return OPEN
        name, schema = word(node.this), node.db if "db" in node.args else ""
        if not schema and (cte := scope.ctes.get(name.lower())) is not None:
            return cte
        found = self.catalogue.find(name, schema)
        if found is None:
            full = f"{schema}.{name}" if schema else name
            known = [*self.catalogue.names(), *scope.ctes]
            raise Wrong("unknown_table", f"there is no table {quoted(full)}"
                         + nearest_of(name, known, "the tables are"))  # fmt: skip
        return found

    def _walk(
        self, nodes: Iterable[object], scope: Scope, place: str, *, qualified: bool = True
    ) -> None:
        """Check every column below, and every subquery; without recursion, as sums are deep."""
        stack: list[Any] = list(nodes)[::-1]
        while stack:
            node = stack.pop()
            kind = node.__class__
            if kind in _LEAVES:
                continue
            if kind is list:
                stack += node[::-1]
            elif kind is exp.Column:
                if qualified or not node.args.get("table"):
                    self._column(node, scope, place)
            elif kind in _PLAIN:
                stack += node.args.values()
            elif not isinstance(node, exp.Expr):
                continue
            elif isinstance(node, exp.Query):
                self.query(node, scope, scope.ctes)
            elif isinstance(node, exp.In) and isinstance(node.args.get("field"), exp.Column):
                stack.append(node.this)  # x IN t: a table, to SQLite
            else:
                stack += node.args.values()

    def _column(self, node: exp.Column, scope: Scope, place: str) -> None:
        name, table = node.args["this"], node.args.get("table")
        if isinstance(name, exp.Star):
            if table and self._owner(table.name, scope) is None:
                raise no_table(table.name, scope)
        elif table:
            self._qualified(node, word(table), scope)
        elif isinstance(name, exp.Identifier):
            self._bare(node, name, scope, place)

    def _owner(self, table: str, scope: Scope | None) -> Table | None:
        while scope is not None:
            if (found := scope.sources.get(table.lower())) is not None:
                return found
            scope = scope.outer
        return None

    def _qualified(self, node: exp.Column, table: str, scope: Scope) -> None:
        owner, name = self._owner(table, scope), word(node.args["this"])
        if owner is None:
            first = node.args.get("catalog") or node.args.get("db") or node.args["table"]
            if self.dialect != "sqlite" and (
                any(has(t, first.name) for t in visible(scope))
                or self._owner(first.name, scope) is not None
            ):
                return  # a field of a struct
            raise no_table(table, scope)
        if scope.doubled and table.lower() in scope.doubled:
            reason = f"{quoted(table)} is in the FROM clause twice; give each an alias"
            raise Wrong("ambiguous_column", reason)
        if not has(owner, name) and not self._is_unnamed(owner, node.this):
            assert owner.columns is not None
            raise Wrong("unknown_column", f"{table[:40]} has no column {quoted(name)}"
                         + hint(self.catalogue, name, scope, owner))  # fmt: skip

    def _is_unnamed(self, table: Table, name: exp.Expr) -> bool:
        # "count(*)" is what SQLite calls the output of a subquery's count(*).
        return bool(table.unnamed and name.args.get("quoted"))

    def _bare(self, node: exp.Column, name: exp.Identifier, scope: Scope, place: str) -> None:
        key = word(name).lower()
        aliased = key in scope.aliases
        if aliased and place in ("order", "group", "having", "qualify"):
            return
        if place == "order" and _selects_all(node):
            return  # it may be one of the columns that the star stands for
        inner: Scope | None = scope
        while inner is not None:
            owners = sum(has(t, key) for t in inner.sources.values() if t.columns is not None)
            if owners > 1 and key not in inner.merged and not inner.natural:
                if any(table.columns is None for table in inner.sources.values()):
                    return
                holders = [n for n, t in inner.sources.items() if has(t, key) and n[0] != " "]
                either = " or ".join(f"{holder}.{name.name}"[:60] for holder in holders[:4])
                reason = f"the column {quoted(name.name)} is in several tables"
                raise Wrong("ambiguous_column", reason + (f": write {either}" if either else ""))
            if owners or any(t.columns is None or self._is_unnamed(t, name)
                             for t in inner.sources.values()):  # fmt: skip
                return
            if key in inner.aliases and (inner is not scope or self.dialect in _ALIAS_IN_WHERE
                                         or place == "expressions"):  # fmt: skip
                return
            inner = inner.outer
        if key in EVERYWHERE or self._is_string(name):
            return
        if self.dialect != "sqlite" and self._owner(key, scope) is not None:
            return  # a whole row
        if key.rstrip("s") in _UNITS and isinstance(node.parent, exp.Func):
            return  # DATEDIFF(day, a, b)
        reason = f"there is no column {quoted(name.name)}"
        raise Wrong("unknown_column", reason + hint(self.catalogue, name.name, scope, None))

    def _is_string(self, name: exp.Identifier) -> bool:
        """Whether SQLite takes the name for a string: in double quotes, and no column."""
        if self.dialect != "sqlite" or not name.args.get("quoted"):
            return False
        start = name.meta.get("start")
        return start is None or self.sql[start : start + 1] == '"'


def _selects_all(node: exp.Column) -> bool:
    select = node.find_ancestor(exp.Select)
    return select is not None and any(item.is_star for item in select.expressions)
