"""The examples of docs/drift.md and docs/observability.md run, and what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cascade_policies.otel import names

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("page", ["drift.md", "observability.md"])
def test_examples_run(page: str) -> None:
    examples = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert examples
    space: dict[str, object] = {}
    for example in examples:
        exec(compile(example, page, "exec"), space)


def test_every_name_is_documented() -> None:
    page = (DOCS / "observability.md").read_text()
    documented = set()
    for row in page.splitlines():
        last = ""
        for name in re.findall(r"`([a-z_.]+)`", row):
            # `gen_ai.usage.input_tokens`, `.output_tokens`: the second shares all but the last.
            if name.startswith("."):
                documented |= {last[: at.start()] + name for at in re.finditer(r"\.", last)}
            else:
                documented.add(name)
                last = name
    ours = {
        value
        for name, value in vars(names).items()
        if name.isupper() and isinstance(value, str) and value.startswith(("gen_ai.", "cascade."))
    }
    assert ours - documented == set()
