"""Many processes racing against one dollar, some of them killed: `benchmarks.budget`, smaller."""

from __future__ import annotations

import json

import pytest

from benchmarks import budget
from benchmarks.budget import Round, figures, run_round
from cascade_policies.budget.money import NANO

PROCESSES, RACES = 3, 60


@pytest.fixture(autouse=True)
def _dearer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dollar that few races use up."""
    monkeypatch.setenv(budget.DEARER, "6")


def test_races_of_many_processes_do_not_overspend() -> None:
    found = run_round(PROCESSES, RACES, kill=0, seed=1)
    assert found.billed <= found.booked <= NANO
    assert found.booked > 0.9 * NANO, "the money was there to be spent"
    assert (found.reserved, found.orphaned) == (0, 0)
    assert found.races > 0


def test_nor_when_some_are_killed() -> None:
    found = run_round(PROCESSES, RACES, kill=2, seed=2)
    assert found.billed <= found.booked <= NANO
    assert found.reserved == 0, "what the dead had set aside is set aside no more"
    assert found.orphaned > 0, "and is counted as spent"


def test_the_figures_are_the_worst_of_all_rounds() -> None:
    rounds = [
        Round(billed=NANO + 5, booked=NANO, orphaned=0, reserved=0, requests=1, races=1, seconds=1),
        Round(billed=1, booked=2, orphaned=0, reserved=7, requests=1, races=1, seconds=1),
    ]
    assert figures(rounds) == {
        "overspent_nanos": 5.0, "unbooked_nanos": 5.0, "stranded_nanos": 7.0,
    }  # fmt: skip


def test_the_benchmark_fails_where_a_dollar_was_overspent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Round(
        billed=NANO + 1, booked=NANO, orphaned=0, reserved=0, requests=1, races=1, seconds=1
    )
    asked = {"p50_us": 1.0, "p99_us": 1.0, "a_second": 1.0}
    monkeypatch.setattr(budget, "run_round", lambda *_: bad)
    monkeypatch.setattr(budget, "run_asking", lambda *_: asked)
    assert budget.main(["--rounds", "1", "--check", "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["overspent_nanos"] == 1.0
    assert "overspent_nanos is 1" in err
    assert budget.main(["--rounds", "1"]) == 0
    assert "$1.000000001" in capsys.readouterr().out
