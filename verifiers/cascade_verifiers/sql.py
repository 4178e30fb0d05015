"""`Sql`: the answer is one SQL query that parses and only reads."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Literal

from anyio import to_thread
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from cascade.errors import ConfigError, nearest
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.algebra import Composable
from cascade_verifiers.extract import check_extract, fences
from cascade_verifiers.sql_read_only import more_than_reads

MAX_CHARS = 10_000
INLINE_CHARS = 2_000
"""Longer queries are parsed in a worker thread: sqlglot takes about 5 ms a kilobyte."""

MAX_NESTING = 32
"""Of brackets and CASE: sqlglot takes some 20 stack frames for each."""

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


class Sql(Composable):
    """Accepts an answer that is exactly one SQL query, parses in a dialect and only reads.

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

    Raises:
        ConfigError: there is no such dialect.
    """

    cost_class = "cpu"

    def __init__(
        self,
        dialect: str | None = None,
        *,
        extract: Literal["strict", "fence"] = "fence",
        read_only: bool = True,
        max_chars: int = MAX_CHARS,
    ) -> None:
        check_extract(extract, ("strict", "fence"))
        if max_chars < 1:
            raise ConfigError(f"max_chars={max_chars!r}: needs a whole number above 0")
        known = [name for name in Dialect.classes if name]
        if dialect is not None and dialect not in known:
            raise ConfigError(f"dialect={dialect!r}: {nearest(str(dialect), known)}")
        self._name = dialect
        self._dialect = Dialect.get_or_raise(dialect)
        self._extract = extract
        self._read_only = read_only
        self._max_chars = max_chars

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict; awaitable where it takes long enough to go to a worker thread."""
        text = answer.text
        if len(text) > self._max_chars:
            reason = f"the answer is longer than {self._max_chars:,} characters"
            return _reject(reason, "too_long")
        if len(text) > INLINE_CHARS:
            return to_thread.run_sync(self._judge, text)
        return self._judge(text)

    def _judge(self, text: str) -> Verdict:
        fenced = fences(text) if self._extract == "fence" else []
        if len(fenced) > 1:
            return _reject("the answer has several code fences; give one query", "parse")
        sql = fenced[0] if fenced else text.strip()
        if "\0" in sql or not _encodable(sql):
            # A NUL ends the text for some drivers, so that less runs than was checked.
            return _reject("the SQL has a NUL or half of a surrogate pair in it", "parse")
        try:
            tokens = self._dialect.tokenize(sql)
            return self._judge_tokens(sql, tokens) or self._accept(text, sql, tokens)
        except ParseError as error:
            return _reject(_explained(error), "parse")
        except SqlglotError as error:
            return _reject(f"the SQL does not parse: {error}", "parse")
        except RecursionError:
            return _reject("the SQL is nested too deep", "parse")

    def _judge_tokens(self, sql: str, tokens: list[Token]) -> Verdict | None:
        while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
            tokens.pop()
        if not tokens:
            return _reject("the answer has no SQL", "empty")
        if any(token.token_type is TokenType.SEMICOLON for token in tokens):
            return _reject(
                "the answer has several statements; give one query", "several_statements"
            )
        if _nesting(tokens) > MAX_NESTING:
            reason = f"the SQL is nested more than {MAX_NESTING} levels deep"
            return _reject(reason, "parse")
        if not self._read_only:
            self._dialect.parser().parse(tokens, sql)
            return None
        return self._judge_query(sql, tokens)

    def _judge_query(self, sql: str, tokens: list[Token]) -> Verdict | None:
        first = tokens[0]
        if first.token_type in _NO_KEYWORD:
            return _reject(f"a query begins with SELECT or WITH, not {first.text[:40]!r}", "parse")
        if first.token_type not in _BEGINS_QUERY:
            return _not_read_only(first.text.upper()[:40])
        if any(comment.startswith(("!", "M!")) for token in tokens for comment in token.comments):
            return _not_read_only("a comment that MySQL executes")
        (query,) = self._dialect.parser().parse(tokens, sql)
        if not isinstance(query, exp.Query | exp.Values):
            return _reject("the answer is no SQL query", "parse")
        found = more_than_reads(query, self._name)
        return None if found is None else _not_read_only(found)

    def _accept(self, text: str, sql: str, tokens: list[Token]) -> Verdict:
        query = sql[tokens[0].start : tokens[-1].end + 1]
        if any(token.comments for token in tokens) or tokens[0].start > 0:
            query = _without_comments(sql, tokens)
            # Should a token's place ever be wrong, nothing unchecked may come of it.
            again = self._dialect.tokenize(query)
            if [t.text for t in again] != [t.text for t in tokens]:
                return _reject("the SQL has comments that cannot be taken out", "parse")
        return Verdict.accept(text=None if query == text else query)

    def __repr__(self) -> str:
        return f"Sql({self._name or ''})"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _nesting(tokens: list[Token]) -> int:
    depth = deepest = 0
    for token in tokens:
        if token.token_type in _OPENING:
            depth += 1
            deepest = max(deepest, depth)
        elif token.token_type in _CLOSING:
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
    return _reject(f"the query must only read; it has {what}", "not_read_only")


def _reject(reason: str, code: str) -> Verdict:
    return Verdict.reject(reason[:300], code=f"sql.{code}", repairable=True)
