"""The ledger's database: where it is, how it is made, and how its schema grows."""

from __future__ import annotations

import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from cascade.errors import ConfigError, PolicyFileError
from cascade_policies.ledger import database
from cascade_policies.ledger.database import (
    Migration,
    connect,
    ledger_path,
    migrations,
    transaction,
)


def one(connection: sqlite3.Connection, sql: str) -> object:
    """The only value of the only row."""
    (value,) = connection.execute(sql).fetchone()
    return value


class TestPlace:
    """Where the ledger is."""

    def test_by_default_in_a_folder_of_its_own(self, tmp_path: Path) -> None:
        assert ledger_path() == tmp_path / ".cascade" / "ledger.db"

    def test_beside_the_project_file_above(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "cascade.toml").write_text("[ledger]\n")
        (tmp_path / "deep").mkdir()
        monkeypatch.chdir(tmp_path / "deep")
        assert ledger_path() == tmp_path / ".cascade" / "ledger.db"

    def test_what_is_given_goes_before_the_project_and_that_before_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASCADE_LEDGER", "named.db")
        assert ledger_path() == Path("named.db")
        (tmp_path / "cascade.toml").write_text('[ledger]\npath = "data/calls.db"\n')
        assert ledger_path() == tmp_path / "data" / "calls.db"
        assert ledger_path(Path("given.db")) == Path("given.db")

    @pytest.mark.parametrize("text", ["[ledger]\npath = 3\n", '[ledger]\npath = ""\n', "[ledger"])
    def test_a_project_file_that_is_wrong_is_named(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "cascade.toml").write_text(text)
        with pytest.raises(PolicyFileError, match=r"cascade\.toml"):
            ledger_path()


class TestMaking:
    """A new file."""

    def test_readers_do_not_wait_and_pages_can_be_given_back(self, path: Path) -> None:
        with closing(connect(path)) as connection:
            assert one(connection, "PRAGMA journal_mode") == "wal"
            assert one(connection, "PRAGMA auto_vacuum") == 2
            assert one(connection, "PRAGMA foreign_keys") == 1

    def test_who_opens_it_does_not_wait_for_who_writes(self, path: Path) -> None:
        with closing(connect(path)) as writer, transaction(writer):
            connect(path, timeout=0.0).close()

    def test_nobody_else_may_read_it(self, path: Path) -> None:
        with closing(connect(path)) as connection, transaction(connection):
            connection.execute("INSERT INTO latencies VALUES ('m', '{}', 0)")
            for file in path.parent.iterdir():
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file

    def test_the_default_folder_is_not_for_git(self) -> None:
        connect(ledger_path()).close()
        assert Path(".cascade/.gitignore").read_text() == "*\n"

    def test_many_may_make_it_at_once(self, path: Path) -> None:
        with ThreadPoolExecutor(8) as threads:
            for connection in threads.map(connect, [path] * 8):
                assert one(connection, "SELECT count(*) FROM calls") == 0
                connection.close()

    def test_what_is_not_there_is_not_made_unless_asked(self, path: Path) -> None:
        with pytest.raises(ConfigError, match=r"no ledger at .*ledger\.db.*CASCADE_LEDGER"):
            connect(path, create=False)
        assert not path.exists()

    def test_a_file_that_is_no_database_is_left_alone(self, path: Path) -> None:
        path.write_text("a diary, not a database; long enough to be looked at" * 100)
        before = path.read_bytes()
        with pytest.raises(ConfigError, match=r"cannot open the ledger .*ledger\.db.*database"):
            connect(path)
        assert path.read_bytes() == before

    @pytest.mark.parametrize("mark", [0, 7])
    def test_the_database_of_another_program_is_left_alone(self, path: Path, mark: int) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA application_id = {mark}")
            connection.execute("CREATE TABLE diary (day TEXT)")
        before = path.read_bytes()
        with pytest.raises(ConfigError, match="another path"):
            connect(path)
        assert path.read_bytes() == before


class TestMigrations:
    """The schema grows, and nothing runs twice."""

    def test_those_shipped_are_numbered_once_each(self) -> None:
        numbers = [step.number for step in migrations()]
        assert numbers[0] == 1
        assert len(set(numbers)) == len(numbers)

    def test_one_that_comes_later_is_run_even_with_a_lower_number(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trigger = "CREATE TRIGGER t AFTER INSERT ON made BEGIN\n  DELETE FROM made;\nEND;"
        shipped = migrations()
        late = Migration(9001, "9001_b.sql", "CREATE TABLE b (x);")
        early = Migration(900, "0900_a.sql", f"CREATE TABLE made (x);\n{trigger}\n")
        monkeypatch.setattr(database, "migrations", lambda: [*shipped, late])
        connect(path).close()
        monkeypatch.setattr(database, "migrations", lambda: [*shipped, early, late])
        for _ in range(2):
            with closing(connect(path)) as connection:
                connection.execute("INSERT INTO made VALUES (1)")
                assert one(connection, "SELECT count(*) FROM made") == 0
                numbers = [n for (n,) in connection.execute("SELECT number FROM migrations")]
                assert numbers == sorted([step.number for step in shipped] + [900, 9001])
                assert one(connection, "PRAGMA user_version") == 9001

    def test_one_that_fails_leaves_nothing(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shipped = migrations()
        broken = Migration(9001, "broken", "CREATE TABLE half (x);\nCREATE TABLE half (x);\n")
        with monkeypatch.context() as patch:
            patch.setattr(database, "migrations", lambda: [*shipped, broken])
            with pytest.raises(ConfigError, match="half"):
                connect(path)
        with closing(connect(path)) as connection:
            assert not one(connection, "SELECT count(*) FROM sqlite_schema WHERE name = 'half'")

    def test_the_ledger_of_a_later_version_is_refused(self, path: Path) -> None:
        with closing(connect(path)) as connection:
            connection.execute("INSERT INTO migrations VALUES (8000, 'later', 0)")
        with pytest.raises(ConfigError, match=r"later version.*8000.*upgrade"):
            connect(path)
