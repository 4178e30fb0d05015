"""The Python in docs/replay.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cascade import Policy, Tier
from cascade_policies.recordings import Recording
from cascade_policies.recordings.rows import row_of

PAGE = Path(__file__).parents[3] / "docs" / "replay.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.M)


@pytest.mark.parametrize("code", BLOCKS)
def test_the_examples_run(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"output": "yes", "correct": True, "latency": 1.0, "cost_usd": 0.5}
    row = row_of({"id": "a", "prompt": "?", "models": {"small": answer, "large": answer}})
    held = Recording((row,))
    monkeypatch.setattr(Recording, "load", lambda path: held)
    policy = Policy("p", [Tier("openai:small", name="small"), Tier("openai:large", name="large")])
    names: dict[str, Any] = {"policy": policy, "recording": held}
    exec(code, names)
    assert "means" not in names or names["means"].quality.tolist() == [1.0] * 9
