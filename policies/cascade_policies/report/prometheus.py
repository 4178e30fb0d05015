"""A whole ledger as Prometheus reads it."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections import defaultdict
from typing import Any, Final

from cascade_policies.report.exposition import (
    BOUNDS,
    EDGES,
    LABELS,
    Histogram,
    exposition,
)
from cascade_policies.report.rollups import EVER

_COUNTERS: Final = {
    "cascade_calls_total": "SELECT policy, outcome, calls FROM rollup_calls",
    "cascade_escalated_calls_total": "SELECT policy, sum(escalated) FROM rollup_calls",
    "cascade_cost_usd_total": (
        "SELECT policy, bound, total(iif(bound = 'low', cost_low, cost_high)) FROM rollup_calls "
        "CROSS JOIN (SELECT 'low' AS bound UNION ALL SELECT 'high')"
    ),
    "cascade_waste_usd_total": (
        "SELECT policy, bound, total(iif(bound = 'low', waste_low, waste_high)) FROM rollup_calls "
        "CROSS JOIN (SELECT 'low' AS bound UNION ALL SELECT 'high')"
    ),
    "cascade_routing_cost_usd_total": (
        "SELECT policy, bound, total(iif(bound = 'low', route_low, route_high)) FROM rollup_calls "
        "CROSS JOIN (SELECT 'low' AS bound UNION ALL SELECT 'high')"
    ),
    "cascade_unpriced_calls_total": "SELECT policy, sum(cost_unknown) FROM rollup_calls",
    "cascade_tier_calls_total": "SELECT policy, tier, ending, sum(calls) FROM rollup_tiers",
    "cascade_escalations_total": (
        "SELECT policy, tier, ending, verifier, code, sum(escalated) FROM rollup_tiers"
    ),
    "cascade_attempts_total": (
        "SELECT policy, tier, model, outcome, sum(attempts) FROM rollup_attempts"
    ),
    "cascade_extra_attempts_total": (
        "SELECT policy, tier, model, extra, sum(CASE extra WHEN 'retry' THEN retries "
        "WHEN 'repair' THEN repairs WHEN 'replica' THEN replicas ELSE fallbacks END) "
        "FROM rollup_attempts CROSS JOIN (SELECT 'retry' AS extra UNION ALL SELECT 'repair' "
        "UNION ALL SELECT 'replica' UNION ALL SELECT 'fallback')"
    ),
    "cascade_tokens_total": (
        "SELECT policy, tier, model, direction, "
        "sum(iif(direction = 'input', input_tokens, output_tokens)) FROM rollup_attempts "
        "CROSS JOIN (SELECT 'input' AS direction UNION ALL SELECT 'output')"
    ),
}
_SPARSE: Final = (
    "cascade_routing_cost_usd_total",
    "cascade_escalations_total",
    "cascade_extra_attempts_total",
)

_HISTOGRAMS: Final = {
    "call": "cascade_call_latency_seconds",
    "attempt": "cascade_attempt_latency_seconds",
    "first_token": "cascade_time_to_first_token_seconds",
}
_SECONDS: Final = {
    "call": (
        "SELECT policy, total(latency_s) FROM rollup_calls "
        "WHERE outcome <> 'cancelled' AND span = ?"
    ),
    "attempt": (
        "SELECT policy, tier, model, total(latency_s) FROM rollup_attempts "
        "WHERE outcome IN ('accepted', 'rejected', 'abstained') AND span = ?"
    ),
    "first_token": (
        "SELECT policy, tier, model, total(first_token_s) FROM rollup_attempts WHERE span = ?"
    ),
}


def ledger_text(connection: sqlite3.Connection) -> str:
    """Counters and histograms since the ledger began, calls that were deleted since included."""
    counters = {}
    for name, select in _COUNTERS.items():
        keys = ", ".join(map(str, range(1, len(LABELS[name]) + 1)))
        rows = connection.execute(f"{select} WHERE span = ? GROUP BY {keys}", (EVER,))
        counters[name] = [
            (tuple(key), value) for *key, value in rows if value or name not in _SPARSE
        ]
    return exposition(counters, _histograms(connection))


def _histograms(connection: sqlite3.Connection) -> dict[str, list[tuple[Any, Histogram]]]:
    counts: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))
    for measure, policy, tier, model, bucket, whole in connection.execute(
        "SELECT measure, policy, tier, model, bucket, durations - cut FROM rollup_durations "
        "JOIN rollup_series ON rollup_series.id = series WHERE span = ?",
        (EVER,),
    ):
        key = (measure, policy) if measure == "call" else (measure, policy, tier, model)
        counts[key][bisect_left(EDGES, bucket)] += whole
    found: dict[str, list[tuple[Any, Histogram]]] = {name: [] for name in _HISTOGRAMS.values()}
    for measure, name in _HISTOGRAMS.items():
        select = _SECONDS[measure]
        keys = "1" if measure == "call" else "1, 2, 3"
        seconds = {
            tuple(key): total
            for *key, total in connection.execute(f"{select} GROUP BY {keys}", (EVER,))
        }
        for (kind, *labels), its in sorted(counts.items()):
            if kind == measure and any(its):
                found[name].append((tuple(labels), Histogram(its, seconds[tuple(labels)])))
    return found
