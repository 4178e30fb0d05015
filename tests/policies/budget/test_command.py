"""``cascade budget``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cascade_policies.budget import BudgetSettings, Step, TaskBudget
from cascade_policies.budget.accounts import Accounts
from cascade_policies.budget.entries import Called, Reservation, Settlement, Wanted
from cascade_policies.ledger.database import connect
from tests.policies.conftest import Run

CENT = 10_000_000
PROJECT = """
[tasks.narrative]
tiers = [{ model = "openai:gpt-4o-mini" }, { model = "openai:gpt-4o" }]

[budget]
month = 1.0
steps = [{ above = 0.5, hedges = false }, { above = 0, only = "cheapest" }]
tasks.narrative = { month = 0.9, allow = ["only"] }
"""
SETTINGS = BudgetSettings(
    month=1.0,
    steps=[Step(above=0.5, hedges=False), Step(above=0.0, only="cheapest")],
    tasks={"narrative": TaskBudget(month=0.9, allow=["only"])},
)


@pytest.fixture
def project(command_line: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the working directory, of which nothing is spent."""
    monkeypatch.delenv("CASCADE_LEDGER", raising=False)
    monkeypatch.delenv("CASCADE_CONFIG", raising=False)
    folder = Path.cwd()
    (folder / "cascade.toml").write_text(PROJECT)
    return folder / ".cascade" / "ledger.db"


def spend(path: Path, *, settled: int, reserved: int, task: str = "narrative") -> None:
    """Cents, by this process."""
    with closing(connect(path)) as connection:
        accounts = Accounts(connection, SETTINGS, time.time)
        for cents in filter(None, (settled, reserved)):
            (answer,) = accounts.transact(wanted=[Wanted(task, cents * CENT)]).answers
            assert isinstance(answer, Reservation)
            if cents == settled:
                accounts.transact([Settlement(answer, 0, answer.amount)])
        accounts.transact(called=[Called(task, 40, 10)])


def lines(out: str) -> dict[tuple[str | None, str], dict[str, Any]]:
    """The lines of ``--json``, by task and window."""
    return {(line["task"], line["window"]): line for line in json.loads(out)["lines"]}


def test_before_anything_is_spent(command_line: Run, project: Path) -> None:
    code, out, err = command_line("budget")
    assert (code, err) == (0, "")
    assert "nothing is degraded" in out
    assert "$1.00" in out


def test_what_is_spent_and_set_aside(command_line: Run, project: Path) -> None:
    spend(project, settled=70, reserved=20)
    found = lines(command_line("budget", "--json").out)
    line = found["narrative", "month"]
    assert line["limit_usd"] == 0.9
    assert (line["spent_usd"], line["spent_low_usd"]) == (0.7, 0.0)
    assert (line["reserved_usd"], line["in_flight"], line["left_usd"]) == (0.2, 1, 0.0)
    assert (line["attempts"], line["calls"], line["degraded_calls"]) == (1, 40, 10)
    assert found[None, "month"]["left_usd"] == pytest.approx(0.1)
    assert found[None, "hour"]["limit_usd"] is None
    assert found[None, "hour"]["spent_usd"] == 0.7
    text = command_line("budget").out
    assert "10 of 40" in text
    assert "has $0.2 set aside for 1 attempts in flight" in text


def test_what_is_degraded(
    command_line: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A month of which nothing has passed, so that what is left is what counts.
    now = time.mktime((2031, 5, 1, 0, 0, 0, 0, 0, 0)) - time.timezone
    monkeypatch.setattr(time, "time", lambda: now)
    spend(project, settled=65, reserved=0, task="other")
    shape = json.loads(command_line("budget", "--json").out)["degraded"]
    by = {(each["task"], each["priority"]): each for each in shape}
    assert by[None, "normal"]["changes"] == ["hedges"]
    assert by[None, "normal"]["share"] == 1.0
    assert by[None, "background"]["changes"] == ["only"]
    assert by[None, "background"]["share"] == pytest.approx(0.6)
    assert by[None, "background"]["otherwise"] == ["hedges"]
    assert ("narrative", "normal") not in by  # its one allowed change is not due yet
    text = command_line("budget").out
    assert "degraded: 60% of background calls of all tasks: only the cheapest" in text
    assert "the others: no hedges" in text


def test_what_a_killed_process_had_set_aside_is_booked(command_line: Run, project: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from tests.policies.budget.test_command import spend
spend(Path({str(project)!r}), settled=0, reserved=30)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False)
    line = lines(command_line("budget", "--json").out)["narrative", "month"]
    assert (line["orphans"], line["orphaned_usd"], line["spent_usd"]) == (1, 0.3, 0.3)
    assert (line["reserved_usd"], line["in_flight"]) == (0.0, 0)
    assert "$0.30 (1)" in command_line("budget").out


def test_without_a_project_the_spending_is_shown(command_line: Run, project: Path) -> None:
    spend(project, settled=70, reserved=0)
    Path("cascade.toml").unlink()
    code, out, _ = command_line("budget", "--ledger", str(project))
    assert code == 0
    assert "nothing is limited" in out
    assert "$0.70" in out


def test_a_ledger_that_is_not_there_is_not_made(command_line: Run, project: Path) -> None:
    code, _, err = command_line("budget", "--ledger", "nowhere.db")
    assert code == 2
    assert "no ledger at nowhere.db" in err
    assert not Path("nowhere.db").exists()


def test_names_of_tasks_cannot_write_to_the_terminal(command_line: Run, project: Path) -> None:
    spend(project, settled=10, reserved=0, task="\x1b[2Jboo")
    out = command_line("budget").out
    assert "boo" in out
    assert "\x1b" not in out
