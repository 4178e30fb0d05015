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
    assert len(blocks) > 10
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 1
        exec(compile("\n" * line + block[1], str(PAGE), "exec"), names)


@pytest.mark.parametrize("name", ["algebra", "external", "grounded", "rules"])
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
        ("external", "Command"),
        ("external", "Http"),
        ("grounded", "Grounded"),
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
