"""Finished calls whose escalation and cost are all that matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks.ledger_calls import call
from cascade.cost import Cost
from cascade.records import CallRecord
from cascade_policies.ledger.database import connect

MakeCall = Callable[..., CallRecord]

_MADE = call(1)


@pytest.fixture(autouse=True)
def _no_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CASCADE_CONFIG", "CASCADE_LEDGER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def make_call() -> MakeCall:
    """A finished call that was escalated or not, and what it cost in dollars, if that is known."""

    def make(escalated: bool = False, cost: float | None = 0.001, **changes: Any) -> CallRecord:
        known = Cost.unknown() if cost is None else Cost(cost, cost)
        return replace(_MADE, escalations=int(escalated), cost=known, **changes)

    return make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def connection(path: Path) -> Iterator[Connection]:
    with closing(connect(path)) as connection:
        yield connection
