"""Tables on narrow terminals, and output that cannot be written as it is."""

from __future__ import annotations

import json
from contextlib import closing
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from sqlite3 import Connection
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cascade_policies.commands.output import encodable
from cascade_policies.ledger.database import connect
from cascade_policies.report import queries, tables
from cascade_policies.report.source import Source
from cascade_policies.report.window import Window
from tests.policies.report.conftest import NOW

if TYPE_CHECKING:
    from tests.policies.conftest import Run


@pytest.mark.parametrize("width", [80, 100, 110, 10_000])
def test_no_header_is_broken(connection: Connection, width: int) -> None:
    source = Source(connection, Window.parse("7d", NOW))
    report = queries.read_report(source)
    for table in (
        tables.tasks_table(report),
        tables.tiers_table(report),
        tables.models_table(queries.read_models(source)),
        tables.checks_table(queries.read_checks(source)),
        tables.steps_table(queries.read_steps(source)),
    ):
        out = StringIO()
        Console(file=out, width=width).print(table)
        lines = out.getvalue().splitlines()
        assert lines[0].startswith("task ")
        assert "escalated (95% interval)" in lines[0] or "accepted (95%" in lines[0] or (
            "model" in lines[0]
        )  # fmt: skip
        assert ("no room for: " in out.getvalue()) <= (width < 10_000)


@pytest.mark.usefixtures("at_now")
def test_a_call_of_a_year_without_a_calendar_is_shown(command_line: Run, ledger: Path) -> None:
    with closing(connect(ledger)) as connection:
        connection.execute("UPDATE calls SET began = 3e11 WHERE id = (SELECT max(id) FROM calls)")
    code, out, err = command_line("watch", "--once", "--ledger", str(ledger))
    assert (code, err) == (0, "")
    assert "latest calls" in out


@given(st.text(st.characters()))
def test_json_stays_json_in_any_encoding(text: str) -> None:
    stream = TextIOWrapper(BytesIO(), encoding="ascii", write_through=True)
    shown = encodable(json.dumps(text, ensure_ascii=False), stream)
    stream.write(shown)
    assert json.loads(shown) == text
