"""``python -m benchmarks.drift`` and ``benchmarks.otel`` run, and their targets can be missed."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from benchmarks import drift, otel


def test_every_case_has_its_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["drift", "--runs", "2", "--json"])
    assert drift.main() == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["false_alarms"]) == 2 * len(drift.STABLE)
    assert len(found["delays"]) == 2 * len(drift.CHANGES)
    assert all(one["runs"] == 2 for one in found["delays"])


def test_missed_targets_are_told() -> None:
    alarms: dict[str, Any] = {"case": "c", "baseline": "given", "runs": 100, "with_alarm": 6}
    delay: dict[str, Any] = {"case": "25% to 45%", "baseline": "given", "median": None}
    assert len(drift.missed({"false_alarms": [alarms], "delays": [delay]})) == 2
    good = {"false_alarms": [alarms | {"with_alarm": 5}], "delays": [delay | {"median": 120.0}]}
    assert drift.missed(good) == []


def test_observers_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel, "CALLS", 20)
    monkeypatch.setattr(otel, "ROUNDS", 1)
    found = otel.measure()
    assert set(otel.TARGETS) < set(found)
    assert all(value > 0 for value in found.values())
