"""Which process holds a reservation, and whether it is still there.

A process id alone is used again; with the moment the process started, and the boot in which that is
counted, it is not. Linux gives all three in ``/proc``. Elsewhere only a process id can be asked
for, and what cannot be told is answered with None.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from secrets import randbits
from typing import NamedTuple

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19  # fields of /proc/PID/stat after the name, as proc(5) counts from 3
_GONE = ("Z", "X")  # a killed process that its parent has not asked about is no process any more


class Process(NamedTuple):
    """A process, and no other one ever.

    Attributes:
        host: the boot of the machine, and the namespace in which ``pid`` counts.
        pid: the process id.
        started: when it started, in the kernel's ticks since the boot; where that is not known, a
            negative number of its own.
    """

    host: str
    pid: int
    started: int


def this_process() -> Process:
    """The process that runs this."""
    return _process(os.getpid())


@cache
def _process(pid: int) -> Process:
    state = _state(pid)
    return Process(_host(), pid, -1 - randbits(60) if state is None else state[1])


def alive(process: Process) -> bool | None:
    """Whether it runs; None when that cannot be told from here."""
    here = this_process().host
    if process.host != here:
        # Of another boot nothing is left; in another container nothing can be seen.
        return None if _boot(process.host) == _boot(here) else False
    if process.started >= 0:
        state = _state(process.pid)
        return state is not None and state[0] not in _GONE and state[1] == process.started
    return _exists(process.pid)


def _exists(pid: int) -> bool | None:
    """What the process id tells: another process may have it by now."""
    if os.name != "posix":  # os.kill would end it
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return None


def _state(pid: int) -> tuple[str, int] | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (OSError, ValueError):
        return None
    # The name, in brackets, may hold spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    return fields[_STATE], int(fields[_STARTED])


def _host() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def _boot(host: str) -> str:
    return host.partition(" ")[0]
