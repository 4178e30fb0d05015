"""What tuning finds among all models: the cheapest cascade whose quality is certified.

Part of ``python -m benchmarks.frontier``, which says what is measured.
"""

from __future__ import annotations

from benchmarks.frontier_rivals import Chosen, Rows, Task, names
from cascade_policies.replaying import Table
from cascade_policies.tuning import Goal, tune

CONFIDENCE = 0.95


def tuned(task: Task) -> Chosen:
    """What `tune` chooses on the rows it may see, played on the others."""
    prompts = [task.rows[at]["prompt"] for at in task.fit]
    goal = Goal(max_drop=task.drop, confidence=CONFIDENCE)
    return task.played(tune(task.known, goal, texts=prompts).chosen.settings)


def certificate(table: Table, rows: Rows, drop: float) -> str:
    """What is certified on all rows, in a sentence."""
    goal = Goal(max_drop=drop, confidence=CONFIDENCE)
    found = tune(table, goal, texts=[row["prompt"] for row in rows])
    top = table.tiers[-1]
    said = f"Tuned on all rows, at most {drop:.0%} below {top} with {CONFIDENCE:.0%} confidence: "
    if found.too_few:
        return f"{said}{found.certifying} rows to certify on, and {found.needed} are needed"
    chosen = found.chosen
    if chosen.settings == found.top.settings:
        return f"{said}no cheaper policy passes on {found.certifying} rows: {top} alone"
    return (
        f"{said}{names(table.tiers, chosen.settings)}, p = {chosen.p:.3f}; on the "
        f"{found.certifying} certifying rows {100 * chosen.quality:.1f}% at "
        f"${1000 * chosen.cost:.3f} per 1,000, {top} {100 * found.top.quality:.1f}% at "
        f"${1000 * found.top.cost:.3f}"
    )
