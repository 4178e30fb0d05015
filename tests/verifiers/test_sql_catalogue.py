"""`Sql(catalogue=…)`: names that are not there are found, and right ones are never refused."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.sql import Sql
from cascade_verifiers.sql_catalogue import Catalogue

REQUEST = Request.of("a question")
DDL = """
CREATE TABLE singer (Singer_ID INT PRIMARY KEY, Name TEXT, Country TEXT, Age INT);
CREATE TABLE concert (concert_ID INT, Name TEXT, Year TEXT, Stadium_ID INT,
  FOREIGN KEY (Stadium_ID) REFERENCES stadium (Stadium_ID));
CREATE TABLE "stadium" ("Stadium_ID" INT, Capacity INT, "home team" TEXT)
CREATE VIEW old_singers AS SELECT Name AS who, Age FROM singer WHERE Age > 60;
CREATE INDEX i ON singer (Name);
"""
SQLITE = Sql("sqlite", catalogue=DDL)


def ask(verifier: Sql, text: str) -> Verdict:
    verdict = verifier.verify(REQUEST, Answer(text))
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.fixture(scope="module")
def base() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(DDL.replace('team" TEXT)', 'team" TEXT);'))
        yield connection


RIGHT = [
    "SELECT name, AGE FROM Singer",
    'SELECT "Name", `Age`, [Country] FROM "singer"',
    'SELECT name FROM singer WHERE country = "France"',
    'SELECT "a word"',
    "SELECT rowid, _rowid_ FROM singer",
    "SELECT T1.name FROM singer AS T1 JOIN concert T2 ON T1.Singer_ID = T2.concert_ID",
    "SELECT singer.name FROM singer, concert",
    "SELECT main.singer.name FROM main.singer",
    "SELECT T1.* FROM singer T1, concert",
    "SELECT count(*) FROM singer",
    'SELECT "home team" FROM stadium',
    "SELECT who FROM old_singers",
    "WITH a AS (SELECT name AS n FROM singer) SELECT n FROM a",
    "WITH a (x, y) AS (SELECT name, age FROM singer) SELECT x, a.y FROM a",
    "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 3) SELECT x FROM c",
    "WITH a AS (SELECT * FROM b), b AS (SELECT 1 AS z) SELECT z FROM a",
    "SELECT z FROM (SELECT age AS z FROM singer) WHERE z > 3",
    "SELECT q.age FROM (SELECT * FROM singer) q",
    "SELECT x.who FROM (SELECT * FROM old_singers) x",
    'SELECT "count(*)" FROM (SELECT count(*) FROM singer)',
    "SELECT name FROM singer s WHERE age > (SELECT avg(age) FROM singer WHERE country = s.country)",
    "SELECT name FROM singer WHERE EXISTS (SELECT 1 FROM stadium WHERE capacity = age)",
    "SELECT age * 2 AS twice FROM singer WHERE twice > 3 GROUP BY twice ORDER BY twice",
    "SELECT count(*) AS n FROM singer GROUP BY country HAVING n > 1",
    "SELECT Stadium_ID FROM concert JOIN stadium USING (Stadium_ID)",
    "SELECT Stadium_ID FROM concert NATURAL JOIN stadium",
    "SELECT s.name AS name FROM singer s JOIN concert c ON 1 ORDER BY name",
    "SELECT name FROM singer UNION SELECT year FROM concert ORDER BY name",
    "SELECT name FROM singer EXCEPT SELECT name FROM concert",
    "SELECT * FROM (singer JOIN concert ON Singer_ID = concert_ID) WHERE age > 3",
    "SELECT value FROM json_each('[1]')",
    "SELECT j.value, name FROM singer, json_each('[1]') j",
    "SELECT name FROM sqlite_master",
    "SELECT row_number() OVER w FROM singer WINDOW w AS (ORDER BY age)",
    "SELECT CASE WHEN age > 3 THEN 'a' END, CAST(age AS TEXT), date('now') FROM singer",
    "SELECT name FROM singer WHERE 'x' IN singer OR 1",
    "VALUES (1, 2)",
    "SELECT column1 FROM (VALUES (1))",
    "SELECT name FROM singer LIMIT 1 OFFSET 1",
]
WRONG = [
    ("SELECT name FROM singers", "unknown_table", "there is no table 'singers'; did you mean "
     "'singer'?"),
    ("SELECT nam FROM singer", "unknown_column", "there is no column 'nam'; did you mean 'Name'?"),
    ("SELECT T1.capacity FROM singer T1", "unknown_column",
     "T1 has no column 'capacity'; stadium has a column of this name"),
    ("SELECT singer.name FROM singer T1", "unknown_table",
     "'singer' has the alias T1 in this query; use the alias"),
    ("SELECT T2.name FROM singer T1", "unknown_table",
     "'T2' is no table or alias in this FROM clause; there are t1"),
    ("SELECT name FROM singer, concert", "ambiguous_column",
     "the column 'name' is in several tables: write singer.name or concert.name"),
    ("SELECT [France] FROM singer", "unknown_column", None),
    ("SELECT name FROM old_singers", "unknown_column", None),
    ("WITH a AS (SELECT name AS n FROM singer) SELECT name FROM a", "unknown_column", None),
    ("SELECT age FROM (SELECT name FROM singer)", "unknown_column", None),
    ("SELECT 1 FROM singer WHERE id IN (SELECT nope FROM concert)", "unknown_column", None),
    ("SELECT 1 FROM singer JOIN stadium USING (name)", "unknown_column", None),
    ("SELECT 1 FROM singer UNION SELECT x FROM concert", "unknown_column", None),
    ("SELECT 1 FROM singer JOIN singer ON singer.age = singer.age", "ambiguous_column", None),
    ("SELECT age AS a, a + 1 FROM singer", "unknown_column", None),
    ("SELECT x.* FROM singer", "unknown_table", None),
]  # fmt: skip


@pytest.mark.parametrize("query", RIGHT)
def test_right_names_pass_as_they_do_in_sqlite(base: sqlite3.Connection, query: str) -> None:
    if " IN singer" not in query:  # of several columns, which is another mistake
        base.execute(f"EXPLAIN {query}")
    verdict = ask(SQLITE, query)
    assert (verdict.outcome, verdict.reason) == ("accepted", "")


@pytest.mark.parametrize(("query", "code", "reason"), WRONG)
def test_wrong_names_are_found_as_sqlite_finds_them(
    base: sqlite3.Connection, query: str, code: str, reason: str | None
) -> None:
    with pytest.raises(sqlite3.OperationalError, match=r"no such|ambiguous|cannot join"):
        base.execute(f"EXPLAIN {query}")
    verdict = ask(SQLITE, query)
    assert (verdict.outcome, verdict.code) == ("rejected", f"sql.{code}")
    assert verdict.repairable
    assert reason is None or verdict.reason == reason


@pytest.mark.parametrize(
    ("dialect", "query", "accepted"),
    [
        ("postgres", "SELECT s.name FROM public.singer s", True),
        ("postgres", "SELECT s FROM singer s", True),
        ("postgres", 'SELECT name FROM singer WHERE country = "France"', False),
        ("postgres", "SELECT age * 2 AS twice FROM singer WHERE twice > 3", False),
        ("postgres", "SELECT x FROM singer, LATERAL (SELECT age AS x) t", True),
        ("postgres", "SELECT g FROM generate_series(1, 3) g", True),
        ("postgres", "SELECT relname FROM pg_catalog.pg_class", True),
        ("postgres", "SELECT max FROM (SELECT max(age) FROM singer) t", True),
        ("postgres", "SELECT current_date, current_user FROM singer", True),
        ("duckdb", "SELECT list_transform([1], x -> x + age) FROM singer", True),
        ("duckdb", "SELECT * EXCLUDE (age) FROM singer", True),
        ("duckdb", "SELECT name.part FROM singer", True),
        ("duckdb", "FROM singer SELECT nam", False),
        ("mysql", 'SELECT name FROM singer WHERE country = "France"', True),
        ("tsql", "SELECT DATEDIFF(day, age, age) FROM singer", True),
    ],
)
def test_other_dialects(dialect: str, query: str, accepted: bool) -> None:
    assert ask(Sql(dialect, catalogue=DDL), query).accepted is accepted


NAMES = st.sampled_from(["name", "age", "capacity", "stadium_id", "nope", "n", '"name"', '"nope"'])
TABLES = st.sampled_from(["singer", "concert", "stadium", "old_singers", "singers"])
OWNERS = st.sampled_from(["", "", "singer.", "a.", "b."])


@st.composite
def queries(draw: st.DrawFn, depth: int = 1) -> str:
    def source(alias: str) -> str:
        table = draw(TABLES)
        if depth and draw(st.integers(0, 3)) == 0:
            return f"({draw(queries(depth - 1))}) {alias}"
        return draw(st.sampled_from([table, f"{table} {alias}", f"{table} AS {alias}"]))

    def column() -> str:
        return f"{draw(OWNERS)}{draw(NAMES)}"

    columns = ", ".join(
        draw(st.sampled_from([column(), f"{column()} AS n", "*", f"max({column()})"]))
        for _ in range(draw(st.integers(1, 2)))
    )
    text = f"SELECT {columns} FROM {source('a')}"
    if draw(st.booleans()):
        join = draw(st.sampled_from(["{} ON 1", "{} USING (stadium_id)", "{}"]))
        text += f" JOIN {join.format(source('b'))}"
    if draw(st.booleans()):
        text += f" WHERE {column()} > 1"
    if draw(st.booleans()):
        text += f" GROUP BY {column()}"
    if draw(st.booleans()):
        text += f" ORDER BY {column()}"
    return text


@settings(max_examples=300, deadline=None)
@given(queries())
@example("SELECT *, * FROM singer JOIN singer b ON 1 ORDER BY name")
def test_what_sqlite_takes_is_never_refused(base: sqlite3.Connection, query: str) -> None:
    try:
        base.execute(f"EXPLAIN {query}")
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            assert ask(SQLITE, query).outcome == "rejected"
        return
    verdict = ask(SQLITE, query)
    assert verdict.accepted, verdict.reason


def test_sources_agree(tmp_path: Path) -> None:
    ddl = tmp_path / "schema.sql"
    ddl.write_text("CREATE TABLE t (a INT, b TEXT); ALTER TABLE t ADD COLUMN c INT;")
    lite, duck = tmp_path / "base.sqlite", tmp_path / "base.duckdb"
    with closing(sqlite3.connect(lite)) as connection:
        connection.execute("CREATE TABLE t (a, b, c GENERATED ALWAYS AS (a + 1))")
        live = Catalogue.of(connection)
    with closing(duckdb.connect(str(duck))) as duck_connection:
        duck_connection.execute("CREATE TABLE t (a INT, b TEXT, c INT)")
        open_duck = Catalogue.of(duck_connection)
    sources: list[Any] = [
        ddl, str(ddl), "CREATE TABLE t (a INT, b TEXT, c INT)", lite, live, duck, open_duck,
        {"t": ["a", "b", "c"]}, {"T": {"a": "int", "b": "text", "c": "int"}}, PostgresLike(),
    ]  # fmt: skip
    for source in sources:
        verifier = Sql("sqlite", catalogue=source)
        assert ask(verifier, "SELECT a, b, c FROM t").accepted, source
        assert ask(verifier, "SELECT d FROM t").code == "sql.unknown_column", source


class PostgresLike:
    """A DB-API connection with an information_schema."""

    def cursor(self) -> PostgresLike:
        return self

    def execute(self, query: str) -> None:
        assert "information_schema.columns" in query

    def fetchall(self) -> list[tuple[str, str, str]]:
        return [("public", "t", "a"), ("public", "t", "b"), ("public", "t", "c")]

    def close(self) -> None:
        pass


def test_pg_dump_is_read() -> None:
    dump = (
        "SET x = 1;\nCREATE TABLE public.t (\n    a integer NOT NULL,\n    b text\n);\n"
        "COPY public.t (a, b) FROM stdin;\n1\tit's\n\\.\nALTER TABLE ONLY public.t\n"
        "    ADD CONSTRAINT k PRIMARY KEY (a);\n"
    )
    verifier = Sql("postgres", catalogue=dump)
    assert ask(verifier, "SELECT a, b FROM public.t").accepted
    assert ask(verifier, "SELECT a FROM public.u").code == "sql.unknown_table"


def test_columns_that_are_not_known_pass() -> None:
    verifier = Sql("sqlite", catalogue={"t": None})
    assert ask(verifier, "SELECT anything FROM t").accepted
    assert not ask(verifier, "SELECT anything FROM u").accepted


def test_sources_are_checked(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"nothing")
    for source in ({}, {"t": "a"}, {"t": [1]}, 3, tmp_path / "x.db", tmp_path / "no.sql",
                   "CREATE TABLE t (a INT", "CREATE TABLE"):  # fmt: skip
        with pytest.raises(ConfigError, match=r"catalogue|database"):
            Sql("sqlite", catalogue=source)
    with pytest.raises(ConfigError, match=r"^catalogue=True"):
        Sql("sqlite", catalogue=True)


def test_many_names_are_suggested_from_soon() -> None:
    verifier = Sql("sqlite", catalogue={f"table_{n}": [f"c{n}"] for n in range(5000)})
    assert "did you mean 'table_42'" in ask(verifier, "SELECT 1 FROM tabel_42").reason


DATA = Path(os.environ.get("CASCADE_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
SPIDER = DATA / "spider_dev.jsonl.gz"


@pytest.mark.skipif(not SPIDER.is_file(), reason="the recorded Spider answers are not here")
@pytest.mark.parametrize("kind", ["live", "ddl"])
def test_right_answers_of_spider_are_kept(kind: str) -> None:
    ddl = json.loads((DATA / "spider_dev_meta.json").read_text(encoding="utf-8"))["schema_ddl"]
    verifiers: dict[str, Sql] = {}
    asked: dict[tuple[str, str], bool] = {}
    right = kept = failing = caught = 0
    with gzip.open(SPIDER, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        base = row["db_id"]
        if base not in verifiers:
            source = DATA / "spider_dbs" / f"{base}.sqlite" if kind == "live" else ddl[base]
            verifiers[base] = Sql("sqlite", catalogue=source)
        for answer in row["models"].values():
            key = (base, answer["output"])
            if key not in asked:
                asked[key] = ask(verifiers[base], answer["output"]).accepted
            right += answer["correct"]
            kept += answer["correct"] and asked[key]
            failing += answer["exec"] == "error"
            caught += answer["exec"] == "error" and not asked[key]
    assert right > 5000
    assert kept / right > 0.999
    assert caught / failing > 0.8
