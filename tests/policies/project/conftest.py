"""A folder of its own, a clock that the test moves, and no project from before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cascade_policies.project import current

Tick = Callable[[], None]

_times = iter(range(10**9, 10**10))


class Folder:
    """A folder with files whose every change is seen, however quick the test is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str) -> Path:
        """Write a file, an hour or more ago."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        second = next(_times)
        os.utime(path, (second, second))
        return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    for name in (current.ENVIRONMENT, "CASCADE_LEDGER", "CASCADE_POLICY_PATH"):
        monkeypatch.delenv(name, raising=False)
    return Folder(tmp_path)


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tick]:
    """Lets as much time pass as files are not looked at."""
    now = 1000.0
    monkeypatch.setattr(current.around, "_held", None)
    monkeypatch.setattr(current, "monotonic", lambda: now)

    def tick() -> None:
        nonlocal now
        now += current.PATIENCE

    yield tick
    current.around._held = None
