"""A day of the support-ticket workflow: each of its fourteen steps is found for what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import ticket_day, ticket_logs
from benchmarks.support_ticket import expected, proposal
from cascade_policies.audit.audit import Audit, audit_calls
from cascade_policies.audit.fitting import same
from cascade_policies.audit.sources import read_calls
from cascade_policies.ledger.database import connect

TICKETS = 120


def log(path: Path, seed: int, form: str) -> Path:
    made = ticket_day.made(ticket_day.tickets(TICKETS, seed), seed)
    if form == "ledger":
        connection = connect(path)
        ticket_logs.fill_ledger(connection, made)
        connection.close()
        return path
    lines = ticket_logs.span_log(made) if form == "spans" else ticket_logs.request_log(made)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("form", "seed"),
    [*(("requests", seed) for seed in range(2)), ("spans", 5), ("ledger", 7)],
)  # fmt: skip
def test_every_step_is_found(tmp_path: Path, form: str, seed: int) -> None:
    reading = read_calls(log(tmp_path / "day", seed, form))
    assert reading.form == form
    assert len(reading.calls) == TICKETS * len(ticket_day.STEPS)
    audit = audit_calls(reading)
    assert proposal(audit) == expected()
    check_rephrasings(audit)
    assert audit.routed.high is not None
    assert audit.cost.low is not None
    assert audit.routed.high < audit.cost.low / 5


def check_rephrasings(audit: Audit) -> None:
    said = {one.name: one.rephrasing.source for one in audit.findings if one.rephrasing}
    assert said == {
        "restate_ticket": "its own input",
        "soften_reply": "the answer of draft_reply",
    }


@pytest.mark.parametrize("seed", [1])
def test_without_names_the_prompts_tell_the_steps_apart(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "day.jsonl"
    made = list(ticket_day.made(ticket_day.tickets(TICKETS, seed), seed))
    path.write_text("\n".join(ticket_logs.request_log(iter(made), named=False)), encoding="utf-8")
    audit = audit_calls(read_calls(path))
    steps = {}
    for one in audit.findings:
        names = {made[call.line - 1].step.name for call in one.group.calls}
        assert len(names) == 1, "no group mixes two steps"
        steps[names.pop()] = (one.need.level, one.need.kind)
    assert len(audit.findings) == len(ticket_day.STEPS), "no step is in two groups"
    assert steps == expected()


def test_drafts_answer_tickets_they_were_not_made_from(tmp_path: Path) -> None:
    audit = audit_calls(read_calls(log(tmp_path / "day", 3, "requests")))
    drafts = {one.name: one.need.draft for one in audit.findings}
    for step in ticket_day.STEPS:
        draft = drafts[step.name]
        assert (draft is not None) == (step.level == "code")
        if draft is None:
            continue
        wrong = 0
        others = ticket_day.tickets(100, 99)
        for ticket in others:
            answer = draft(step.ask(ticket))
            if step.kind == "keywords":
                wrong += answer is None or answer.lower().strip(".") != step.answer(ticket)
            else:
                right = step.answer(ticket)
                assert answer is not None, step.name
                assert isinstance(right, str)
                assert same(answer, right), step.name
        assert wrong <= 0.05 * len(others), step.name


def test_shares_and_costs_add_up(tmp_path: Path) -> None:
    audit = audit_calls(read_calls(log(tmp_path / "day", 0, "requests")))
    shares = [one.share for one in audit.findings]
    assert shares == sorted(shares, key=lambda share: -(share or 0))
    assert sum(share or 0 for share in shares) == pytest.approx(1)
    assert audit.unpriced == 0
    for one in audit.findings:
        assert one.p50 is not None
        assert one.p95 is not None
        assert one.p50 <= one.p95
    assert {one.group.entropy for one in audit.findings if one.need.kind == "constant"} == {0}


def test_hashed_texts_are_not_judged_but_still_counted(tmp_path: Path) -> None:
    made = ticket_day.made(ticket_day.tickets(50, 0), 0)
    with_texts = connect(tmp_path / "l.db")
    ticket_logs.fill_ledger(with_texts, made, keep=False)
    with_texts.close()
    audit = audit_calls(read_calls(tmp_path / "l.db"))
    assert {one.need.level for one in audit.findings} == {"unknown"}
    assert sum(len(one.group.calls) for one in audit.findings) == 50 * 14
    constant = next(one for one in audit.findings if one.name == "acknowledge")
    assert "by their hashes" in constant.need.evidence[0]
    assert constant.group.entropy == 0
    assert all(one.share is not None and one.answer_p50 is not None for one in audit.findings)
    assert audit.routed == audit.cost or audit.routed.low == audit.cost.low
