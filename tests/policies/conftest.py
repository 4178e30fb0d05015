"""The command line, run in this process."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from cascade_policies.cli import main


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


class Run(Protocol):
    """Runs a command; without ``stdin``, in a terminal where nobody types."""

    def __call__(self, *arguments: str, stdin: str | None = None) -> Ran: ...


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    """In an empty folder, which the command may put on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CASCADE_DEBUG", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments: str, stdin: str | None = None) -> Ran:
        monkeypatch.setattr(sys, "stdin", _Terminal() if stdin is None else StringIO(stdin))
        code = main(arguments)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run
