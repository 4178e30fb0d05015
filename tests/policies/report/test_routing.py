"""What routers cost is in every form of the report, and only where there are routers."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from benchmarks.ledger_calls import call
from cascade.cost import Cost
from cascade.routing import Route
from cascade_policies.ledger.database import connect, migrations, transaction
from cascade_policies.ledger.insert import write_calls
from cascade_policies.ledger.rows import Recorder
from cascade_policies.report import rollups
from cascade_policies.report.metrics import Metrics

if TYPE_CHECKING:
    from tests.policies.conftest import Run

LINE = 'cascade_routing_cost_usd_total{policy="desk",bound="high"} 0.75'


@pytest.fixture
def routed(tmp_path: Path) -> Path:
    path = tmp_path / "routed.db"
    records = [replace(call(number), policy="desk") for number in range(3)]
    for number in (0, 1):
        route = Route(label="hard", cost=Cost(0.25, 0.375), latency=0.1)
        records[number] = replace(records[number], route=route)
    with closing(connect(path)) as connection:
        write_calls(connection, Recorder(), records)
    metrics = Metrics()
    for record in records:
        metrics.call_finished(record)
    assert LINE in metrics.text()
    return path


def test_each_form_has_it(command_line: Run, routed: Path, tmp_path: Path) -> None:
    options = ("--ledger", str(routed), "--since", "2020-01-01")
    (task,) = json.loads(command_line("report", "--json", *options).out)["tasks"]
    assert (task["routed"], task["routing"]) == (2, {"low": 0.5, "high": 0.75, "unknown": 0})
    assert "$0.50 to $0.75" in command_line("report", *options).out
    assert command_line("report", "--html", "o.html", *options).code == 0
    assert "2 calls routed" in (tmp_path / "o.html").read_text()
    assert LINE in command_line("report", "--prometheus", "--ledger", str(routed)).out


def test_a_ledger_of_before_gets_the_same_sums(routed: Path) -> None:
    every = "SELECT * FROM rollup_calls ORDER BY span, start, outcome"
    with closing(sqlite3.connect(routed)) as connection:
        kept = connection.execute(every).fetchall()
        for name in ("routed", "route_low", "route_high", "route_unknown"):
            connection.execute(f"ALTER TABLE rollup_calls DROP COLUMN {name}")
        connection.execute("DELETE FROM migrations WHERE number = 6")
        connection.commit()
    assert migrations()[5].name == "0006_routing.sql"
    with closing(connect(routed)) as connection:
        assert connection.execute(every).fetchall() == kept
        with transaction(connection):
            rollups.rebuild(connection)
        assert connection.execute(every).fetchall() == kept


@pytest.mark.usefixtures("at_now")
def test_without_a_router_nothing_is_said(command_line: Run, ledger: Path) -> None:
    assert "routing" not in command_line("report", "--ledger", str(ledger)).out
    text = command_line("report", "--prometheus", "--ledger", str(ledger)).out
    assert "cascade_routing_cost_usd_total{" not in text
