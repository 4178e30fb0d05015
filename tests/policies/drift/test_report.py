"""What was found stands in the report, on its page and in the live view."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cascade_policies.drift import Drift, save
from cascade_policies.drift.monitor import COST, RATE
from cascade_policies.ledger.database import connect, transaction
from cascade_policies.ledger.insert import write_calls
from cascade_policies.ledger.rows import Recorder
from tests.policies.drift.conftest import MakeCall

if TYPE_CHECKING:
    from tests.policies.conftest import Run

NOW = 1_800_000_000.0


@pytest.fixture
def ledger(path: Path, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One call, a change of its task an hour ago, and one of another task a year ago."""
    monkeypatch.setattr("time.time", lambda: NOW)
    monkeypatch.setenv("CASCADE_LEDGER", str(path))
    found = [
        Drift(policy="tickets", what=RATE, at=NOW - 1800, before=0.25, now=0.45, evidence=2e4,
              calls=93),
        Drift(policy="mails", what=COST, at=NOW - 4000, before=0.002, now=0.004, evidence=2e4,
              calls=71),
        Drift(policy="tickets", what=RATE, at=NOW - 4e7, before=0.77, now=0.25, evidence=2e4,
              calls=5),
    ]  # fmt: skip
    with closing(connect(path)) as connection:
        write_calls(connection, Recorder(), [make_call(began=NOW - 60)])
        with transaction(connection):
            save(connection, {}, found, now=NOW)
    return path


@pytest.mark.usefixtures("ledger")
class TestReport:
    def test_table(self, command_line: Run) -> None:
        code, out, _ = command_line("report")
        assert code == 0
        assert "escalation rate" in out
        assert "25%" in out
        assert "45%" in out
        assert "$0.002" in out
        assert "77%" not in out, "it is not of the period"

    def test_json(self, command_line: Run) -> None:
        found = json.loads(command_line("report", "--json", "--task", "tickets").out)["drift"]
        assert [(one["policy"], one["what"], one["calls"]) for one in found] == [
            ("tickets", RATE, 93)
        ]

    def test_page(self, command_line: Run, tmp_path: Path) -> None:
        page = tmp_path / "report.html"
        assert command_line("report", "--html", str(page)).code == 0
        assert "<h2>Drift</h2>" in page.read_text()

    def test_watch(self, command_line: Run) -> None:
        out = command_line("watch", "--once", "--hours", "2").out
        assert "escalation rate" in out
        assert "45%" in out
