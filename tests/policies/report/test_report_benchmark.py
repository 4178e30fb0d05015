"""The benchmark without its size."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report import TARGETS, measure, table


def test_every_form_of_the_report_is_timed(tmp_path: Path) -> None:
    found = measure(tmp_path / "ledger.db", attempts=300, days=2.0, rounds=1)
    assert found["attempts"] >= 300
    assert set(TARGETS) <= set(found["figures"])
    assert all(value > 0 for value in found["figures"].values())
    assert len(table(found).splitlines()) == 1 + len(found["figures"])
