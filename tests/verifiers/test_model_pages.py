"""The pages of the verifiers that weigh an answer: examples run, every argument is there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import cascade.verifiers

PAGES = Path(__file__).parents[2] / "docs" / "verifiers"


@pytest.mark.parametrize("name", ["self_confidence", "judge", "learned"])
def test_examples_run(name: str) -> None:
    if name == "learned":
        pytest.importorskip("sklearn")
    page = PAGES / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    blocks = list(re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert blocks
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 1
        exec(compile("\n" * line + block[1], str(page), "exec"), names)


@pytest.mark.parametrize(
    ("page", "verifier"),
    [
        ("self_confidence", "SelfConfidence"),
        ("judge", "Judge"),
        ("judge", "PairwiseJudge"),
        ("learned", "Learned"),
    ],
)
def test_every_argument_is_described(page: str, verifier: str) -> None:
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    for argument in inspect.signature(getattr(cascade.verifiers, verifier)).parameters:
        assert f"`{argument}" in text, argument


@pytest.mark.parametrize("page", ["self_confidence", "judge", "learned"])
def test_every_code_is_named(page: str) -> None:
    sources = Path(inspect.getfile(cascade.verifiers.find_verifier)).parent
    code = re.compile(rf'"({page}\.[a-z_]+)"')
    texts = [path.read_text(encoding="utf-8") for path in sources.glob("*.py")]
    found = {name for source in texts for name in code.findall(source)}
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    assert found
    assert {name for name in found if f"`{name}`" not in text} == set()
