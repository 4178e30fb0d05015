"""What a ledger does when its process ends, and when it forks."""

from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING
from weakref import WeakSet

from cascade_policies.ledger.workers import at_worker_end

if TYPE_CHECKING:
    from cascade_policies.ledger.writer import SqliteLedger

_ledgers: WeakSet[SqliteLedger] = WeakSet()
_paused: list[SqliteLedger] = []


def register(ledger: SqliteLedger) -> None:
    """Look after a ledger for as long as it lives."""
    _ledgers.add(ledger)


def began_to_write() -> None:
    """See that the end of this process finds a ledger with something to write."""
    at_worker_end(_close)


def _close() -> None:
    for ledger in list(_ledgers):
        if not ledger.close():
            ledger.tell_unwritten()


def _before_fork() -> None:
    _paused[:] = _ledgers
    for ledger in _paused:
        ledger.storage.pause()


def _after_fork_in_parent() -> None:
    for ledger in _paused:
        ledger.storage.resume()
    _paused.clear()


def _after_fork_in_child() -> None:
    for ledger in _paused:
        ledger.forked()
    _paused.clear()


atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
