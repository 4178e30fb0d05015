"""What many calls come to, and ``cascade replay``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cascade.replay import Replayed, ReplayedAttempt
from cascade_policies.replaying.summary import mean_of, summarise

if TYPE_CHECKING:
    from tests.policies.conftest import Run


def call(tier: int | None, *, quality: float = 1.0, low: float = 1.0, high: float = 2.0,
         latency: float = 1.0) -> Replayed:  # fmt: skip
    attempts = []
    for index in range(2 if tier is None else tier + 1):
        outcome: Any = "accepted" if index == tier else "rejected"
        cost = low / 2, high / 2
        attempts.append(ReplayedAttempt(index, 0, 0, "first", outcome, 0.0, latency, *cost))
    return Replayed(
        outcome="exhausted" if tier is None else "accepted",
        tier=tier,
        quality=quality,
        low=low,
        high=high,
        latency=latency,
        escalations=len(attempts) - 1,
        attempts=tuple(attempts),
    )


def test_the_figures_of_four_calls() -> None:
    calls = [call(0), call(0, quality=0.0), call(1, latency=3.0), call(None, quality=0.0)]
    found = summarise(calls, ["small", "large"])
    assert found.accuracy is not None
    assert found.accuracy.mean == 0.5
    assert found.outcomes == {"accepted": 3, "exhausted": 1, "deadline": 0}
    assert found.per_1000 == (1000.0, 2000.0)
    assert found.latency is not None
    assert (found.latency["mean"], found.latency["p50"]) == (1.5, 1.0)
    assert found.escalations == 0.5
    small, large = found.tiers
    assert (small.started.count, small.out.count, small.answered.count) == (4, 2, 2)
    assert (large.started.count, large.out.count, large.answered.count) == (2, 1, 1)
    assert (small.out.of, large.out.of) == (4, 2)
    # Wilson's interval of 2 in 4, from its formula by hand.
    assert (round(small.out.low, 4), round(small.out.high, 4)) == (0.15, 0.85)


def test_what_is_not_known_is_none() -> None:
    found = summarise([call(0), call(0, quality=math.nan, low=math.nan, latency=math.nan)], ["a"])
    assert (found.accuracy, found.unknown) == (None, 1)
    assert (found.per_1000, found.latency) == (None, None)


def test_the_interval_of_qualities_between_0_and_1_is_the_same_each_time() -> None:
    values = np.array([0.0, 0.25, 0.5, 1.0, 0.75] * 20)
    first, again = mean_of(values), mean_of(values)
    assert first == again
    assert first is not None
    assert first.low < first.mean == 0.5 < first.high
    assert mean_of(np.array([])) is None


POLICY = """
name = "yes"
[[tiers]]
name = "small"
model = "scripted:small"
verify = { use = "length", max_words = 1 }
retries = 0
[[tiers]]
name = "large"
model = "scripted:large"
retries = 0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy, and a recording of four rows."""
    (tmp_path / "yes.toml").write_text(POLICY)
    lines: list[dict[str, Any]] = []
    for at, outcome in enumerate(["accepted", "accepted", "rejected", "rejected"]):
        small = {"output": "yes", "correct": at != 1, "latency": 1.0, "cost_usd": 0.001,
                 "verdicts": {"Length": {"outcome": outcome}}}  # fmt: skip
        large = {"output": "no", "correct": True, "latency": 2.0, "cost_usd": 0.004}
        models = {"small": small, "large": large}
        lines.append({"id": str(at), "prompt": "a prompt", "models": models})
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (tmp_path / "held.jsonl").write_text(text)
    return tmp_path


def test_the_command(folder: Path, command_line: Run) -> None:
    ran = command_line("replay", "./yes.toml", "held.jsonl", "--json")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert found["recording"]["rows"] == 4
    assert found["replay"]["accuracy"]["mean"] == 0.75
    assert found["replay"]["per_1000"] == [3.0, 3.0]
    assert found["replay"]["latency"]["mean"] == 2.0
    assert [tier["started"]["count"] for tier in found["replay"]["tiers"]] == [4, 2]


def test_what_if_is_beside_the_policy_as_it_stands(folder: Path, command_line: Run) -> None:
    changes = ("--what-if", "start_after=0", "--what-if", "prefer='cheapest'")
    ran = command_line("replay", "./yes.toml", "held.jsonl", *changes, "--json")
    found = json.loads(ran.out)
    assert found["changes"] == ["start_after=0", "prefer='cheapest'"]
    assert found["as_it_stands"]["latency"]["mean"] == 2.0
    assert found["what_if"]["latency"]["mean"] == 1.5
    # The losers of a race may have been billed for nothing, or for the whole.
    assert found["what_if"]["per_1000"] == [3.0, 5.0]
    shown = command_line("replay", "./yes.toml", "held.jsonl", *changes).out
    assert "as it stands" in shown
    assert "start_after=0 prefer='cheapest'" in shown


def test_each_call_goes_to_a_file(folder: Path, command_line: Run) -> None:
    command_line("replay", "./yes.toml", "held.jsonl", "--calls", "calls.jsonl")
    calls = [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]
    assert [one["tier"] for one in calls] == ["small", "small", "large", "large"]
    assert [len(one["attempts"]) for one in calls] == [1, 1, 2, 2]


def test_a_policy_that_needs_more_ends_with_what_it_needs(folder: Path, command_line: Run) -> None:
    ran = command_line("replay", "./yes.toml", "held.jsonl", "--what-if", "tiers.small.repairs=1")
    assert ran.code == 2
    assert "the answer to a repair in 2 of 4 rows" in ran.err


def test_a_change_of_no_such_form_is_named_as_it_was_given(folder: Path, command_line: Run) -> None:
    ran = command_line("replay", "./yes.toml", "held.jsonl", "--what-if", "threshold")
    assert (ran.code, "--what-if 'threshold'" in ran.err) == (2, True)
