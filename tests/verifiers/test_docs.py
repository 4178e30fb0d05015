"""The examples in docs/verifiers.md run, one after the other."""

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
    assert len(blocks) > 10
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 1
        exec(compile("\n" * line + block[1], str(PAGE), "exec"), names)


def test_every_verifier_has_a_section_with_its_arguments() -> None:
    import inspect

    text = PAGE.read_text(encoding="utf-8")
    for name in ("Grounded", "JsonSchema", "Judge", "Length", "OneOf", "Regex", "SelfConfidence",
                 "Sql"):  # fmt: skip
        section = re.search(rf"^## {name}\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
        assert section is not None, name
        kind = getattr(__import__("cascade_verifiers"), name)
        for argument in inspect.signature(kind).parameters:
            assert argument in section[1], f"{name}: {argument}"
