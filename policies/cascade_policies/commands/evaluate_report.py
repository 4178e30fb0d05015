"""What ``cascade eval`` shows: the candidates, the thresholds, the comparison, the worst rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.table import Table

from cascade_policies.commands.output import printable, show
from cascade_policies.evaluating.evaluation import Evaluation, worst
from cascade_policies.evaluating.thresholds import Measured
from cascade_policies.recordings.recording import Recording

_LONGEST: Final = 400

Found = Sequence[tuple[Recording, Evaluation]]


def shapes(found: Found, count: int) -> dict[str, Any]:
    """The object of ``--json``."""
    return {
        "passed": all(one.passed for _, one in found),
        "evaluations": [_shape(recording, one, count) for recording, one in found],
    }


def show_all(found: Found, count: int) -> None:
    """Tables and words, on standard output."""
    for recording, one in found:
        show(*_tables(recording, one), *_worst_text(one, count))


def _shape(recording: Recording, one: Evaluation, count: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "task": one.run.task,
        "at": one.run.at,
        "recording": str(recording.path),
        "recording_sha256": one.run.recording_sha256,
        "golden_sha256": one.run.golden_sha256,
        "scorer": one.run.scorer,
        "thresholds": one.run.thresholds,
        "accepted_new_thresholds": one.run.accepted_new_thresholds,
        "rows": len(one.field.recording),
        "unasked": one.field.unasked,
        "unscorable": list(one.field.unscorable),
        "doubtful": one.field.doubtful,
        "candidates": [_measured(each) for each in one.measured],
        "chosen": one.run.chosen,
        "meets": one.subject,
        "passed": one.passed,
        "worst": [_bad(one, *bad) for bad in _bad_rows(one, count)],
    }
    if one.comparison is not None:
        told["baseline"] = {
            "at": one.comparison.at,
            "candidates": {name: pair._asdict() for name, pair in one.comparison.found.items()},
            "regressions": one.comparison.regressions,
            "broken": one.comparison.broken,
        }
    return told


def _measured(one: Measured) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "rows": one.rows,
        "score": one.score._asdict(),
        "recall": one.recall,
        "cost_per_call_usd": one.cost,
        "latency_p50_s": one.p50,
        "latency_p95_s": one.p95,
        "meets": one.meets,
        "checks": [
            {"key": check.key, "wanted": check.wanted, "got": check.got, "meets": check.meets}
            for check in one.checks
        ],
    }


def _tables(recording: Recording, one: Evaluation) -> list[Any]:
    field, parts = one.field, list[Any]()
    title = one.run.task or (recording.path.name if recording.path else "recording")
    parts.append(f"{printable(title)}: {len(field.recording)} rows{_left_out(one)}\n")
    recall = any(each.recall is not None for each in one.measured)
    names = ["", "score", "95% interval", *(["recall"] if recall else []),
             "$ per 1,000", "p50", "p95", "meets"]  # fmt: skip
    table = Table(box=None, pad_edge=False)
    for index, name in enumerate(names):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for each in one.measured:
        mark = "* " if one.chosen is each else "  "
        cells = [f"{mark}{printable(each.name)}", f"{each.score.mean:.1%}",
                 f"{each.score.low:.1%} to {each.score.high:.1%}"]  # fmt: skip
        cells += [_share(each.recall)] if recall else []
        cost = "unknown" if each.cost is None else f"{1000 * each.cost:.2f}"
        cells += [cost, _seconds(each.p50), _seconds(each.p95), _meets(each)]
        table.add_row(*cells)
    parts.append(table)
    if one.run.thresholds:
        wanted = ", ".join(f"{key} = {value:g}" for key, value in one.run.thresholds.items())
        chosen = "none meets them"
        if one.chosen is not None:
            known = one.chosen.cost is not None
            what = "the cheapest that meets them" if known else "the best that meets them"
            chosen = f"* {what}{'' if known else ' (costs are not known)'}: {one.chosen.name}"
        parts.append(f"\nthresholds: {wanted}; {printable(chosen)}")
    if one.comparison is not None:
        parts.append(_compared(one))
    return parts


def _left_out(one: Evaluation) -> str:
    told = []
    if one.field.unasked:
        told.append(f"{one.field.unasked} left out: not asked of every model")
    if one.field.unscorable:
        told.append(f"{len(one.field.unscorable)} left out: no answer could be scored")
    told += [f"{count} of {name} counted as wrong: could not be scored"
             for name, count in one.field.doubtful.items()]  # fmt: skip
    return "".join(f"; {each}" for each in told)


def _compared(one: Evaluation) -> str:
    assert one.comparison is not None
    lines = [f"\nagainst the run of {one.comparison.at}:"]
    for name, pair in one.comparison.found.items():
        word = "REGRESSION" if name in one.comparison.regressions else "no more than chance"
        if name not in one.comparison.regressions and pair.p <= 0.05:
            word = (
                "better" if pair.difference > 0 else "worse, but not beyond chance in so many tests"
            )
        broken = one.comparison.broken[name][:5]
        rows = f"; worse: {', '.join(broken)}" if broken else ""
        lines.append(
            f"  {name}: {pair.difference:+.1%} ({pair.better} better, {pair.worse} worse of "
            f"{pair.rows}; p = {pair.p:.2g}, {pair.test}): {word}{rows}"
        )
    if not one.comparison.found:
        lines.append("  no candidate and row is in both")
    return printable("\n".join(lines))


def _bad_rows(one: Evaluation, count: int) -> list[Any]:
    if count < 1:
        return []
    policy = next((each.name for each in one.measured if each.kind == "policy"), None)
    name = policy or one.run.chosen or max(one.measured, key=lambda m: m.score.mean).name
    return worst(one.field, count, name)


def _bad(one: Evaluation, row: Any, candidate: Any, at: int) -> dict[str, Any]:
    tier = candidate.tier[at]
    answer = None if tier is None else row.models.get(tier)
    return {
        "id": row.id,
        "candidate": candidate.name,
        "quality": float(candidate.quality[at]),
        "tier": tier,
        "prompt": row.prompt if row.prompt is not None else row.messages or row.variables,
        "answer": None if answer is None else answer.output,
        "error": None if answer is None else answer.error,
        "reference": row.reference,
        "reason": "" if answer is None else str(answer.extra.get("score_reason", "")),
        "right": [each.name for each in one.field.candidates if each.quality[at] == 1],
    }


def _worst_text(one: Evaluation, count: int) -> list[str]:
    parts = []
    for bad in _bad_rows(one, count):
        told = _bad(one, *bad)
        right = f"; right: {', '.join(told['right'])}" if told["right"] else ""
        lines = [f"\n{told['id']}: {told['quality']:.2f} by {told['tier'] or 'no tier'}{right}"]
        for key in ("prompt", "answer", "reference", "reason", "error"):
            if told[key] not in (None, ""):
                text = " ".join(str(told[key]).split())
                cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
                lines.append(f"  {key}: {cut}")
        parts.append(printable("\n".join(lines)))
    return parts


def _meets(one: Measured) -> str:
    if one.meets is None:
        return "-"
    bad = [check.key for check in one.checks if not check.meets]
    return "yes" if not bad else f"no: {', '.join(bad)}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} s"
