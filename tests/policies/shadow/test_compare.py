"""``cascade compare``: what it says of pairs in a ledger."""

from __future__ import annotations

import json
from contextlib import closing
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from benchmarks.ledger_calls import call
from cascade.cost import Cost
from cascade_policies.ledger.database import connect
from cascade_policies.ledger.insert import write_calls
from cascade_policies.ledger.rows import Recorder
from cascade_policies.shadow import compare_pairs
from cascade_policies.shadow.pairs import Pair, Side

if TYPE_CHECKING:
    from tests.policies.conftest import Run


def side(accepted: bool = True, cost: float | None = 1.0, latency: float = 1.0) -> Side:
    return Side("accepted" if accepted else "exhausted", cost, latency, accepted, "yes", None)


def write(path: Path, count: int, recorder: Recorder | None = None, **shadow: Any) -> None:
    """Calls of "tickets", each with a shadow by "next"."""
    records = []
    for number in range(count):
        original = call(number)
        its = {"policy": "next", "variant": f"shadow of {original.id}", **shadow}
        records += [original, replace(call(number), **its)]
    with closing(connect(path)) as connection:
        write_calls(connection, recorder or Recorder(), records)


@pytest.fixture
def run(command_line: Run, path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("CASCADE_CONFIG", raising=False)
    monkeypatch.setenv("CASCADE_LEDGER", str(path))
    return command_line


def test_json(run: Run, path: Path) -> None:
    write(path, 40, cost=Cost(0.5, 2.0), latency=0.5)
    code, out, err = run("compare", "tickets", "next", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["policy"], found["shadow"], found["pairs"]) == ("tickets", "next", 40)
    assert found["accepted"]["difference"] == 0.0
    assert found["accepted"]["p"] == 1.0
    assert (found["agreement"]["of"], found["agreement"]["share"]) == (40, 1.0)
    assert found["cost"]["second"] == 2.0
    assert found["cost"]["low"] < found["cost"]["difference"] < found["cost"]["high"]
    assert found["latency"]["difference"] == pytest.approx(0.5 - (0.3 * 30 + 1.2 * 10) / 40)


def test_a_table(run: Run, path: Path) -> None:
    write(path, 30, latency=0.1)
    code, out, _ = run("compare", "tickets", "next", "--since", "1d")
    assert code == 0
    words = {line.split("  ")[0]: line for line in out.splitlines()}
    assert "30 calls that both answered" in words
    assert words["accepted"].split()[1:3] == ["100.0%", "100.0%"]
    assert "<0.001" in words["latency"]
    assert "88.6% to 100.0%" in words["same answer"]


def test_answers_that_are_hashed_are_compared_and_those_not_kept_are_not(
    run: Run, path: Path
) -> None:
    write(path, 5, Recorder(answer="hash"))
    write(path, 5, Recorder(answer="none"))
    found = json.loads(run("compare", "tickets", "next", "--json").out)
    assert (found["pairs"], found["agreement"]["of"], found["agreement"]["share"]) == (10, 5, 1.0)
    assert "of 5 pairs" in run("compare", "tickets", "next").out
    assert "from 30 pairs on" in run("compare", "tickets", "next").out


def test_shadows_that_did_not_finish_do_not_count(run: Run, path: Path) -> None:
    write(path, 3)
    write(path, 2, outcome="error", result=None)
    found = json.loads(run("compare", "tickets", "next", "--json").out)
    assert (found["pairs"], found["unfinished"]) == (3, 2)
    assert "2 more that the shadow did not finish" in run("compare", "tickets", "next").out


def test_what_is_not_there_is_named(run: Run, path: Path) -> None:
    code, _, err = run("compare", "tickets", "next")
    assert (code, "no ledger at" in err) == (2, True)
    write(path, 0)
    assert "the ledger has no shadows" in run("compare", "tickets", "next").err
    write(path, 1)
    code, _, err = run("compare", "tickets", "nxt")
    assert code == 2
    assert "no shadow by 'nxt' of 'tickets': there is 'next' of 'tickets'" in err
    write(path, 1, variant="shadow of 0123456789abcdef, budget")  # its call was pruned
    assert json.loads(run("compare", "tickets", "next", "--json").out)["pairs"] == 1


def test_calls_that_began_before_are_left_out(run: Run, path: Path) -> None:
    write(path, 2)
    with closing(connect(path)) as connection:
        connection.execute("UPDATE calls SET began = began - 400000")
    assert "since 1d: look further back" in run("compare", "tickets", "next", "--since", "1d").err
    assert run("compare", "tickets", "next", "--since", "2w").code == 0


@given(lost=st.integers(0, 30), won=st.integers(0, 30), same=st.integers(0, 30))
def test_mcnemar_is_exact(lost: int, won: int, same: int) -> None:
    pairs: list[Pair] = [(side(), side(False))] * lost + [(side(False), side())] * won
    pairs += [(side(), side())] * same
    found = compare_pairs(pairs).accepted
    if not pairs:
        assert found is None
        return
    assert found is not None
    of, least = lost + won, max(lost, won)
    tail = sum(comb(of, number) for number in range(least, of + 1)) / 2**of
    assert found.p == pytest.approx(min(1.0, 2 * tail))
    assert (found.only_first, found.only_second) == (lost, won)
    assert -1 <= found.low <= found.high <= 1
    if found.low > 0:
        assert found.difference > 0
    if found.high < 0:
        assert found.difference < 0


@given(
    costs=st.lists(st.tuples(st.floats(0, 10) | st.none(), st.floats(0, 10)), max_size=80),
)
def test_costs_that_are_not_known_are_left_out(costs: list[tuple[float | None, float]]) -> None:
    found = compare_pairs([(side(cost=a), side(cost=b)) for a, b in costs]).cost
    known = [b - a for a, b in costs if a is not None]
    assert found.of == len(known)
    if known:
        assert found.difference == pytest.approx(sum(known) / len(known), abs=1e-9)
    if len(known) < 30:
        assert found.p is None
    else:
        assert found.low is not None
        assert found.high is not None
        assert found.p is not None
        assert 0 <= found.p <= 1
        assert found.low <= found.high


def test_a_difference_that_is_always_the_same_is_no_chance() -> None:
    found = compare_pairs([(side(latency=1.0), side(latency=0.7))] * 40).latency
    assert found.p == 0.0
    assert found.difference == pytest.approx(-0.3)
    assert compare_pairs([(side(), side())] * 40).latency.p == 1.0
