"""``cascade replay``."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cascade.errors import ConfigError
from cascade_policies.commands.errors import ACCEPTED
from cascade_policies.commands.output import show, working

if TYPE_CHECKING:
    from rich.table import Table

    from cascade.policy import Policy
    from cascade.replay import Replayed
    from cascade_policies.replaying.plans import PolicyReplay
    from cascade_policies.replaying.summary import Mean, Share, Summary


def replay(
    policy: str,
    recording: Path,
    /,
    *,
    what_if: Annotated[list[str] | None, Parameter(name="--what-if")] = None,
    calls: Path | None = None,
    json: bool = False,
) -> int:
    """What a policy would have come to on recorded answers: accuracy, cost, latency, escalation.

    No model is called and no check is run.

    Parameters
    ----------
    policy
        A policy file, or the name of a policy.
    recording
        A recording, as made by `cascade record`.
    what_if
        Change the policy: KEY=VALUE, like start_after=0 or tiers.small.threshold=0.8. It is
        compared with the policy as it stands.
    calls
        Write each call to this file, one JSON object a line.
    json
        Write one JSON object instead of tables.
    """
    from cascade_policies.recordings import Recording
    from cascade_policies.replaying.plans import PolicyReplay
    from cascade_policies.replaying.summary import summarise

    changes = what_if or []
    with working("replaying"):
        held = Recording.load(recording)
        versions = [[], changes] if changes else [[]]
        found: list[tuple[PolicyReplay, list[Replayed]]] = []
        for overrides in versions:
            one = PolicyReplay(_policy(policy, overrides), held)
            found.append((one, one.run()))
        names = [[tier.name for tier in one.policy.tiers] for one, _ in found]
        summaries = [summarise(run, of) for (_, run), of in zip(found, names, strict=True)]
    if calls is not None:
        _write(calls, *found[-1])
    if json:
        from cascade_policies.commands.shape import write_json

        keys = ("as_it_stands", "what_if") if changes else ("replay",)
        write_json(
            {
                "policy": found[0][0].policy.name,
                "recording": {"sha256": held.sha256, "rows": len(held)},
                "changes": changes,
                **dict(zip(keys, summaries, strict=True)),
            }
        )
    else:
        show(f"{found[0][0].policy.name} over {len(held)} rows of {held.sha256[:12]}\n")
        show(*_shown(summaries, changes))
    return ACCEPTED


def _policy(reference: str, changes: Sequence[str]) -> Policy:
    from cascade_policies.search import find_policy_file

    try:
        return find_policy_file(reference, overrides=changes).policy
    except ConfigError as error:
        # Elsewhere the same changes are made by an option of another name.
        if error.message.startswith("--set"):
            raise ConfigError(error.message.replace("--set", "--what-if", 1)) from None
        raise


def _write(path: Path, replayed: PolicyReplay, calls: Sequence[Replayed]) -> None:
    """One line a call: its id, what came of it, and its attempts."""
    from cascade_policies.commands.shape import to_json

    names = [tier.name for tier in replayed.policy.tiers]
    try:
        with path.open("w", encoding="utf-8") as file:
            for row, call in zip(replayed.recording.rows, calls, strict=True):
                file.write(f"{to_json({'id': row.id, **_call(call, names)})}\n")
    except OSError as error:
        raise ConfigError(f"--calls: cannot write {str(path)!r}: {error.strerror}") from error


def _call(call: Replayed, names: Sequence[str]) -> dict[str, Any]:
    return {
        "outcome": call.outcome,
        "tier": None if call.tier is None else names[call.tier],
        "quality": _known(call.quality),
        "cost_low": _known(call.low),
        "cost_high": _known(call.high),
        "latency_s": _known(call.latency),
        "escalations": call.escalations,
        "attempts": [
            {
                "tier": names[attempt.tier],
                "kind": attempt.kind,
                "outcome": attempt.outcome,
                "started_s": attempt.started,
                "latency_s": attempt.latency,
                "cost_low": _known(attempt.low),
                "cost_high": _known(attempt.high),
            }
            for attempt in call.attempts
        ],
    }


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _shown(summaries: Sequence[Summary], changes: Sequence[str]) -> list[Table]:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=bool(changes))
    heads = ("as it stands", " ".join(changes))[: len(summaries)]
    for name in ("", *(heads if changes else ("",))):
        table.add_column(name)
    for name, cells in _figures(summaries):
        table.add_row(name, *cells)
    tables = [table]
    for summary, head in zip(summaries, heads, strict=True):
        each = Table(box=None, pad_edge=False, title=head if changes else None)
        each.title_justify = "left"
        for name in ("tier", "started", "out", "answered", "accuracy", "US$ per 1,000 calls"):
            each.add_column(name)
        for tier in summary.tiers:
            shares = (_share(tier.started), _share(tier.out), _share(tier.answered))
            each.add_row(tier.tier, *shares, _mean(tier.accuracy), _dollars(tier.per_1000))
        tables.append(each)
    return tables


def _figures(summaries: Sequence[Summary]) -> list[tuple[str, list[str]]]:
    kinds = ("accepted", "exhausted", "deadline")
    latency = ("mean", "p50", "p90", "p95", "p99")
    return [
        ("accuracy", [_mean(each.accuracy, each.unknown) for each in summaries]),
        ("US$ per 1,000", [_dollars(each.per_1000) for each in summaries]),
        *(
            (f"latency {name}", [_seconds(each.latency, name) for each in summaries])
            for name in latency
        ),
        *((kind, [f"{each.outcomes[kind]:,}" for each in summaries]) for kind in kinds),
    ]


def _share(share: Share) -> str:
    if share.share is None:
        return "-"
    return f"{share.share:.1%} ({share.low:.1%} to {share.high:.1%})"


def _mean(mean: Mean | None, unknown: int = 0) -> str:
    if mean is None:
        return f"unknown: {unknown:,} answers are not scored" if unknown else "-"
    return f"{mean.mean:.1%} ({mean.low:.1%} to {mean.high:.1%})"


def _dollars(cost: tuple[float, float] | None) -> str:
    if cost is None:
        return "unknown"
    low, high = (f"{value:,.4f}" if value < 1 else f"{value:,.2f}" for value in cost)
    return low if low == high else f"{low} to {high}"


def _seconds(latency: dict[str, float] | None, name: str) -> str:
    return "unknown" if latency is None else f"{latency[name]:.3f} s"
