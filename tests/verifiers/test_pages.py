"""Every verifier has a page: what it catches, what it misses, what it costs, and an example."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import cascade.verifiers
from cascade.verify import as_verifier

INDEX = Path(__file__).parents[2] / "docs" / "verifiers.md"
PAGES = INDEX.parent / "verifiers"
OURS = sorted(
    point.value.partition(":")[2]
    for point in entry_points(group="cascade.verifiers")
    if point.value.startswith("cascade_verifiers.")
)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def linked(words: str) -> str:
    """The page that the index's table links from the cell with these words."""
    for line in INDEX.read_text(encoding="utf-8").splitlines():
        found = re.match(r"\| \[(.*?)\]\(verifiers/(\w+)\.md\)", line)
        if found and words in found[1]:
            return (PAGES / f"{found[2]}.md").read_text(encoding="utf-8")
    raise AssertionError(f"no row of {INDEX.name} links a page of {words}")


@pytest.mark.parametrize(
    ("words", "typed"), [*((f"`{name}`", f"{name}(") for name in OURS), ("a plain function", "def")]
)
def test_a_page_says_what_it_catches_misses_and_costs(words: str, typed: str) -> None:
    page = linked(words)
    assert any(typed in example for example in PYTHON.findall(page))
    for word in ("catches", "misses", "costs?|time"):
        assert re.search(rf"\b({word})\b", page, re.IGNORECASE), word


def test_every_page_is_linked() -> None:
    links = set(re.findall(r"\(verifiers/(\w+)\.md\)", INDEX.read_text(encoding="utf-8")))
    assert links == {path.stem for path in PAGES.glob("*.md")}


@pytest.mark.parametrize("name", ["functions", "length", "regex"])
def test_examples_run(name: str) -> None:
    page = PAGES / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in PYTHON.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        exec(compile("\n" * line + block[1], str(page), "exec"), names)
    assert names


@pytest.mark.parametrize(
    ("page", "callee"),
    [
        ("functions", as_verifier),
        ("length", cascade.verifiers.Length),
        ("regex", cascade.verifiers.Regex),
    ],
)
def test_a_page_has_every_argument(page: str, callee: Any) -> None:
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    for argument in inspect.signature(callee).parameters:
        assert f"`{argument}`" in text, argument
