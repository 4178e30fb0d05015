"""The examples in docs/verifiers.md, and on the pages of rules and combinations, run."""

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


@pytest.mark.parametrize(
    "name",
    ["agreement", "algebra", "external", "grounded", "json_schema", "rules", "sql", "tool_calls"],
)
def test_examples_of_a_page_run(name: str) -> None:
    page = PAGE.parent / "verifiers" / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, block.start()) + 1
        exec(compile("\n" * line + block[1], str(page), "exec"), names)
    assert names


@pytest.mark.parametrize(
    ("page", "verifier"),
    [
        ("agreement", "Agreement"),
        ("external", "Command"),
        ("external", "Http"),
        ("grounded", "Grounded"),
        ("json_schema", "JsonSchema"),
        ("sql", "Sql"),
        ("tool_calls", "ToolCalls"),
        *(("rules", name) for name in ("Finished", "Language", "NoPlaceholder", "NotRefusal",
                                       "Number", "OneOf", "PythonSyntax")),
    ],
)  # fmt: skip
def test_a_page_has_every_argument(page: str, verifier: str) -> None:
    import inspect

    import cascade_verifiers

    text = (PAGE.parent / "verifiers" / f"{page}.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {verifier}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    for argument in inspect.signature(getattr(cascade_verifiers, verifier)).parameters:
        assert f"`{argument}" in (section[1] if section else text), argument
