"""Processes that write to a ledger and are killed, and what is in it then.

    python -m benchmarks.ledger_kills WRITE PATH CALLS_A_SECOND FLUSH_SECONDS

is one of them: it tells on standard output which calls the ledger has taken, and when.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.ledger_calls import call
from cascade_policies.ledger.writer import SqliteLedger

RATE = 1000
WRITERS = 2
"""At once, into the same file."""


@dataclass(frozen=True, slots=True)
class Killed:
    """What a killed process had handed to the ledger: ids of calls, each with its Unix time."""

    at: float
    accepted: dict[str, float]


@dataclass(frozen=True, slots=True)
class Found:
    """What is in the ledger after kills.

    Attributes:
        integrity: what SQLite says of the file; "ok" if all is well.
        accepted: calls that were handed over.
        written: those of them that are there.
        lost: ids of those that are not, though they were older than the flush interval.
        torn: calls with more or fewer attempts than they had.
        oldest_lost: seconds before the kill at which the oldest of all that are missing was taken.
    """

    integrity: str
    accepted: int
    written: int
    lost: Sequence[str]
    torn: int
    oldest_lost: float


def kill_writers(
    path: Path, random: Random, *, flush_seconds: float, longest: float
) -> list[Killed]:
    """Let processes write to the ledger, and kill each at a moment of its own.

    Args:
        longest: seconds for which one may write, from the first call that it tells of.
    """
    arguments = ["WRITE", str(path), str(RATE), str(flush_seconds)]
    command = [sys.executable, "-m", "benchmarks.ledger_kills", *arguments]
    writers = [
        subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603  (this very file)
        for _ in range(WRITERS)
    ]
    return [_kill(writer, random.uniform(0, longest)) for writer in writers]


def _kill(writer: subprocess.Popen[bytes], seconds: float) -> Killed:
    assert writer.stdout is not None
    with writer, writer.stdout as told:
        lines = [told.readline()]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            lines.append(told.readline())
        at = time.time()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        lines += told.read().splitlines(keepends=True)
    words = [line.split() for line in lines if line.endswith(b"\n")]
    return Killed(at, {id_.decode(): float(moment) for id_, moment in words})


def look(path: Path, killed: Sequence[Killed], *, flush_seconds: float) -> Found:
    """Open the ledger as anybody would, and compare."""
    with closing(sqlite3.connect(path)) as connection:
        (integrity,) = connection.execute("PRAGMA integrity_check").fetchone()
        there = {id_ for (id_,) in connection.execute("SELECT call_id FROM calls")}
        (torn,) = connection.execute(
            "SELECT count(*) FROM calls"
            " WHERE attempts <> (SELECT count(*) FROM attempts WHERE call = calls.id)"
        ).fetchone()
        (strays,) = connection.execute(
            "SELECT count(*) FROM attempts WHERE call NOT IN (SELECT id FROM calls)"
        ).fetchone()
    missing = {
        id_: one.at - moment
        for one in killed
        for id_, moment in one.accepted.items()
        if id_ not in there
    }
    accepted = sum(len(one.accepted) for one in killed)
    return Found(
        integrity=str(integrity),
        accepted=accepted,
        written=accepted - len(missing),
        lost=[id_ for id_, age in missing.items() if age > flush_seconds],
        torn=torn + strays,
        oldest_lost=max(missing.values(), default=0.0),
    )


def write(path: Path, rate: float, flush_seconds: float) -> None:
    """Hand calls to a ledger at this rate, and tell of each, until somebody ends the process."""
    ledger = SqliteLedger(path, flush_seconds=flush_seconds)
    began = time.monotonic()
    number = 0
    while True:
        while number < (time.monotonic() - began) * rate:
            number += 1
            record = call(number)
            ledger.call_finished(record)
            os.write(1, b"%s %f\n" % (record.id.encode(), time.time()))
        time.sleep(0.001)


if __name__ == "__main__":
    write(Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
