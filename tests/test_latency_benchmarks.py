"""The latency benchmarks in a few calls: that they run and add up, not what they find."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType

import pytest

from benchmarks import added, in_flight, limits, overhead, race, turns
from benchmarks.contenders import BARE, OURS, Ask, Contender
from benchmarks.serving import canned_server


def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of a benchmark's command."""
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    try:
        code: int = module.main()
    finally:
        gc.unfreeze()
    return code


class TestTurns:
    """What is made of the times."""

    def test_calls_are_counted_and_as_many_are_in_flight_as_asked(self) -> None:
        running = most = 0

        async def ask() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

        taken = asyncio.run(turns.turn(ask, 10, 3))
        assert (len(taken.latencies), most) == (10, 3)

    @pytest.mark.parametrize(("share", "value"), [(50, 2), (75, 3), (76, 4), (99, 4), (1, 1)])
    def test_a_percentile_is_one_of_the_values(self, share: float, value: int) -> None:
        assert turns.percentile([4, 2, 1, 3], share) == value

    def test_quartiles_and_differences(self) -> None:
        assert turns.quartiles([1.0, 2.0, 3.0]) == (1.0, 2.0, 3.0)
        assert turns.quartiles([5.0]) == (5.0, 5.0, 5.0)
        assert turns.differences([3.0, 5.0], [1.0, 1.0]) == [2.0, 4.0]


class TestLimits:
    """A benchmark that fails where a figure is too large."""

    def late(self, *arguments: str, **figures: float) -> list[str]:
        parser = argparse.ArgumentParser()
        targets = {"a": 10.0, "b": 20.0}
        limits.add_limits(parser, targets)
        return limits.exceeded(figures, parser.parse_args(arguments), targets)

    def test_without_limits_nothing_fails(self) -> None:
        assert self.late(a=99.0) == []

    def test_a_figure_may_be_as_large_as_its_limit(self) -> None:
        assert self.late("--max", "a=5", a=5.0) == []
        assert self.late("--max", "a=5", a=5.5) == ["a is 5.5, more than 5"]

    def test_what_was_not_measured_fails_only_where_it_was_asked_for(self) -> None:
        assert self.late("--max", "a=5") == ["a was not measured"]
        assert self.late("--check", b=21.0) == ["b is 21, more than 20"]

    def test_one_limit_may_differ_from_its_target(self) -> None:
        assert self.late("--check", "--max", "b=30", a=11.0, b=21.0) == ["a is 11, more than 10"]

    def test_an_unknown_name_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            self.late("--max", "c=5")
        assert "give a, b" in capsys.readouterr().err


class TestOverhead:
    """The overhead benchmark in a few calls: that it runs, not what it finds."""

    @pytest.fixture(autouse=True)
    def tiny(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(added, "BLOCK", 4)
        monkeypatch.setattr(added, "WARM_UP", 1)
        monkeypatch.setattr(added, "MANY", (4, 2))
        monkeypatch.setattr(added, "LONG", (2, 2))
        monkeypatch.setattr(overhead, "ROUNDS", {1: (2, 1), 32: (4, 1)})

    def test_all_parts_but_memory(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        parts = ("added", "race", "calls")
        arguments = ("--quick", "--json", "--max-added", "1e9", "--max", "cpu_at_32_us=1e9")
        assert run(overhead, monkeypatch, *parts, *arguments) == 0
        found = json.loads(capsys.readouterr().out)
        assert set(found) == {*parts, "machine", "figures"}
        names = [one.name for one in (*BARE, *OURS)]
        assert [row["name"] for row in found["calls"]["rows"]] == names * 2
        assert found["calls"]["left_out"] == {}
        assert found["calls"]["rows"][0]["ratio"] == [1.0, 1.0, 1.0]
        assert set(found["figures"]) == {
            "added_p50_us", "added_p99_us", "added_at_32_cpu_us", "logged_p50_us", "race_cpu_us",
            "cpu_at_32_us",
        }  # fmt: skip
        assert found["figures"]["race_cpu_us"] == found["race"]["over_by_hand_us"][1]

    def test_a_limit_that_does_not_hold_is_the_exit_code(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(overhead, monkeypatch, "added", "--quick", "--max-added=-1000000000") == 1
        out, err = capsys.readouterr()
        assert "added_p50_us" in out
        assert "more than -1000000000" in err

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_memory_is_that_of_calls_which_the_server_has(self) -> None:
        with canned_server() as base_url:
            found = in_flight.memory(base_url, OURS[0], 30)
        assert found is not None
        assert found["reached"] == 30
        assert 0 < found["kb"] < 1000

    def test_who_is_missing_or_fails_is_named_and_left_out(self) -> None:
        @asynccontextmanager
        async def broken(base_url: str, model: str) -> AsyncIterator[Ask]:
            async def ask() -> str:
                return "something else"

            yield ask

        missing = Contender("missing", broken, ("no_such_package",), "peer")
        failing = Contender("failing", broken, (), "peer")
        with canned_server() as base_url:
            found = asyncio.run(
                overhead.measure_calls(base_url, [OURS[0], missing, failing], quick=True)
            )
        assert found["left_out"] == {
            "missing": "not installed: no_such_package",
            "failing": "failed: ValueError: another answer",
        }
        assert {row["name"] for row in found["rows"]} == {OURS[0].name}

    def test_an_unknown_part_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            run(overhead, monkeypatch, "adding")
        assert "give added, race, calls, memory" in capsys.readouterr().err


class TestRace:
    """The race benchmark: a few races, and its arithmetic on one made up."""

    def test_a_few_races(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ("--races", "40", "--in-flight", "4", "--mean", "0.05", "--json")
        assert run(race, monkeypatch, *arguments, "--max", "net_p50_ms=1e9") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["race"]["races"] + found["by_hand"]["races"] == 40 - found["load"]["left_out"]
        for kind in ("race", "by_hand"):
            assert found[kind]["races_with_losers"] > 0
            assert found[kind]["closed"]["p50_ms"] > 0
            # Nobody can have an answer before the server has sent it.
            assert found[kind]["net"]["p50_ms"] > 0
            assert found[kind]["server_late"]["p50_ms"] > 0
        assert set(race.TARGETS) <= set(found["figures"])

    def test_excess_lateness_and_closing_of_one_race(self) -> None:
        one = race.Race(0, ours=True, delays=(0.5, 0.25, 4.0), began=8.0, accepted=8.5, ended=8.75)
        one.served = {
            "a": race.Served(8.125, None, 8.5625),
            "b": race.Served(8.0625, 8.375, None),
            "c": race.Served(8.125, None, 8.625),
        }
        found = race.summary([one])
        assert {name: found[name]["p50_ms"] for name in
                ("excess", "server_late", "net", "before", "after", "closed")} == {
            "excess": 500.0, "server_late": 62.5, "net": 437.5,
            "before": 62.5, "after": 375.0, "closed": 125.0,
        }  # fmt: skip
        assert found["races_with_losers"] == 1

    def test_both_processes_draw_the_same(self) -> None:
        assert race.delays(7, 1.0) == race.delays(7, 1.0)
        assert race.delays(7, 2.0) == [2 * delay for delay in race.delays(7, 1.0)]
        assert race.delays(8, 1.0) != race.delays(7, 1.0)
