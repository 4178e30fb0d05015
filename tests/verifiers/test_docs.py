"""The examples in docs/verifiers.md run; `test_pages` has those of each verifier's page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cascade_verifiers import registry

PAGE = Path(__file__).parents[2] / "docs" / "verifiers.md"


def test_examples_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    text = PAGE.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    blocks = list(re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert len(blocks) > 5
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 1
        exec(compile("\n" * line + block[1], str(PAGE), "exec"), names)
