"""Books on a clock of the test's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cascade_policies.ledger.database import connect

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC).timestamp()


class Clock:
    """A time that the test sets."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Go on, or back."""
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    """Noon of a summer's day, UTC."""
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "ledger.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to it, for `Accounts` or to look at it."""
    with closing(connect(path)) as opened:
        yield opened
