"""Finished calls to write down, and no project around."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks.ledger_calls import call
from cascade.records import CallRecord
from cascade.types import Request

MakeCall = Callable[..., CallRecord]


@pytest.fixture(autouse=True)
def _no_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CASCADE_CONFIG", "CASCADE_LEDGER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger may be made."""
    return tmp_path / "ledger.db"


@pytest.fixture(scope="session")
def make_call() -> MakeCall:
    """A finished call: its number decides whether it was escalated (one in four is).

    Keywords replace fields of the record; those that begin with ``attempt_``, ``answer_``,
    ``verdict_`` and ``usage_`` replace fields of its last attempt and of what that holds.
    """

    def make(number: int = 1, prompt: str | None = None, **changes: Any) -> CallRecord:
        record = call(number)
        if prompt is not None:
            record = replace(record, request=Request.of(prompt))
        last = record.attempts[-1]
        answer, verdict, result = last.answer, last.verdict, record.result
        assert answer is not None
        assert answer.usage is not None
        assert verdict is not None
        assert result is not None
        inner = {
            kind: {
                name.removeprefix(f"{kind}_"): changes.pop(name)
                for name in list(changes)
                if name.startswith(f"{kind}_")
            }
            for kind in ("attempt", "answer", "verdict", "usage")
        }
        answer = replace(answer, usage=replace(answer.usage, **inner["usage"]), **inner["answer"])
        verdict = replace(verdict, **inner["verdict"])
        last = replace(last, **{"answer": answer, "verdict": verdict, **inner["attempt"]})
        attempts = (*record.attempts[:-1], last)
        text = answer.text if verdict.text is None else verdict.text
        result = replace(result, text=text, answer=answer, verdict=verdict, attempts=attempts)
        return replace(record, **{"attempts": attempts, "result": result, **changes})

    return make
