"""``cascade record``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cascade.cost import Cost
from cascade_policies.commands.errors import ACCEPTED, NOT_ACCEPTED


def record(
    policy: str,
    /,
    *,
    golden: str | None = None,
    out: str | None = None,
    samples: int = 1,
    max_cost: float | None = None,
    rate: float | None = None,
    concurrency: int = 4,
    scorer: str | None = None,
    json: bool = False,
) -> int:
    """Ask every tier of a policy every prompt of a golden set, and keep all that comes back.

    Run it again to go on where it was left. Exit code 3 when money did not suffice for all.

    Parameters
    ----------
    policy
        A task of cascade.toml, a policy file, or the name of a policy.
    golden
        The golden set, JSONL or CSV; by default the task's own.
    out
        The recording; by default beside the golden set. One that is there is gone on with.
    samples
        Answers for each prompt and tier.
    max_cost
        US dollars that this run may cost.
    rate
        Calls begun in a minute, at the most.
    concurrency
        Calls at a time.
    scorer
        How answers are scored: a name, or a JSON object with a name and arguments; by default
        what the golden set says, or else exact.
    json
        Write one JSON object.
    """
    from cascade_policies.commands.subject import find_subject, record_now, recording_path
    from cascade_policies.recordings.assembling import spent

    subject = find_subject(policy)
    rows = subject.golden_set(golden)
    path = recording_path(subject, rows) if out is None else Path(out).expanduser()
    done = record_now(
        subject,
        rows,
        scorer=scorer,
        path=path,
        samples=samples,
        max_cost=max_cost,
        rate=rate,
        concurrency=concurrency,
    )
    recording, cost = done.recording, spent(done.recording)
    told = {
        "recording": str(path),
        "sha256": recording.sha256,
        "golden_sha256": rows.sha256,
        "rows": len(recording),
        "asked": done.asked,
        "kept": done.kept,
        "stopped": done.stopped,
        "cost_usd": {"low": cost.low, "high": cost.high},
        "models": {name: _column(recording, name) for name in recording.models},
    }
    if json:
        from cascade_policies.commands.shape import write_json

        write_json(told)
    else:
        _show(told, cost)
    if done.stopped is not None:
        from cascade_policies.commands.output import complain

        complain(f"not all was recorded: {done.stopped}. Run it again to go on")
        return NOT_ACCEPTED
    return ACCEPTED


def _column(recording: Any, name: str) -> dict[str, Any]:
    import numpy as np

    quality = recording.column(name, "correct")
    known = quality[~np.isnan(quality)]
    return {
        "answers": sum(answer is not None for answer in recording.answers(name)),
        "failed": sum(a.failed for a in recording.answers(name) if a is not None),
        "unscored": sum(a.correct is None for a in recording.answers(name) if a is not None),
        "quality": None if not len(known) else float(known.mean()),
    }


def _show(told: dict[str, Any], cost: Cost) -> None:
    from rich.table import Table

    from cascade_policies.commands.output import printable, show

    table = Table(box=None, pad_edge=False)
    for name in ("tier", "answers", "failed", "not scored", "quality"):
        table.add_column(name, justify="left" if name == "tier" else "right")
    for name, column in told["models"].items():
        quality = column["quality"]
        shown = "-" if quality is None else f"{quality:.1%}"
        counts = (str(column[key]) for key in ("answers", "failed", "unscored"))
        table.add_row(printable(name), *counts, shown)
    show(
        f"{told['recording']}: {told['rows']} rows, {told['asked']} calls made, {told['kept']} "
        f"answers were there, {cost} in all\nsha256 {told['sha256']}\n",
        table,
    )
