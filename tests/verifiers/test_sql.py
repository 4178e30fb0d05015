"""`Sql`: one query that parses and only reads."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.sql import Sql

REQUEST = Request.of("a question")


def ask(text: str, dialect: str | None = None, **options: Any) -> Verdict:
    verdict = Sql(dialect, **options).verify(REQUEST, Answer(text))
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(
    ("text", "dialect", "query"),
    [
        ("SELECT 1", None, None),
        ("SELECT 1;", None, "SELECT 1"),
        (" SELECT 1 ; ; ", None, "SELECT 1"),
        ("```sql\nSELECT a\nFROM t;\n```", "sqlite", "SELECT a\nFROM t"),
        ("Here:\n```\nSELECT 1\n```\nDone.", None, "SELECT 1"),
        ("SELECT a -- the a\n, b /* ; DROP TABLE t */ FROM t; -- end", "sqlite",
         "SELECT a , b FROM t"),
        ("/* lead */ SELECT 1", None, "SELECT 1"),
        ("SELECT ';', '--', '/*' FROM t", "sqlite", None),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "postgres", None),
        ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c LIMIT 5",
         "sqlite", None),
        ("(SELECT 1) UNION (SELECT 2) ORDER BY 1", None, None),
        ("FROM t", "duckdb", None),
        ("VALUES (1), (2)", "postgres", None),
        ("SELECT * FROM t WHERE a GLOB 'x*'", "sqlite", None),
        ("SELECT /*+ INDEX(t) */ a FROM t", "mysql", None),
        ("SELECT 'a\\'b;c'", "mysql", None),
        ("SELECT $$a;b$$", "postgres", None),
    ],
)  # fmt: skip
def test_accepted(text: str, dialect: str | None, query: str | None) -> None:
    verdict = ask(text, dialect)
    assert (verdict.outcome, verdict.reason, verdict.text) == ("accepted", "", query)


@pytest.mark.parametrize(
    ("text", "dialect", "code"),
    [
        ("", None, "empty"),
        (";;", None, "empty"),
        ("-- nothing", None, "empty"),
        ("```sql\n```", None, "empty"),
        ("SELECT FROM WHERE", None, "parse"),
        ("SELECT 'unclosed", None, "parse"),
        ("I cannot answer that.", None, "parse"),
        ("1 + 1", None, "parse"),
        ("SELECT CASE WHEN 1 THEN 2", "sqlite", "parse"),
        ("```\nSELECT 1\n```\n```\nSELECT 2\n```", None, "parse"),
        ("SELECT '\0'", None, "parse"),
        ("SELECT '\ud800'", None, "parse"),
        ("SELECT 1; DROP TABLE t", None, "several_statements"),
        ("SELECT 1; ; SELECT 2", None, "several_statements"),
        ("SELECT 'a\\'; DROP TABLE t; -- '", "sqlite", "several_statements"),
        ("DROP TABLE t", None, "not_read_only"),
        ("INSERT INTO t VALUES (1)", None, "not_read_only"),
        ("UPDATE t SET a = 1", None, "not_read_only"),
        ("DELETE FROM t", None, "not_read_only"),
        ("CREATE TABLE t AS SELECT 1", None, "not_read_only"),
        ("REPLACE INTO t VALUES (1)", "sqlite", "not_read_only"),
        ("PRAGMA writable_schema = 1", "sqlite", "not_read_only"),
        ("ATTACH 'x.db' AS x", "sqlite", "not_read_only"),
        ("VACUUM INTO 'x.db'", "sqlite", "not_read_only"),
        ("COPY t TO 'x'", "duckdb", "not_read_only"),
        ("INSTALL httpfs", "duckdb", "not_read_only"),
        ("SET x = 1", None, "not_read_only"),
        ("CALL f()", None, "not_read_only"),
        ("EXPLAIN ANALYZE DELETE FROM t", "postgres", "not_read_only"),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "postgres", "not_read_only"),
        ("SELECT * INTO u FROM t", "tsql", "not_read_only"),
        ("SELECT * FROM t FOR UPDATE", "postgres", "not_read_only"),
        ("SELECT load_extension('x')", "sqlite", "not_read_only"),
        ("SELECT pg_read_file('/etc/passwd')", "postgres", "not_read_only"),
        ("SELECT pg_sleep(10)", "postgres", "not_read_only"),
        ("SELECT LOAD_FILE('/etc/passwd')", "mysql", "not_read_only"),
        ("SELECT * FROM read_csv('x.csv')", "duckdb", "not_read_only"),
        ("SELECT * FROM 'x.parquet'", "duckdb", "not_read_only"),
        ("SELECT * FROM glob('/*')", "duckdb", "not_read_only"),
        ("SELECT * FROM url('http://x', 'CSV')", "clickhouse", "not_read_only"),
        ("SELECT 1 /*! INTO OUTFILE 'x' */", "mysql", "not_read_only"),
        ("SELECT " + "(" * 33 + "1" + ")" * 33, None, "parse"),
        ("SELECT 1" + " " * 20_000, None, "too_long"),
    ],
)  # fmt: skip
def test_rejected(text: str, dialect: str | None, code: str) -> None:
    verdict = ask(text, dialect)
    assert (verdict.outcome, verdict.code) == ("rejected", f"sql.{code}")
    assert verdict.repairable
    assert 0 < len(verdict.reason) <= 300


def test_the_reason_says_where() -> None:
    assert ask("SELECT a FROM\nt WHERE (b = 1").reason == (
        "the SQL does not parse: Expecting ) at line 2, column 14 near '1'"
    )


def test_without_read_only_any_one_statement_passes() -> None:
    assert ask("DELETE FROM t", read_only=False).accepted
    assert ask("DELETE FROM t; DELETE FROM u", read_only=False).code == "sql.several_statements"
    assert ask("DELETE FROM", "sqlite", read_only=False).code == "sql.parse"


def test_strict_takes_no_fence() -> None:
    assert not ask("```sql\nSELECT 1\n```", extract="strict").accepted


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"^dialect='postgresql': did you mean 'postgres'"):
        Sql("postgresql")
    with pytest.raises(ConfigError, match=r"^extract='embedded'"):
        Sql(extract="embedded")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^max_chars=0"):
        Sql(max_chars=0)


pieces = st.lists(
    st.sampled_from(
        ("SELECT 1", ";", "DROP TABLE t", "--", "\n", "/*", "*/", "'", '"', " ", "\\", "#", "/*!",
         "INSERT INTO t VALUES (9)", "x", ",")
    ),
    max_size=12,
)  # fmt: skip


@given(pieces)
def test_what_is_accepted_for_sqlite_only_reads_there(parts: list[str]) -> None:
    verdict = ask("".join(parts), "sqlite")
    if not verdict.accepted:
        return
    query = "".join(parts) if verdict.text is None else verdict.text
    with sqlite3.connect(":memory:") as base:
        base.execute("CREATE TABLE t (a)")
        base.commit()
        try:
            base.execute(query)
        except sqlite3.Error as error:
            # A second statement is the one thing sqlite3 would not say of a query.
            assert "one statement" not in str(error)  # noqa: PT017
        assert not base.in_transaction
        assert base.execute("SELECT count(*) FROM t").fetchall() == [(0,)]
    base.close()


@pytest.mark.parametrize(
    ("text", "inline"),
    [
        ("SELECT a FROM t", True),
        ("SELECT 'a' || " + "long_name_of_a_column || " * 30 + "'b' FROM t", True),
        ("SELECT " + "a," * 130 + "a FROM t", False),  # many tokens
        ("SELECT a" + "[1]" * 9, False),  # sqlglot takes quadratic time for a chain of indexes
        ("SELECT '" + "a" * 1_000 + "'", False),
    ],
)
def test_what_takes_long_to_parse_leaves_the_loop(text: str, inline: bool) -> None:
    found = Sql().verify(REQUEST, Answer(text))
    assert isinstance(found, Verdict) is inline
    if not isinstance(found, Verdict):
        found.close()  # type: ignore[attr-defined]  # a coroutine that is not run
