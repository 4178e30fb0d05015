"""A lock between processes, held on an open file.

The kernel lets go of it when its holder dies, however it dies, so there is no stale lock to
clean up; the file itself stays, since removing it would race with the next holder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

POLL = 0.1
"""Seconds between two tries; polled, because a blocking wait for a lock cannot be cancelled."""

if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Holds the lock, which also excludes other tasks and threads of this process.

    Raises:
        OSError: the file cannot be made.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while True:
            try:
                _try_lock(fd)
            except (BlockingIOError, PermissionError):
                await anyio.sleep(POLL)
            else:
                break
        yield
    finally:
        os.close(fd)
