"""The pages name every scorer, argument and option that there is, and no other."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from cascade_policies.commands.evaluate import evaluate
from cascade_policies.commands.record import record
from cascade_policies.golden.registry import BUILT_IN
from cascade_verifiers.making import import_object

DOCS = Path(__file__).parents[3] / "docs"


def test_every_scorer_has_its_arguments() -> None:
    text = (DOCS / "golden-sets.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", text, re.MULTILINE))
    assert set(rows) == set(BUILT_IN)
    for name, cell in rows.items():
        parameters = inspect.signature(import_object(BUILT_IN[name])).parameters
        assert set(re.findall(r"`(\w+)`", cell)) == set(parameters), name


@pytest.mark.parametrize(
    ("page", "command"), [("recordings.md", record), ("evaluation.md", evaluate)]
)
def test_every_option_is_on_the_page(page: str, command: Any) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    table = "\n".join(line for line in text.splitlines() if line.startswith("| `--"))
    options = {
        f"--{p.name.replace('_', '-')}"
        for p in inspect.signature(command).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    }
    assert set(re.findall(r"--[a-z][a-z0-9-]+", table)) - {"--recording"} == options - {
        "--recording"
    }
