"""The examples of docs/shadow.md run, and the benchmark does."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from benchmarks import canary

DOCS = Path(__file__).parents[3] / "docs"


def test_examples_run() -> None:
    examples = re.findall(r"```python\n(.*?)```", (DOCS / "shadow.md").read_text(), re.DOTALL)
    assert len(examples) == 5
    space: dict[str, object] = {}
    for example in examples:
        exec(compile(example, "shadow.md", "exec"), space)


def test_every_event_is_documented() -> None:
    folder = Path(sys.modules["cascade_policies.shadow"].__path__[0])
    code = "".join(file.read_text() for file in folder.glob("*.py"))
    page = (DOCS / "shadow.md").read_text()
    events = set(re.findall(r'(?:warn|inform)\(\s*"(cascade\.\w+)"', code))
    assert len(events) == 6
    assert [event for event in sorted(events) if event not in page] == []


def test_the_benchmark_finds_drops(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(canary, "DROPS", (0.2,))
    monkeypatch.setattr(canary, "CALLS", 2000)
    monkeypatch.setattr(sys, "argv", ["canary", "--runs", "10", "--check", "--json"])
    assert canary.main() == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["runs"] for one in found["false"]] == [10] * 4
    assert [one["found"] for one in found["delays"]] == [2, 2]
    assert all(one["median"] < 5000 for one in found["delays"])
