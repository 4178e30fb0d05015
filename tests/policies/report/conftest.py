"""A ledger of made-up calls: the week before NOW and the one before that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import copyfile
from sqlite3 import Connection
from typing import Final

import pytest

from benchmarks.ledger_data import fill
from cascade_policies.ledger.database import connect

NOW: Final = 1_800_000_000.0
"""2027-01-15 08:00 UTC: on the edge of an hour, not of a day."""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    with closing(connect(path)) as connection:
        fill(connection, 4000, until=NOW, days=14.0, seed=7)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def ledger(made: Path, tmp_path: Path) -> Path:
    """The path of a ledger of one's own."""
    copyfile(made, tmp_path / "ledger.db")
    return tmp_path / "ledger.db"


@pytest.fixture
def connection(ledger: Path) -> Iterator[Connection]:
    with closing(connect(ledger)) as connection:
        yield connection


@pytest.fixture
def at_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands think that it is NOW."""
    monkeypatch.setattr("time.time", lambda: NOW)
