"""Whether files have changed since they were read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[tuple[Path, tuple[int, int, int] | None], ...]
"""Files, each with its time of change, its size and its inode; None where there is none."""


def stamp(files: Iterable[Path]) -> Stamp:
    """How the files are now."""
    return tuple((path, _state(path)) for path in dict.fromkeys(files))


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return None
    # An editor that replaces a file within the clock's tick makes another inode.
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
