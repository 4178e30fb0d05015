"""The examples in docs/routers.md run, and its policy files are policies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from cascade import Policy
from cascade_policies import load_policy
from cascade_policies.routers import conditions, features, registry

PAGE = Path(__file__).parents[3] / "docs" / "routers.md"
TEXT = PAGE.read_text(encoding="utf-8")
TIERS = """
[[tiers]]
name = "small"
model = "openai:a"

[[tiers]]
name = "large"
model = "openai:b"
"""


def blocks(language: str) -> list[re.Match[str]]:
    return list(re.finditer(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))


def test_examples_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    assert len(blocks("python")) == 4
    for block in blocks("python"):
        names: dict[str, Any] = {"__name__": "docs"}
        line = TEXT.count("\n", 0, block.start()) + 1
        # Without this file's own `from __future__`: annotations are resolved at run time.
        exec(compile("\n" * line + block[1], str(PAGE), "exec", dont_inherit=True), names)
        if "main" in names:
            anyio.run(names["main"])


def test_policy_files_are_policies(tmp_path: Path) -> None:
    files = [block[1] for block in blocks("toml")]
    assert len(files) == 3
    rows = [(f"{word} {n}", {"small": word == "add", "large": True})
            for n in range(20) for word in ("add", "prove that")]  # fmt: skip
    from cascade_policies.routers import fit_router

    fit_router(rows, ["small", "large"], strength=0.01)[0].save(tmp_path / "router.json")
    for text in files:
        path = tmp_path / "policy.toml"
        path.write_text(text if "[[tiers]]" in text else text + TIERS)
        policy = load_policy(path)
        assert isinstance(policy, Policy)
        assert policy.router is not None


def test_the_figures_are_those_of_the_code() -> None:
    for name in features.COUNTED:
        assert f"`min_{name}`, `max_{name}`" in TEXT
    for name in ("code", "language", "regex"):
        assert f"| `{name}` |" in TEXT
        assert conditions.conditions_of({name: {"code": True, "language": "en"}.get(name, "x")})
    assert f"last {features.EXCERPT // 2:,} characters of one above {features.EXCERPT:,}" in TEXT
    assert f"first {features.WORDS_READ:,} characters" in TEXT
    assert f"{features.VECTOR_CHARS:,} characters the n-grams" in TEXT
