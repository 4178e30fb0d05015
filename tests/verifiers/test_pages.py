"""Every verifier has a page: what it catches, what it misses, what it costs, and an example."""

from __future__ import annotations

import ast
import inspect
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import cascade_verifiers
from cascade.verify import as_verifier

INDEX = Path(__file__).parents[2] / "docs" / "verifiers.md"
PAGES = INDEX.parent / "verifiers"
SOURCES = Path(inspect.getfile(cascade_verifiers)).parent
OURS = {
    point.name: point.value.partition(":")[2]
    for point in sorted(entry_points(group="cascade.verifiers"))
    if point.value.startswith("cascade_verifiers.")
}
SHARED = {"command": "external", "http": "external", "pairwise_judge": "judge"}
"""Verifiers on the page of another: two transports of one contract, two ways to ask a judge."""

PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def page_of(name: str) -> str:
    return SHARED.get(name, name)


def read(page: str) -> str:
    return (PAGES / f"{page}.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """What stands under the heading, down to the next one like it; the whole page without one."""
    text = read(page)
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else text


@pytest.mark.parametrize("name", [*OURS, "functions"])
def test_a_page_says_what_it_catches_misses_and_costs(name: str) -> None:
    text = section(page_of(name), OURS.get(name, name))
    typed = f"{OURS[name]}(" if name in OURS else "def "
    assert any(typed in example for example in PYTHON.findall(read(page_of(name))))
    for what in ("catches", "misses", "costs?"):
        # Said under a heading of its own, or as the first word of its sentence.
        assert re.search(rf"\*({what})\*|^## .*\b({what})\b", text, re.I | re.M), what


@pytest.mark.parametrize("page", sorted({page_of(name) for name in OURS} | {"functions"}))
def test_what_it_costs_is_printed_by_a_command(page: str) -> None:
    commands = re.findall(r"`python -m (benchmarks\.\w+)[^`]*`", read(page))
    assert commands
    for command in commands:
        assert (INDEX.parents[1] / f"{command.replace('.', '/')}.py").exists()


def test_every_verifier_has_a_page_and_every_page_is_linked() -> None:
    pages = {path.stem for path in PAGES.glob("*.md")}
    assert pages == {page_of(name) for name in OURS} | {"algebra", "functions"}
    index = INDEX.read_text(encoding="utf-8")
    assert set(re.findall(r"\(verifiers/(\w+)\.md\)", index)) == pages
    for name, verifier in OURS.items():
        row = rf"^\| \[[^\]]*`{verifier}`[^\]]*\]\(verifiers/{page_of(name)}\.md\)"
        assert re.search(row, index, re.MULTILINE), verifier


@pytest.mark.parametrize("path", [INDEX, *sorted(PAGES.glob("*.md"))], ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(
        r"\]\(([\w./-]*)(?:#([\w-]+))?\)", path.read_text(encoding="utf-8")
    ):
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, anchor


@pytest.mark.parametrize("page", sorted(path.stem for path in PAGES.glob("*.md")))
def test_examples_run(page: str) -> None:
    if page == "learned":
        pytest.importorskip("sklearn")
    text = read(page)
    names: dict[str, Any] = {}
    for block in PYTHON.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        exec(compile("\n" * line + block[1], str(PAGES / f"{page}.md"), "exec"), names)
    assert names


@pytest.mark.parametrize("name", [*OURS, "functions"])
def test_a_page_has_every_argument(name: str) -> None:
    callee = getattr(cascade_verifiers, OURS[name]) if name in OURS else as_verifier
    text = section(page_of(name), OURS.get(name, name))
    for argument in inspect.signature(callee).parameters:
        assert f"`{argument}`" in text, argument


def codes() -> set[str]:
    """Every code of a verdict that stands in the sources as it is."""
    found = set()
    for path in SOURCES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    own = "|".join(
        {name.partition("_")[0] for name in OURS} | {"external", "json", "tool", "check"}
    )
    code = re.compile(rf"(?:{own}|self_confidence|one_of|weighted|calibrated)\.[a-z_]+")
    return {text for text in found if code.fullmatch(text)}


def test_every_code_is_named() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in PAGES.glob("*.md"))
    assert {"finished.json", "judge.low", "external.answer_too_long"} <= codes()
    assert {code for code in codes() if f"`{code}`" not in pages} == set()
