"""How long models take, kept beside the calls, so that an engine begins with what is known.

Engines of any number of processes may learn from one database and add to it at the same time: each
adds what it has seen itself, and no one what was learnt from there.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import msgspec

from cascade.errors import CascadeError, ConfigError
from cascade.latency import ModelLatency
from cascade.logs import warn
from cascade_policies.ledger.database import BUSY_TIMEOUT, connect, transaction
from cascade_policies.ledger.rows import clean

if TYPE_CHECKING:
    from cascade.engine import Engine

PATIENCE: Final = 0.2
"""Seconds for which an engine that begins waits for the database; it can do without."""


class _Learnt(msgspec.Struct, eq=False):
    """What an engine was given, by which databases, and which are still to get what it has seen."""

    given: list[dict[str, ModelLatency]] = msgspec.field(default_factory=list)
    owed: set[Path] = msgspec.field(default_factory=set)
    seen: set[Path] = msgspec.field(default_factory=set)


_learnt: WeakKeyDictionary[Engine, _Learnt] = WeakKeyDictionary()


def teach(engine: Engine, path: Path) -> None:
    """Let the engine learn what the database knows, once. One that cannot be read is logged."""
    learnt = _learnt.setdefault(engine, _Learnt())
    if path in learnt.seen:  # from another ledger of the same file, or one with other settings
        return
    learnt.seen.add(path)
    learnt.owed.add(path)
    try:
        found = load_latencies(path, timeout=PATIENCE)
    except (CascadeError, sqlite3.Error, OSError) as error:
        _tell(path, error)
        return
    given = {name: _understood(data) for name, data in found.items()}
    engine.learn({name: latency.to_dict() for name, latency in given.items()})
    learnt.given.append(given)


def gained(engine: Engine, path: Path) -> dict[str, ModelLatency]:
    """What the engine has seen itself, for the database; asked again, nothing."""
    learnt = _learnt.get(engine)
    if learnt is None or path not in learnt.owed:
        return {}
    learnt.owed.remove(path)
    now = time.time()
    found = {}
    for name, data in engine.latencies().items():
        latency = ModelLatency.from_dict(data)
        for given in learnt.given:
            if name in given:
                latency.remove(given[name])
        if latency.total.count(now) > 0:
            found[name] = latency
    return found


def keep(path: Path, gains: Mapping[str, ModelLatency]) -> None:
    """Add what an engine has seen to what is kept. A database that cannot be written is logged."""
    if not gains:  # nor is a database made for nothing
        return
    try:
        with closing(connect(path)) as connection, transaction(connection):
            kept = _rows(connection)
            for given, latency in gains.items():
                name = clean(given)
                if name in kept:
                    latency.merge(_understood(kept[name]))
                _write(connection, name, latency.to_dict())
    except (CascadeError, sqlite3.Error, OSError) as error:
        _tell(path, error)


def _understood(data: Any) -> ModelLatency:
    try:
        return ModelLatency.from_dict(data)
    except ConfigError:
        return ModelLatency()  # of another version: it begins anew


def _tell(path: Path, error: Exception) -> None:
    warn("cascade.ledger_failed", path=str(path), error=str(error))


def load_latencies(path: Path | str, *, timeout: float = BUSY_TIMEOUT) -> dict[str, Any]:
    """What is kept, for `Engine.learn`; empty when there is no ledger yet.

    A `SqliteLedger` does it for each engine that it observes.

    Args:
        path: the ledger.
        timeout: seconds to wait while another process writes.

    Raises:
        ConfigError: it cannot be opened; see `connect`.
    """
    if not Path(path).exists():
        return {}
    with closing(connect(path, timeout=timeout)) as connection:
        return _rows(connection)


def save_latencies(path: Path | str, data: Mapping[str, Any]) -> None:
    """Keep what `Engine.latencies` gave, instead of what was kept of the same models.

    Raises:
        ConfigError: it cannot be opened; see `connect`.
    """
    with closing(connect(path)) as connection, transaction(connection):
        for name, one in data.items():
            _write(connection, name, one)


def _rows(connection: sqlite3.Connection) -> dict[str, Any]:
    found = {}
    for name, data in connection.execute("SELECT name, data FROM latencies").fetchall():
        with suppress(msgspec.DecodeError):
            found[name] = msgspec.json.decode(data)
    return found


def _write(connection: sqlite3.Connection, name: str, data: Any) -> None:
    text = msgspec.json.encode(data).decode()
    row = (clean(name), text, time.time())
    connection.execute("INSERT OR REPLACE INTO latencies VALUES (?, ?, ?)", row)
