"""What is known of drift, in the ledger's database: shared by all processes, kept by restarts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from cascade.errors import ConfigError
from cascade_policies.drift.baseline import Baseline
from cascade_policies.drift.monitor import COST, LEARN, RATE, Drift

Key = tuple[str, str]
"""Policy and figure."""

_FEWEST: Final = 100


def load(connection: sqlite3.Connection, policies: Iterable[str] | None = None) -> dict[Key, Any]:
    """The states that `save` kept, of these policies or of all.

    One that is no JSON is left out.
    """
    rows = connection.execute("SELECT policy, what, state FROM drift").fetchall()
    wanted = None if policies is None else set(policies)
    states = {}
    for policy, what, state in rows:
        if wanted is None or policy in wanted:
            try:
                states[policy, what] = msgspec.json.decode(state)
            except msgspec.DecodeError:
                continue
    return states


def save(
    connection: sqlite3.Connection,
    states: Mapping[Key, Mapping[str, Any]],
    found: Iterable[Drift] = (),
    *,
    now: float,
) -> None:
    """Keep states, and the changes that were found; call it in a transaction.

    Args:
        now: Unix time in seconds.
    """
    rows = [
        (policy, what, msgspec.json.encode(state).decode(), now)
        for (policy, what), state in states.items()
    ]
    connection.executemany(
        "INSERT INTO drift (policy, what, state, updated) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET state = excluded.state, updated = excluded.updated",
        rows,
    )
    for one in found:
        connection.execute(
            "INSERT INTO drift_found VALUES (?, ?, ?, ?, ?, ?, ?)",
            (one.at, one.policy, one.what, one.before, one.now, one.evidence, one.calls),
        )
        connection.execute(
            "UPDATE drift SET detected = ? WHERE policy = ? AND what = ?",
            (one.at, one.policy, one.what),
        )


def detections(
    connection: sqlite3.Connection,
    since: float,
    until: float | None = None,
    *,
    task: str | None = None,
) -> list[Drift]:
    """The changes that were found in this time, the latest first.

    Args:
        since: Unix time in seconds.
        until: likewise; by default there is no end.
        task: of this one alone.
    """
    rows = connection.execute(
        "SELECT policy, what, at, before, now, evidence, calls FROM drift_found "
        "WHERE at >= ?1 AND (?2 IS NULL OR at < ?2) AND (?3 IS NULL OR policy = ?3) "
        "ORDER BY at DESC, policy, what",
        (since, until, task),
    )
    names = ("policy", "what", "at", "before", "now", "evidence", "calls")
    return [Drift(**dict(zip(names, row, strict=True))) for row in rows]


def read_baselines(
    connection: sqlite3.Connection, *, until: float, calls: int = LEARN
) -> dict[str, dict[str, Baseline]]:
    """Baselines from the ledger, for ``DriftWatch(baselines=…)``.

    Args:
        until: Unix time in seconds; calls after it do not count.
        calls: the latest so many of each policy count; with fewer than 100 it has no baseline.

    Raises:
        ConfigError: ``calls`` is below 100.
    """
    if calls < _FEWEST:
        raise ConfigError(f"calls={calls!r}: needs {_FEWEST} or more")
    made: dict[str, dict[str, Baseline]] = {}
    for (policy,) in connection.execute("SELECT DISTINCT policy FROM calls").fetchall():
        rows = connection.execute(
            "SELECT escalations > 0, cost_high FROM calls WHERE policy = ? AND began < ? "
            "AND outcome NOT IN ('cancelled', 'error') ORDER BY id DESC LIMIT ?",
            (policy, until, calls),
        ).fetchall()
        costs = [cost for _, cost in rows if cost is not None]
        its = {}
        if len(rows) >= _FEWEST:
            its[RATE] = Baseline.of([float(escalated) for escalated, _ in rows], cap=1.0)
        if len(costs) >= _FEWEST:
            its[COST] = Baseline.of(costs)
        if its:
            made[policy] = its
    return made
