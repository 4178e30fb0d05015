"""Reading an answer as one SQL query: found in the text, parsed, and seen to only read.

Everything here is pure and can be pickled, as what is long is read in a worker process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from cascade.verdict import Verdict
from cascade_verifiers.extract import fences
from cascade_verifiers.sql_catalogue import Catalogue
from cascade_verifiers.sql_names import wrong_name
from cascade_verifiers.sql_read_only import more_than_reads

MAX_NESTING = 32
"""Of brackets and CASE: sqlglot takes some 20 stack frames for each."""

_INLINE_CHARS = 1_000
_INLINE_TOKENS = 250
_INLINE_INDEXES = 8
_TOKEN = re.compile(r"\w+|[^\w\s]")

_OPENING = (TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE)
_CLOSING = (TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END)
_BEGINS_QUERY = (
    TokenType.SELECT,
    TokenType.WITH,
    TokenType.L_PAREN,
    TokenType.FROM,
    TokenType.VALUES,
    TokenType.TABLE,
)
_NO_KEYWORD = (TokenType.VAR, TokenType.IDENTIFIER, TokenType.STRING, TokenType.NUMBER)


@dataclass(frozen=True, slots=True)
class Query:
    """The query of an answer: its text without fence, final semicolon and comments, and tree."""

    text: str
    tree: exp.Expr


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads queries of one dialect.

    Attributes:
        dialect: as sqlglot names it, or None.
        fence: whether the query may stand in a code fence.
        read_only: whether anything but a query is refused.
        catalogue: the tables and columns there are; None where names are not checked.
    """

    dialect: str | None = None
    fence: bool = True
    read_only: bool = True
    catalogue: Catalogue | None = None

    def read(self, text: str) -> Query | Verdict:
        """The query, or the verdict that rejects the answer."""
        fenced = fences(text) if self.fence else []
        if len(fenced) > 1:
            return reject("the answer has several code fences; give one query", "parse")
        sql = fenced[0] if fenced else text.strip()
        if "\0" in sql or not _encodable(sql):
            # A NUL ends the text for some drivers, so that less runs than was checked.
            return reject("the SQL has a NUL or half of a surrogate pair in it", "parse")
        try:
            dialect = _dialect(self.dialect)
            tokens = dialect.tokenize(sql)
            tree = self._parse(dialect, sql, tokens)
            return tree if isinstance(tree, Verdict) else self._accept(dialect, sql, tokens, tree)
        except ParseError as error:
            return reject(_explained(error), "parse")
        except SqlglotError as error:
            return reject(f"the SQL does not parse: {error}", "parse")
        except RecursionError:
            return reject("the SQL is nested too deep", "parse")

    def judge(self, text: str) -> str | Verdict:
        """As `read`, without the tree: what a worker process sends back."""
        query = self.read(text)
        return query if isinstance(query, Verdict) else query.text

    def canonical(self, text: str) -> str | None:
        """One form for queries that differ in spacing, letter case, comments and brackets."""
        query = self.read(text)
        if isinstance(query, Verdict):
            return None
        try:
            return query.tree.sql(self.dialect, normalize=True, comments=False)
        except (SqlglotError, RecursionError):
            return None

    def _parse(self, dialect: Dialect, sql: str, tokens: list[Token]) -> exp.Expr | Verdict:
        while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
            tokens.pop()
        if not tokens:
            return reject("the answer has no SQL", "empty")
        kinds = [token.token_type for token in tokens]
        if TokenType.SEMICOLON in kinds:
            return reject("the answer has several statements; give one query", "several_statements")
        if sum(map(kinds.count, _OPENING)) > MAX_NESTING < _nesting(kinds):
            return reject(f"the SQL is nested more than {MAX_NESTING} levels deep", "parse")
        if not self.read_only:
            return _only(dialect.parser().parse(tokens, sql))
        first = tokens[0]
        if first.token_type in _NO_KEYWORD:
            return reject(f"a query begins with SELECT or WITH, not {first.text[:40]!r}", "parse")
        if first.token_type not in _BEGINS_QUERY:
            return _not_read_only(first.text.upper()[:40])
        comments = [comment for token in tokens for comment in token.comments]
        if any(comment.startswith(("!", "M!")) for comment in comments):
            return _not_read_only("a comment that MySQL executes")
        query = _only(dialect.parser().parse(tokens, sql))
        if isinstance(query, Verdict):
            return query
        if not isinstance(query, exp.Query | exp.Values):
            return reject("the answer is no SQL query", "parse")
        found = more_than_reads(query, self.dialect)
        return query if found is None else _not_read_only(found)

    def _accept(
        self, dialect: Dialect, sql: str, tokens: list[Token], tree: exp.Expr
    ) -> Query | Verdict:
        text = sql[tokens[0].start : tokens[-1].end + 1]
        if tokens[0].start > 0 or [True for token in tokens if token.comments]:
            text = _without_comments(sql, tokens)
            # Should a token's place ever be wrong, nothing unchecked may come of it.
            again = dialect.tokenize(text)
            if [t.text for t in again] != [t.text for t in tokens]:
                return reject("the SQL has comments that cannot be taken out", "parse")
        if self.catalogue is not None and isinstance(tree, exp.Query):
            wrong = wrong_name(tree, self.catalogue, self.dialect, sql)
            if wrong is not None:
                return reject(wrong.reason, wrong.code)
        return Query(text, tree)


def is_short(text: str) -> bool:
    """Whether sqlglot reads ``text`` in a few milliseconds; else it takes a worker process.

    A token takes up to 20 µs, and a chain like ``a[1][1]…`` quadratic time.
    """
    if len(text) > _INLINE_CHARS or text.count("[") > _INLINE_INDEXES:
        return False
    return len(text) <= _INLINE_TOKENS or len(_TOKEN.findall(text)) <= _INLINE_TOKENS


def reject(reason: str, code: Literal[
    "parse", "empty", "several_statements", "not_read_only", "too_long", "unknown_table",
    "unknown_column", "ambiguous_column", "explain", "execute", "timeout", "memory",
    "empty_result", "too_many_rows",
]) -> Verdict:  # fmt: skip
    """A rejection by one of the rungs."""
    return Verdict.reject(reason[:300], code=f"sql.{code}", repairable=True)


@cache
def _dialect(name: str | None) -> Dialect:
    return Dialect.get_or_raise(name)


def _only(statements: list[exp.Expr | None]) -> exp.Expr | Verdict:
    # Some lone keywords give none at all.
    found = [statement for statement in statements if statement is not None]
    return found[0] if len(found) == 1 else reject("the answer is no SQL statement", "parse")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _nesting(kinds: list[TokenType]) -> int:
    depth = deepest = 0
    for kind in kinds:
        if kind in _OPENING:
            depth += 1
            deepest = max(deepest, depth)
        elif kind in _CLOSING:
            depth -= 1
    return deepest


def _without_comments(sql: str, tokens: list[Token]) -> str:
    pieces: list[str] = []
    end = tokens[0].start
    for token in tokens:
        gap = sql[end : token.start]
        pieces.append(gap if gap.isspace() or not gap else " ")
        pieces.append(sql[token.start : token.end + 1])
        end = token.end + 1
    return "".join(pieces)


def _explained(error: ParseError) -> str:
    first = error.errors[0] if error.errors else {}
    description = str(first.get("description") or "it is no SQL")[:200].rstrip(". ")
    if "<Token" in description:
        description = description.split(" but got <Token")[0]
    place = f" at line {first['line']}, column {first['col']}" if first.get("line") else ""
    found = f" near {str(first['highlight'])[:40]!r}" if first.get("highlight") else ""
    return f"the SQL does not parse: {description}{place}{found}"


def _not_read_only(what: str) -> Verdict:
    return reject(f"the query must only read; it has {what}", "not_read_only")
