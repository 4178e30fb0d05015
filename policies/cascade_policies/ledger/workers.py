"""What is to be done when a worker of `multiprocessing` ends."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_registered: dict[Callable[[], object], Any] = {}


def at_worker_end(end: Callable[[], object]) -> None:
    """Have it called, once, when this process ends, if it is a worker of `multiprocessing`.

    Forked ones leave with `os._exit`, and so without `atexit`; what multiprocessing calls itself
    they do call. It forgets that in each new worker, so say it where there is something to end.
    """
    if "multiprocessing.util" not in sys.modules:  # nor is this one of its workers
        return
    from multiprocessing import parent_process
    from multiprocessing.util import Finalize

    if parent_process() is None:
        return
    known = _registered.get(end)
    if known is None or not known.still_active():
        _registered[end] = Finalize(None, end, exitpriority=0)
