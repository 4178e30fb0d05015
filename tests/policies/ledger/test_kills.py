"""``kill -9`` while calls are written, and the ledger's benchmark in a few calls."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

import pytest

from benchmarks import ledger as benchmark
from benchmarks.ledger_kills import Killed, kill_writers, look

FLUSH_SECONDS = 1.0


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_killed_writers_leave_a_whole_ledger(path: Path) -> None:
    random, killed = Random(), list[Killed]()
    while len(killed) < 6:
        killed += kill_writers(path, random, flush_seconds=FLUSH_SECONDS, longest=0.6)
    found = look(path, killed, flush_seconds=FLUSH_SECONDS)
    assert (found.integrity, found.torn, found.lost) == ("ok", 0, [])
    assert found.accepted > len(killed)


def test_the_benchmark_runs_and_adds_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ledger", "cost", "rate", "--quick", "--json"])
    assert benchmark.main() == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"cost", "rate"}
    assert found["rate"]["most_dropped"] == found["rate"]["steady_dropped"] == 0
    assert found["rate"]["steady_calls"] > 0
    assert benchmark.missed({"rate": {"most_calls_a_second": 4999.0, "steady_dropped": 0}}) == [
        "fewer than 5,000 calls a second"
    ]
