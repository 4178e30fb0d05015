"""Policies whose models answer on a virtual clock, and what is told of calls."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade import Answer, Policy, Tier
from cascade.records import CallRecord
from cascade.testing import Scripted, ScriptedModel

Told = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_clock


@pytest.fixture(autouse=True)
def _no_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CASCADE_CONFIG", "CASCADE_LEDGER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """The fields of all events of a name."""
    caplog.set_level(logging.INFO, "cascade")

    def read(event: str) -> list[dict[str, Any]]:
        fields = [getattr(record, "cascade", {}) for record in caplog.records]
        return [its for its in fields if its.get("event") == event]

    return read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


class Records:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.all: list[CallRecord] = []

    def call_finished(self, record: CallRecord, /) -> None:
        self.all.append(record)

    def of(self, policy: str) -> list[CallRecord]:
        return [record for record in self.all if record.policy == policy]


@pytest.fixture
def records() -> Records:
    return Records()


def good(answer: Answer) -> bool:
    return answer.text.startswith("good")


def model(*steps: Scripted | str, name: str = "m") -> ScriptedModel:
    return ScriptedModel(*steps, name=name)


def says(text: str, after: float) -> Scripted:
    return Scripted(text=text, delay=after)


def one_tier(name: str, *steps: Scripted | str, **settings: Any) -> Policy:
    """A policy of one tier, which accepts what is good."""
    return Policy(name, [Tier(model(*steps), name="only", verify=good)], **settings)
