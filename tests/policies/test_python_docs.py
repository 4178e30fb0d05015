"""The examples in docs/python.md run, one after the other, and its tables are complete."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cascade import Attempt, Engine, Policy, Result, Tier
from cascade.testing import ScriptedModel, scripted

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _place_and_registries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a newcomer is in no checkout
    providers = sys.modules["cascade.provider"]  # the package has a function of that name
    monkeypatch.setattr(providers, "_registered", {})
    monkeypatch.setattr(scripted, "_named", {})


def test_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "docs"}
    blocks = list(re.finditer(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
    assert len(blocks) > 10
    for block in blocks:
        line = TEXT.count("\n", 0, block.start()) + 1
        # Without this file's own `from __future__`: annotations are resolved at run time.
        code = compile("\n" * line + block[1], str(PAGE), "exec", dont_inherit=True)
        exec(code, names)
    assert "accepted by code" in capsys.readouterr().out


@pytest.mark.parametrize("kind", [Result, Attempt])
def test_every_field_is_there(kind: type) -> None:
    table = re.search(rf"^\| `{kind.__name__}` .*?\n\n", TEXT, re.MULTILINE | re.DOTALL)
    assert table is not None
    for item in msgspec.structs.fields(kind):
        assert f"`{item.name}`" in table[0], item.name


@pytest.mark.anyio
async def test_every_key_of_an_event_is_there(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="cascade")
    async with Engine() as engine:
        await engine.run(Policy("p", [Tier(ScriptedModel("x"))]), "hello")
    rows = {row.split("`")[1].split("_")[0]: row for row in TEXT.splitlines() if "| `casc" in row}
    for record in caplog.records:
        event = dict(record.__dict__["cascade"])
        row = rows[event.pop("event").split("_")[0]]
        assert re.findall(r"`([a-z_]+)`", row.split("|")[2]) == list(event)
