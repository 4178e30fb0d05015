"""``python -m benchmarks.replay`` without its timing."""

from __future__ import annotations

import pytest

from benchmarks import replay
from cascade.replay import Replayed
from cascade_policies.replaying import Settings, Table
from cascade_policies.replaying.calls import replay_all


def test_random_policies_come_to_the_same_three_times() -> None:
    found = replay.compare(40, 2)
    assert found["differences"] == []
    assert found["calls"] == 80
    assert found["cancelled"] > 0, "nothing was compared of what a cancelled call costs"


def test_a_difference_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    once = replay_all

    def wrong(table: Table, settings: Settings) -> list[Replayed]:
        return once(table, settings)[::-1]

    monkeypatch.setattr("benchmarks.replay.replay_all", wrong)
    assert replay.compare(10, 3)["differences"]
