"""``cascade record`` and ``cascade eval``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cascade.testing import Scripted, script
from cascade.types import Usage
from cascade_policies.project import current
from tests.policies.conftest import Run

POLICY = """
name = "sums"
[[tiers]]
name = "small"
model = "scripted:small"
verify = "number"
price = { input = 1, output = 1 }
[[tiers]]
name = "big"
model = "scripted:big"
price = { input = 1, output = 1 }
"""
ROWS = [("2 + 2?", "4"), ("3 + 3?", "6")]


@pytest.fixture(autouse=True)
def _project(command_line: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a policy and a golden set, and no project from before."""
    monkeypatch.delenv(current.ENVIRONMENT, raising=False)
    monkeypatch.setattr(current.around, "_held", None)
    Path("sums.toml").write_text(POLICY, encoding="utf-8")
    lines = [
        json.dumps({"id": f"r{at}", "prompt": asked, "reference": right})
        for at, (asked, right) in enumerate(ROWS)
    ]
    Path("golden.jsonl").write_text("\n".join(lines), encoding="utf-8")
    script("small", "4", "six")
    script("big", "4", Scripted(text="6"))


def test_a_golden_set_is_recorded_and_evaluated(command_line: Run) -> None:
    ran = command_line("record", "./sums.toml", "--golden", "golden.jsonl", "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["rows"], told["asked"], told["kept"]) == (2, 4, 0)
    assert {name: each["quality"] for name, each in told["models"].items()} == {
        "small": 0.5, "big": 1.0,
    }  # fmt: skip
    assert Path("golden.sums.recording.jsonl.gz").is_file()
    again = command_line("record", "./sums.toml", "--golden", "golden.jsonl")
    assert "0 calls made, 4 answers were there" in again.out

    wanted = ("eval", "./sums.toml", "--golden", "golden.jsonl", "--min-accuracy", "0.9")
    ran = command_line(*wanted, "--json")
    assert ran.code == 0, ran.err
    (found,) = json.loads(ran.out)["evaluations"]
    assert {one["name"]: one["score"]["mean"] for one in found["candidates"]} == {
        "small": 0.5, "big": 1.0, "sums": 1.0,
    }  # fmt: skip
    assert found["meets"] is True
    refused = command_line(*wanted[:-1], "0.8")
    assert refused.code == 2
    assert "pass --accept-new-thresholds" in refused.err
    assert command_line(*wanted[:-1], "0.8", "--accept-new-thresholds").code == 0


def test_what_does_not_meet_its_thresholds_ends_with_3(command_line: Run) -> None:
    script("big", "five", "five")
    ran = command_line(
        "eval", "./sums.toml", "--golden", "golden.jsonl", "--min-accuracy", "0.9", "--worst", "1"
    )
    assert ran.code == 3
    assert "none meets them" in ran.out
    assert "r1: 0.00 by big" in ran.out
    assert "answer: five" in ran.out


def test_a_baseline_names_what_broke(command_line: Run) -> None:
    wanted = ("eval", "./sums.toml", "--golden", "golden.jsonl")
    assert command_line(*wanted).code == 0
    Path("golden.sums.recording.jsonl.gz").unlink()
    script("small", "4", "six")
    script("big", "4", "five")
    runs = "golden.sums.recording.runs.jsonl"
    ran = command_line(*wanted, "--baseline", runs)
    assert ran.code == 0  # one row of two is no more than chance
    assert "sums: -50.0% (0 better, 1 worse of 2" in ran.out
    assert "worse: r1" in ran.out


def test_models_alone_are_evaluated_on_any_recording(command_line: Run) -> None:
    rows = [
        {"id": str(at), "prompt": "x", "models": {"a": {"output": "1", "correct": at < 3}}}
        for at in range(4)
    ]
    Path("r.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    ran = command_line("eval", "--recording", "r.jsonl")
    assert ran.code == 0, ran.err
    assert "75.0%" in ran.out
    assert Path("r.runs.jsonl").is_file()


def test_a_project_is_evaluated_task_by_task(command_line: Run) -> None:
    Path("cascade.toml").write_text(
        '[tasks.add]\npolicy = "sums.toml"\ngolden = "golden.jsonl"\nmin_accuracy = 0.9\n',
        encoding="utf-8",
    )
    ran = command_line("eval", "--json")
    assert ran.code == 0, ran.err
    (found,) = json.loads(ran.out)["evaluations"]
    assert (found["task"], found["thresholds"]) == ("add", {"min_accuracy": 0.9})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("eval",), "name a task or a policy"),
        (("eval", "./sums.toml"), "has no golden set"),
        (("eval", "--recording", "no.jsonl"), "no.jsonl: cannot be read"),
        (("eval", "./sums.toml", "--recording", "a", "--golden", "b"), "not both"),
        (("record", "./sums.toml", "--golden", "golden.jsonl", "--rate", "0"), "--rate 0"),
        (("record", "./sums.toml", "--golden", "golden.jsonl", "--max-cost", "0"), "--max-cost"),
        (("record", "./sums.toml", "--golden", "golden.jsonl", "--scorer", "exakt"), "'exact'"),
        (("record", "./sums.toml", "--golden", "golden.jsonl", "--samples", "0"), "--samples 0"),
    ],
)
def test_a_wrong_call_is_refused(command_line: Run, arguments: tuple[str, ...], said: str) -> None:
    ran = command_line(*arguments)
    assert ran.code == 2
    assert said in ran.err


def test_money_that_suffices_for_nothing_is_said(command_line: Run) -> None:
    ran = command_line(
        "record", "./sums.toml", "--golden", "golden.jsonl", "--max-cost", "0.000001"
    )
    assert ran.code == 2
    assert "nothing was recorded: the next call may cost" in ran.err


def test_money_that_does_not_suffice_for_all_ends_with_3(command_line: Run) -> None:
    usage = Usage(input_tokens=10, output_tokens=1_000)
    script("small", Scripted(text="4", usage=usage))
    wanted = ("record", "./sums.toml", "--golden", "golden.jsonl", "--concurrency", "1")
    ran = command_line(*wanted, "--max-cost", "0.009")
    assert ran.code == 3
    assert "not all was recorded: the next call may cost" in ran.err
    assert command_line(*wanted).code == 0
