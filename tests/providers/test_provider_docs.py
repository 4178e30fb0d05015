"""The tables in docs/providers.md say what the providers do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cascade.errors import ConfigError
from cascade.provider import find_provider
from cascade.providers._wire import WireProvider

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"
TEXT = PAGE.read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:1"

VALUES: dict[str, Any] = {
    "max_tokens": 5,
    "max_completion_tokens": 5,
    "temperature": 0,
    "top_p": 0.5,
    "top_k": 3,
    "stop": "x",
    "seed": 1,
    "presence_penalty": 1,
    "frequency_penalty": 1,
    "logprobs": True,
    "top_logprobs": 2,
    "logit_bias": {"1": 1},
    "json_object": {"type": "json_object"},
    "json_schema": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "reasoning_effort": "low",
    "user": "eve",
    "n": 2,
}


@dataclass(frozen=True)
class Context:
    """An engine that calls nothing."""

    transport: Any = None
    http: Any = None


def table(heading: str) -> list[list[str]]:
    """The first table after a heading, its ruler left out."""
    _, _, after = TEXT.partition(f"\n## {heading}\n")
    rows = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    assert rows is not None
    cells = [[c.strip() for c in row.strip("|").split(" | ")] for row in rows[0].splitlines()]
    return [cells[0], *cells[2:]]


HEAD, *ROWS = table("Parameters")
CELLS = [
    (column.strip("`"), row[0], cell)
    for row in ROWS
    for column, cell in zip(HEAD[1:], row[1:], strict=True)
]


@pytest.mark.parametrize(("name", "row", "cell"), CELLS)
def test_what_is_refused(name: str, row: str, cell: str) -> None:
    provider = find_provider(name)(Context(), base_url=ADDRESS)
    assert isinstance(provider, WireProvider)
    names = re.findall("`([a-z_]+)`", row)
    if names[0] == "response_format":
        tried = [{"response_format": VALUES[names[1]]}]
    else:
        tried = [{name: VALUES[name]} for name in names]
    assert tried
    for params in tried:
        if cell.startswith("no"):
            with pytest.raises(ConfigError, match=next(iter(params))):
                provider.check("m", params)
        else:
            assert cell.startswith("yes")
            provider.check("m", params)


def test_every_parameter_is_there() -> None:
    assert {name for row in ROWS for name in re.findall("`([a-z_]+)`", row[0])} >= VALUES.keys()


def test_addresses_and_variables() -> None:
    found = re.findall(
        r"^\| `([a-z-]+):…` \| .* \| `(.*)` \| `(\w+)`, `(\w+)` \|$", TEXT, re.MULTILINE
    )
    assert len(found) == len(HEAD) - 1
    for name, address, key, url in found:
        kind: Any = find_provider(name)
        assert (kind.default_base_url, kind.key_variable, kind.url_variable) == (address, key, url)
