"""``cascade watch``."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.ledger_data import fill
from cascade_policies.ledger.database import connect
from tests.policies.report.conftest import NOW

if TYPE_CHECKING:
    from tests.policies.conftest import Run


@pytest.mark.usefixtures("at_now")
def test_one_look(command_line: Run, ledger: Path) -> None:
    with closing(connect(ledger)) as connection:
        fill(connection, 30, until=NOW - 1, days=30 / 86_400)  # all within the last 31 seconds
    code, out, err = command_line("watch", "--once", "--hours", "2", "--ledger", str(ledger))
    assert (code, err) == (0, "")
    first = out.splitlines()[0]
    assert "calls in the last minute: " in first
    assert int(first.rpartition(" ")[2]) > 10
    assert "latest calls" in out
    code, out, _ = command_line("watch", "--once", "--task", "dates", "--ledger", str(ledger))
    assert code == 0
    assert "dates" in out
    assert "tickets" not in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "no terminal: give --once"),
        (("--once", "--hours", "0"), "--hours 0: give 1 to 168"),
        (("--once", "--every", "0"), "--every 0.0: give seconds"),
        (("--once", "--ledger", "nowhere.db"), "no ledger at nowhere.db"),
        (("--once", "--task", "date"), "did you mean 'dates'?"),
    ],
)
def test_mistakes(command_line: Run, ledger: Path, options: tuple[str, ...], words: str) -> None:
    if "--ledger" not in options:
        options = (*options, "--ledger", str(ledger))
    code, out, err = command_line("watch", *options)
    assert (code, out) == (2, "")
    assert words in err


def test_live_until_interrupted(tmp_path: Path) -> None:
    """In a real terminal: a call that is written meanwhile shows up, and Ctrl-C is no error."""
    ledger = tmp_path / "ledger.db"
    connect(ledger).close()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    command = [sys.executable, "-m", "cascade_policies.cli", "watch", "--every", "0.1"]
    with subprocess.Popen(
        [*command, "--ledger", str(ledger)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    ) as process:
        os.close(theirs)
        try:
            wait_for(ours, b"calls in the last minute: 0")
            process.send_signal(signal.SIGHUP)  # as others are told to read their settings again
            with closing(connect(ledger)) as connection:
                fill(connection, 1, until=time.time(), days=0.0)
            wait_for(ours, b"calls in the last minute: 1")
            process.send_signal(signal.SIGINT)
            drain(ours)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()
            os.close(ours)


def wait_for(terminal: int, words: bytes) -> None:
    seen, until = b"", time.monotonic() + 30
    while words not in seen:
        left = max(0.0, until - time.monotonic())
        assert select.select([terminal], [], [], left)[0], seen[-2000:]
        seen += os.read(terminal, 65_536)


def drain(terminal: int) -> None:
    """Read until the other end is closed, so that it does not wait for a reader."""
    try:
        while os.read(terminal, 65_536):
            pass
    except OSError:
        pass  # how Linux says that nobody has the terminal open any more
