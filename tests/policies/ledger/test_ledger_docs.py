"""docs/ledger.md: its example runs, and its tables have every column and every argument."""

from __future__ import annotations

import inspect
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cascade_policies.ledger.database import connect
from cascade_policies.ledger.writer import SqliteLedger

PAGE = Path(__file__).parents[3] / "docs" / "ledger.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_example_runs(path: Path) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "docs"}
    exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)


def first_cells(header: str) -> list[str]:
    """The names in the first column of the table with this header."""
    table = re.search(rf"^{header}.*?\n\n", TEXT, re.MULTILINE | re.DOTALL)
    assert table is not None
    rows = table[0].strip().splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])]


@pytest.mark.parametrize("table", ["calls", "attempts"])
def test_every_column_is_there(path: Path, table: str) -> None:
    with closing(connect(path)) as connection:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    assert sorted(first_cells(rf"\| `{table}` \|")) == sorted(columns)


def test_every_argument_is_there() -> None:
    assert first_cells(r"\| argument, ") == list(inspect.signature(SqliteLedger).parameters)
