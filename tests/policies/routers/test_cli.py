"""``cascade route fit`` and ``cascade route explain``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cascade import Policy, Tier
from cascade.routing import Entry
from cascade.testing import ScriptedModel
from cascade_policies.routers import Heuristic, Learned, Llm

EASY = "Add {0} and {0}."
HARD = "Prove that for every integer n above {0} the sum of the first n cubes is a square."


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    rows = [(EASY.format(n), n % 10 > 0) for n in range(60)]
    rows += [(HARD.format(n), n % 10 == 0) for n in range(60)]
    path = tmp_path / "recorded.jsonl"
    with path.open("w") as file:
        for prompt, right in rows:
            models = {"mini": {"correct": right}, "maxi": {"correct": True}}
            file.write(json.dumps({"prompt": prompt, "models": models}) + "\n")
    return path


@pytest.fixture
def policies(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What names lead to, instead of files."""
    found: dict[str, Any] = {}
    monkeypatch.setattr("cascade_policies.search.resolve", found.__getitem__)
    return found


def policy(router: Any) -> Policy:
    tiers = [Tier(ScriptedModel("x"), name=name) for name in ("small", "large")]
    return Policy("p", tiers, router=router)


def test_fit_writes_a_router(command_line: Any, recording: Path, tmp_path: Path) -> None:
    tiers = ("--tiers", "small=mini,large=maxi", "--strength=0.01")
    ran = command_line("route", "fit", str(recording), *tiers, "--out", "r.json")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].split() == ["tier", "rows", "right", "AUROC"]
    assert lines[1].split()[:3] == ["small", "120", "50.0%"]
    assert lines[2].split() == ["large", "120", "100.0%", "too", "few"]
    assert lines[-1] == "120 rows; written to r.json"
    assert Learned.load(tmp_path / "r.json").tiers == ("small", "large")


def test_fit_in_json_takes_the_models_of_the_recording(command_line: Any, recording: Path) -> None:
    ran = command_line("route", "fit", str(recording), "--strength=0.01", "--json")
    said = json.loads(ran.out)
    model = Learned.load("router.json").to_dict()
    assert said["data"] == model["data"]
    assert [tier["name"] for tier in said["tiers"]] == ["mini", "maxi"]
    assert (said["file"], said["rows"]) == ("router.json", 120)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tiers", "small=mini", "large=max"), "--tiers large=max: not in the recording"),
        (("--tiers", "mini,,maxi"), "--tiers '': write NAME or NAME=MODEL"),
        (("--tiers", "mini="), "--tiers 'mini=': write NAME"),
        (("--tiers", "mini,mini"), "--tiers mini: given twice"),
        (
            ("--strength=0.01", "--out", "no/such/folder.json"),
            "--out no/such/folder.json: cannot be written",
        ),
        (("--strength", "0"), "strength=0.0: needs a number above 0"),
    ],
)
def test_fit_says_what_is_wrong(
    command_line: Any, recording: Path, arguments: tuple[str, ...], message: str
) -> None:
    ran = command_line("route", "fit", str(recording), *arguments)
    assert ran.code == 2
    assert message in ran.err


def test_explain_a_heuristic(command_line: Any, policies: dict[str, Any]) -> None:
    policies["p"] = policy(Heuristic([{"when": {"min_words": 3}, "start": "large"}]))
    ran = command_line("route", "explain", "p", "one two three")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[:5] == [
        "starts at  large",
        "choices    small, large",
        "router     heuristic",
        "label      min_words=3",
        "reason     rule 1 (min_words=3): the prompt has 3 words",
    ]
    assert lines[5] == "cost       $0"
    assert lines[6].startswith("latency    ")
    assert '"words":3' in lines[7]
    assert command_line("route", "explain", "p", stdin="one").out.startswith(
        "starts at  small (the first; no opinion)\n"
    )


def test_explain_an_llm_in_json(command_line: Any, policies: dict[str, Any]) -> None:
    model = ScriptedModel("hard")
    policies["p"] = policy(Llm(model, {"easy": "small", "hard": "large"}))
    said = json.loads(command_line("route", "explain", "p", "one", "--json").out)
    assert said["latency_s"] >= 0
    assert said["cost"] == {"low": None, "high": None, "basis": "reported"}
    assert "one" in said.pop("evidence")["user"]
    del said["latency_s"], said["cost"]
    assert said == {
        "policy": "p",
        "router": "llm",
        "choices": ["small", "large"],
        "start": "large",
        "opinion": True,
        "label": "hard",
        "reason": "scripted says 'hard'",
    }
    assert len(model.calls) == 1


def test_explain_a_learned_one(
    command_line: Any, recording: Path, policies: dict[str, Any]
) -> None:
    command_line(
        "route", "fit", str(recording), "--tiers", "small=mini,large=maxi", "--strength=0.01"
    )
    policies["p"] = policy(Learned.load("router.json"))
    said = json.loads(command_line("route", "explain", "p", HARD.format(3), "--json").out)
    assert said["start"] == "large"
    assert set(said["evidence"]["probabilities"]) == {"small", "large"}
    assert len(said["evidence"]["data"]) == 64


def test_explain_a_function_and_an_entry(command_line: Any, policies: dict[str, Any]) -> None:
    def crash(text: str) -> str:
        raise RuntimeError("no")

    policies["p"] = policy(crash)
    said = json.loads(command_line("route", "explain", "p", "one", "--json").out)
    assert (said["start"], said["opinion"], said["evidence"]) == ("small", False, None)
    assert said["reason"] == "the router failed: RuntimeError: no"
    policies["e"] = Entry("e", lambda text: "b", {"a": "x", "b": "y"})
    assert command_line("route", "explain", "e", "one").out.startswith(
        "starts at  b\nchoices    a, b\n"
    )


def test_explain_without_a_router(command_line: Any, policies: dict[str, Any]) -> None:
    policies["p"] = policy(None)
    ran = command_line("route", "explain", "p", "one")
    assert ran.code == 2
    assert "policy 'p': has no router: calls begin at its first tier" in ran.err
