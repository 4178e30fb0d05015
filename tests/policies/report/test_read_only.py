"""A ledger that may only be read is read, and nothing is made beside it."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cascade.errors import ConfigError
from cascade_policies.ledger.database import connect_to_read, is_writable

if TYPE_CHECKING:
    from tests.policies.conftest import Run

pytestmark = pytest.mark.usefixtures("at_now")


@pytest.fixture
def read_only(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As it is to a user who may not write, even where the tests are run by one who always may."""
    ledger.chmod(0o444)
    real = os.access

    def access(path: str | Path, mode: int) -> bool:
        return mode != os.W_OK and real(path, mode)

    monkeypatch.setattr("os.access", access)
    monkeypatch.delenv("CASCADE_CONFIG", raising=False)
    return ledger


@pytest.mark.parametrize(
    "command",
    [
        ("report", "--json"),
        ("watch", "--once"),
        ("budget", "--json"),
        ("ledger", "export", "calls.jsonl"),
    ],
)
def test_it_is_read(command_line: Run, read_only: Path, command: tuple[str, ...]) -> None:
    before = read_only.read_bytes()
    code, out, err = command_line(*command, "--ledger", str(read_only))
    assert (code, err) == (0, "")
    assert out
    if command[-1] == "--json":
        assert json.loads(out)
    assert read_only.read_bytes() == before
    assert not list(read_only.parent.glob("ledger.db-*"))


def test_audit_reads_it(command_line: Run, read_only: Path) -> None:
    code, _, err = command_line("audit", str(read_only))
    assert (code, err) == (0, "")
    assert not list(read_only.parent.glob("ledger.db-*"))


def test_nothing_can_be_written_to_it(read_only: Path) -> None:
    with closing(connect_to_read(read_only)) as connection:
        assert not is_writable(connection)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM calls")


def test_one_of_an_earlier_version_says_what_to_do(
    ledger: Path, request: pytest.FixtureRequest
) -> None:
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("DELETE FROM migrations WHERE number = 6")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = request.getfixturevalue("read_only")
    with pytest.raises(ConfigError, match=r"earlier version.*make it writable"):
        connect_to_read(path)
