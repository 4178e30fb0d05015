"""The sums that reports read, kept beside the rows they are sums of.

Whoever writes calls counts them in the same transaction, so that sums and rows never disagree:

    with transaction(connection):
        ...  # insert calls and their attempts
        rollups.add(connection, first_id, last_id)

and whoever deletes calls takes them out with `remove` first. Sums are kept by the hour and by the
day, and once since the ledger began. The last is for Prometheus, whose counters must not fall: it
still has the calls that were deleted.

Every function works inside the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

from cascade_policies.report.buckets import HIGHEST

HOUR: Final = 3600
DAY: Final = 86_400
EVER: Final = 10**10
"""Seconds of the three spans; every time until the year 2286 is in the first `EVER`."""

SAME: Final = 2e-6
"""Seconds between two moments of a call that are one: a ledger may round to microseconds."""

_CHUNK: Final = 50_000  # calls counted at a time

_HOUR_OF: Final = "CAST(calls.began / 3600 AS INTEGER) * 3600"

# An error is kept as its class and message; the message is no name of a reason.
_ERROR: Final = """CASE WHEN instr(attempts.error, ':') BETWEEN 2 AND 80
  THEN substr(attempts.error, 1, instr(attempts.error, ':') - 1)
  ELSE coalesce(substr(attempts.error, 1, 80), '') END"""

_OUTCOME: Final = """CASE WHEN attempts.outcome = 'rejected' AND attempts.reason LIKE 'abstained:%'
  THEN 'abstained' ELSE attempts.outcome END"""

# What failed never came to the verifier.
_VERIFIER: Final = """CASE WHEN attempts.outcome IN ('accepted', 'rejected')
  THEN coalesce(attempts.verifier, '') ELSE '' END"""

_CODE: Final = f"""CASE attempts.outcome WHEN 'failed' THEN {_ERROR}
  WHEN 'rejected' THEN substr(coalesce(attempts.code, ''), 1, 80) ELSE '' END"""


class _Table(NamedTuple):
    """One table of sums: its keys after span and start, its sums, and how rows give both."""

    name: str
    keys: tuple[str, ...]
    sums: tuple[str, ...]
    select: str


_CALLS: Final = _Table(
    "rollup_calls",
    ("policy", "outcome"),
    ("calls", "escalated", "escalations", "attempts", "cost_low", "cost_high", "cost_squares",
     "cost_unknown", "waste_low", "waste_high", "waste_unknown", "latency_s",
     "routed", "route_low", "route_high", "route_unknown"),
    f"""
    SELECT {_HOUR_OF}, policy, outcome, count(*), sum(escalations > 0), sum(escalations),
      sum(attempts), total(cost_low), total(cost_high), total(cost_high * cost_high),
      sum(cost_high IS NULL), total(waste_low), total(waste_high), sum(waste_high IS NULL),
      total(latency_s), count(route_s), total(route_cost_low), total(route_cost_high),
      sum(route_s IS NOT NULL AND route_cost_high IS NULL)
    FROM calls WHERE calls.id BETWEEN :first AND :last GROUP BY 1, 2, 3
    """,  # noqa: S608  (our own names)
)  # fmt: skip

# In a pure cascade every tier but the last has escalated. Where some tiers were started by a delay,
# one was started by an escalation when it began in the moment the last attempt before it ended:
# docs/reports.md says it in full, and `escalated` of metrics.py says it in Python.
#
# The columns of no aggregate are those of the attempt that ``max`` finds, as SQLite promises where
# it is the only ``min`` or ``max``: of the one that decided.
_TIERS: Final = _Table(
    "rollup_tiers",
    ("policy", "tier", "ending", "verifier", "code"),
    ("calls", "escalated", "numbers"),
    f"""
    WITH facts AS (
      SELECT {_HOUR_OF} AS hour, calls.policy, calls.outcome, calls.tier AS answered,
        calls.escalations, calls.tiers_tried, attempts.call, attempts.tier,
        max(iif(attempts.outcome = 'cancelled', NULL, attempts.number)) AS last,
        sum(attempts.number = calls.attempts) AS final, avg(attempts.number) AS number,
        sum(attempts.outcome = 'accepted') AS passed, sum(attempts.outcome = 'cancelled') AS cut,
        {_OUTCOME} AS decided, {_VERIFIER} AS verifier, {_CODE} AS code
      FROM attempts JOIN calls ON calls.id = attempts.call
      WHERE attempts.call BETWEEN :first AND :last GROUP BY attempts.call, attempts.tier
    ), escalations AS (
      SELECT *, CASE facts.escalations WHEN 0 THEN 0 WHEN tiers_tried - 1 THEN NOT final
        ELSE EXISTS (
          SELECT 1 FROM attempts AS later
          WHERE later.call = facts.call AND later.number > facts.last
            AND later.tier <> facts.tier AND later.kind = 'first'
            AND NOT EXISTS (
              SELECT 1 FROM attempts AS own WHERE own.call = facts.call
                AND own.tier = facts.tier AND own.number > later.number
            )
            AND abs(later.started_s - (
              SELECT max(earlier.started_s + earlier.latency_s) FROM attempts AS earlier
              WHERE earlier.call = later.call AND earlier.number < later.number
                AND earlier.tier <> later.tier
            )) <= {SAME}
        ) END AS escalated
      FROM facts
    ), endings AS (
      SELECT *, CASE WHEN outcome = 'accepted' AND answered = tier THEN 'accepted'
        WHEN NOT passed AND last AND (escalated OR outcome = 'exhausted' OR NOT cut) THEN decided
        ELSE 'undecided' END AS ending
      FROM escalations
    )
    SELECT hour, policy, tier, ending, iif(out, verifier, ''), iif(out, code, ''), count(*),
      sum(out AND escalated), total(number)
    FROM (SELECT *, ending NOT IN ('accepted', 'undecided') AS out FROM endings)
    GROUP BY 1, 2, 3, 4, 5, 6
    """,  # noqa: S608  (our own names)
)

_ATTEMPTS: Final = _Table(
    "rollup_attempts",
    ("policy", "tier", "model", "outcome", "verifier", "code"),
    ("attempts", "retries", "repairs", "replicas", "fallbacks", "cost_low", "cost_high",
     "cost_unknown", "input_tokens", "output_tokens", "latency_s", "first_tokens",
     "first_token_s"),
    f"""
    SELECT {_HOUR_OF}, calls.policy, attempts.tier, attempts.model, {_OUTCOME},
      {_VERIFIER}, {_CODE}, count(*), sum(kind = 'retry'),
      sum(kind = 'repair'), sum(kind = 'replica'), sum(kind = 'fallback'),
      total(attempts.cost_low), total(attempts.cost_high), sum(attempts.cost_high IS NULL),
      coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),
      total(attempts.latency_s), count(time_to_first_token_s), total(time_to_first_token_s)
    FROM attempts JOIN calls ON calls.id = attempts.call
    WHERE attempts.call BETWEEN :first AND :last GROUP BY 1, 2, 3, 4, 5, 6, 7
    """,  # noqa: S608  (our own names)
)  # fmt: skip

_SUMS: Final = (_CALLS, _TIERS, _ATTEMPTS)
TABLES: Final = (*(table.name for table in _SUMS), "rollup_durations")

# An attempt that failed says nothing of how long an answer takes, unless its time was up.
_TIMED: Final = f"""
timed AS (
  SELECT {_HOUR_OF} AS hour, policy, attempts.tier, model, attempts.latency_s AS took,
    time_to_first_token_s AS first,
    attempts.outcome = 'cancelled' OR coalesce(attempts.error, '') LIKE 'APITimeoutError%' AS cut,
    attempts.outcome = 'failed' AS failed
  FROM attempts JOIN calls ON calls.id = attempts.call
  WHERE attempts.call BETWEEN :first AND :last
), timings AS (
  SELECT {_HOUR_OF} AS hour, policy, 'call' AS measure, '' AS tier, '' AS model,
    latency_s AS took, outcome = 'cancelled' AS cut
  FROM calls WHERE id BETWEEN :first AND :last
  UNION ALL SELECT hour, policy, 'attempt', tier, model, took, cut
    FROM timed WHERE cut OR NOT failed
  UNION ALL SELECT hour, policy, 'first_token', tier, model, coalesce(first, took), first IS NULL
    FROM timed WHERE first IS NOT NULL OR cut
)"""  # noqa: S608  (our own names)

_NEW_SERIES: Final = """
INSERT OR IGNORE INTO rollup_series(policy, measure, tier, model)
SELECT DISTINCT policy, 'call', '', '' FROM calls WHERE id BETWEEN :first AND :last
UNION ALL SELECT policy, measure, tier, model FROM (
    SELECT DISTINCT policy, attempts.tier, model
    FROM attempts JOIN calls ON calls.id = attempts.call
    WHERE attempts.call BETWEEN :first AND :last
  ) CROSS JOIN (SELECT 'attempt' AS measure UNION ALL SELECT 'first_token')
"""

_DURATIONS: Final = _Table(
    "rollup_durations",
    ("series", "bucket"),
    ("durations", "cut"),
    f"""
    WITH {_TIMED}
    SELECT hour, rollup_series.id, coalesce((
        SELECT bucket FROM rollup_edges WHERE seconds >= took ORDER BY seconds LIMIT 1
      ), {HIGHEST}) AS bucket, count(*), sum(cut)
    FROM timings JOIN rollup_series USING (policy, measure, tier, model) GROUP BY 1, 2, 3
    """,  # noqa: S608  (our own names)
)


def add(connection: sqlite3.Connection, first_id: int, last_id: int) -> None:
    """Count the calls with these ids and those between, which were just inserted.

    Raises:
        sqlite3.Error: the database cannot be written.
    """
    ids = {"first": first_id, "last": last_id}
    connection.execute(_NEW_SERIES, ids)
    for statement in _ADD:
        connection.execute(statement, ids)
    connection.execute("UPDATE rollup_state SET through = ?", (last_id,))


def remove(connection: sqlite3.Connection, first_id: int, last_id: int) -> None:
    """Take these calls and those between out again: call it before they are deleted.

    Raises:
        sqlite3.Error: the database cannot be written.
    """
    ids = {"first": first_id, "last": last_id}
    for statement in _REMOVE:
        connection.execute(statement, ids)


def catch_up(connection: sqlite3.Connection) -> None:
    """Count the calls that were written by who does not count.

    Raises:
        sqlite3.Error: the database cannot be written.
    """
    through, last = _through(connection)
    for first in range(through + 1, last + 1, _CHUNK):
        add(connection, first, min(first + _CHUNK - 1, last))


def is_behind(connection: sqlite3.Connection) -> bool:
    """Whether there are calls for `catch_up` to count."""
    through, last = _through(connection)
    return last > through


def rebuild(connection: sqlite3.Connection) -> None:
    """Make all sums anew from the rows; of calls that were deleted nothing is left then.

    Raises:
        sqlite3.Error: the database cannot be written.
    """
    for name in TABLES:
        connection.execute(f"DELETE FROM {name}")  # noqa: S608  (our own names)
    connection.execute("UPDATE rollup_state SET through = 0")
    catch_up(connection)


def _through(connection: sqlite3.Connection) -> tuple[int, int]:
    through: int = connection.execute("SELECT through FROM rollup_state").fetchone()[0]
    last: int = connection.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()[0]
    return through, last


# One statement a table, whatever it has to count: the lock of the interpreter is given up and taken
# back for each row that goes between SQLite and Python, and a busy loop makes each time slow.
def _statement(table: _Table, spans: Sequence[int], sign: str) -> str:
    """Adds the sums of calls, or takes them out, in all spans."""
    rows = ", ".join(("hour", *table.keys, *table.sums))
    sums = ", ".join(f"{sign}{name}" for name in table.sums)
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in table.sums)
    return f"""
    WITH rows({rows}) AS ({table.select}),
      spans(span) AS (VALUES {", ".join(f"({span})" for span in spans)})
    INSERT INTO {table.name}
    SELECT span, hour - hour % span, {", ".join(table.keys)}, {sums}
    FROM rows CROSS JOIN spans WHERE true
    ON CONFLICT DO UPDATE SET {added}
    """  # noqa: S608  (our own names)


def _clear(table: _Table) -> str:
    """Deletes what is left of hours and days without calls."""
    return f"""
    DELETE FROM {table.name} WHERE span IN ({HOUR}, {DAY}) AND {table.sums[0]} = 0
      AND start > (SELECT min(began) FROM calls WHERE id BETWEEN :first AND :last) - {DAY}
      AND start <= (SELECT max(began) FROM calls WHERE id BETWEEN :first AND :last)
    """  # noqa: S608  (our own names)


_ADD: Final = [_statement(table, (HOUR, DAY, EVER), "") for table in (*_SUMS, _DURATIONS)]
_REMOVE: Final = [
    statement
    for table in (*_SUMS, _DURATIONS)
    for statement in (_statement(table, (HOUR, DAY), "-"), _clear(table))
]
