"""What an audit found, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cascade.cost import Cost
from cascade_policies.audit.audit import Audit, Finding
from cascade_policies.audit.calls import Reading
from cascade_policies.audit.saving import assumptions, middle
from cascade_policies.ledger.redaction import Redact, secret_redactor

if TYPE_CHECKING:
    from rich.table import Table

_TEMPLATE: Final = 100
_MOST_SHOWN: Final = 40
_LEAST_NEEDED: Final = ("answers", "bits", "p50", "chars", "as proposed", "p95", "cost")
_STYLES: Final = {"code": "green", "small": "cyan", "mid": "yellow", "frontier": "red"}


def report(audit: Audit, width: int) -> Iterator[Any]:
    """What to show, from top to bottom: what was read, the kinds of calls, why, and the saving.

    The table leaves out columns that find no room in ``width`` characters.
    """
    redact = secret_redactor()
    yield from (redact(part) if isinstance(part, str) else part for part in _parts(audit, width))


def _parts(audit: Audit, width: int) -> Iterator[Any]:
    yield _read(audit)
    yield ""
    yield _table(audit, width)
    yield ""
    if rest := audit.findings[_MOST_SHOWN:]:
        calls = sum(len(one.group.calls) for one in rest)
        yield f"and {_many(len(rest), 'kind')} more with {_many(calls, 'call')}: see --json"
        yield ""
    yield "Why"
    for one in audit.findings[:_MOST_SHOWN]:
        yield ""
        yield from _why(one)
    yield ""
    yield _saving(audit)
    yield f"This estimate takes for granted: {'; '.join(assumptions(audit.models))}."


def _read(audit: Audit) -> str:
    reading = audit.reading
    names = {"ledger": "a ledger", "spans": "OpenTelemetry spans", "requests": "a log of requests"}
    line = f"{reading.source}: {names[reading.form]}, {_many(len(reading.calls), 'call')}"
    if times := sorted(call.began for call in reading.calls if call.began is not None):
        line += f", {_day(times[0])} to {_day(times[-1])}"
    parts = [line]
    if reading.other:
        parts.append(f"{_many(reading.other, 'span')} of other kinds")
    if unread := reading.reasons.total():
        reasons = ", ".join(f"{n:,} {why}" for why, n in reading.reasons.most_common())
        numbers = ", ".join(f"{number}" for number, _ in reading.unread)
        more = ", …" if unread > len(reading.unread) else ""
        parts.append(f"{_many(unread, 'line')} not read ({reasons}): {numbers}{more}")
    parts += _left_out(reading)
    if audit.unpriced:
        parts.append(f"{_many(audit.unpriced, 'call')} without a known price, in no sum below")
    return "\n".join(parts)


def _left_out(reading: Reading) -> Iterator[str]:
    """What cannot be judged for want of texts."""
    blind = sum(call.prompt is None for call in reading.calls)
    mute = sum(call.answer is None and not call.failed for call in reading.calls)
    if blind:
        hashed = any(call.prompt is None and call.prompt_key for call in reading.calls)
        also = "duplicates are told by their hashes" if hashed else "nor duplicates"
        yield (
            f"{_many(blind, 'prompt')} not kept: templates, what answers depend on and rephrasings "
            f"cannot be told for them; {also}"
        )
    if mute:
        yield f"{_many(mute, 'answer')} not kept: what these calls need cannot be told"


def _table(audit: Audit, width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    rows = [_row(one) for one in audit.findings[:_MOST_SHOWN]]
    names = list(rows[0]) if rows else []
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    for name in _LEAST_NEEDED:
        if names and sum(widths[name] + 2 for name in names) - 2 > width:
            names.remove(name)
    table = Table(box=None, pad_edge=False)
    for name in names:
        left = name in ("task", "needs", "kind")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        style = _STYLES.get(row["needs"], "")
        table.add_row(*(Text(row[name], style=style if name == "needs" else "") for name in names))
    return table


def _row(one: Finding) -> dict[str, str]:
    return {
        "task": one.name,
        "calls": f"{len(one.group.calls):,}",
        "share": "?" if one.share is None else f"{one.share:.1%}",
        "cost": _cost(one),
        "p50": _seconds(one.p50),
        "p95": _seconds(one.p95),
        "chars": "?" if one.answer_p50 is None else f"{one.answer_p50:,.0f}",
        "answers": f"{len(one.group.answers):,}" if one.group.answers else "?",
        "bits": "?" if one.group.entropy is None else f"{one.group.entropy:.1f}",
        "needs": one.need.level,
        "kind": one.need.kind,
        "as proposed": "?" if one.routed is None else str(one.routed),
    }


def _cost(one: Finding) -> str:
    if one.unpriced == len(one.group.calls):
        return "unknown"
    return f"{one.cost}{' +?' if one.unpriced else ''}"


def _why(one: Finding) -> Iterator[str]:
    yield f"{one.name}: {one.need.level}{f', {one.need.kind}' if one.need.kind else ''}"
    shown = one.template
    yield f"  prompt   {shown if len(shown) <= _TEMPLATE else f'{shown[: _TEMPLATE - 1]}…'}"
    yield f"  models   {', '.join(map(_named, one.group.models[:5]))}"
    for sentence in one.need.evidence:
        yield f"  because  {sentence}"
    if failed := len(one.group.calls) - len(one.group.answered):
        yield f"  failed   {_many(failed, 'call')}"
    if one.repeated.calls:
        yield (
            f"  again    {_many(one.repeated.calls, 'call')} asked before word for word "
            f"({one.repeated.same:,} answered the same), {one.repeated.cost}: a cache would do"
        )
    if one.rephrasing is not None and one.need.kind != "rephrasing":
        yield f"  says     {one.rephrasing.source} again in other words"


def _named(model: str) -> str:
    return " ".join(model.split()) or "not named"


def _saving(audit: Audit) -> str:
    now, then = middle(audit.cost), middle(audit.routed)
    if not now:
        return "What it cost is not known, so neither is what would be saved."
    return f"As it is: {audit.cost}. As proposed: about {audit.routed}, {1 - then / now:.0%} less."


def shape(audit: Audit) -> dict[str, Any]:
    """The object of ``--json``."""
    found: dict[str, Any] = _redacted(_shape(audit), secret_redactor())
    return found


def _redacted(value: Any, redact: Redact) -> Any:
    """The same without what looks like a secret."""
    match value:
        case str():
            return redact(value)
        case list():
            return [_redacted(item, redact) for item in value]
        case dict():
            return {redact(key): _redacted(item, redact) for key, item in value.items()}
    return value


def _shape(audit: Audit) -> dict[str, Any]:
    reading = audit.reading
    return {
        "source": reading.source,
        "form": reading.form,
        "calls": len(reading.calls),
        "lines": reading.lines,
        "other_spans": reading.other,
        "unread": {
            "lines": reading.reasons.total(),
            "reasons": dict(reading.reasons),
            "first": [{"line": line, "reason": reason} for line, reason in reading.unread],
        },
        "prompts_not_kept": sum(call.prompt is None for call in reading.calls),
        "answers_not_kept": sum(c.answer is None and not c.failed for c in reading.calls),
        "cost": _cost_shape(audit.cost),
        "unpriced_calls": audit.unpriced,
        "proposed_cost": _cost_shape(audit.routed),
        "models": {
            "small": audit.models.small,
            "mid": audit.models.mid,
            "frontier": audit.models.frontier,
        },
        "assumptions": assumptions(audit.models),
        "tasks": [_finding_shape(one) for one in audit.findings],
    }


def _finding_shape(one: Finding) -> dict[str, Any]:
    need = one.need
    return {
        "name": one.name,
        "call_site": one.group.place,
        "template": one.template,
        "models": one.group.models,
        "calls": len(one.group.calls),
        "failed": len(one.group.calls) - len(one.group.answered),
        "cost": _cost_shape(one.cost if one.unpriced < len(one.group.calls) else Cost.unknown()),
        "unpriced_calls": one.unpriced,
        "share": one.share,
        "latency_s": {"p50": one.p50, "p95": one.p95},
        "answer_chars": {"p50": one.answer_p50, "p95": one.answer_p95},
        "different_answers": len(one.group.answers) or None,
        "answer_entropy_bits": one.group.entropy,
        "needs": need.level,
        "kind": need.kind,
        "evidence": list(need.evidence),
        "explained": {"right": need.right, "of": need.total} if need.total else None,
        "draft": None if need.draft is None else str(need.draft),
        "labels": list(need.labels),
        "repeated": {
            "calls": one.repeated.calls,
            "same_answer": one.repeated.same,
            "cost": _cost_shape(one.repeated.cost),
        },
        "rephrases": None if one.rephrasing is None else one.rephrasing.source,
        "proposed_cost": None if one.routed is None else _cost_shape(one.routed),
    }


def _cost_shape(cost: Cost) -> dict[str, Any]:
    return {"low": cost.low, "high": cost.high, "basis": cost.basis}


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f} s"


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _day(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return "?"
