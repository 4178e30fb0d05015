"""The benchmark: what it prints follows from what was run."""

from __future__ import annotations

import json

import pytest

from benchmarks import support_ticket, ticket_forms
from benchmarks.ticket_day import HANDBOOK_TOKENS, STEPS, SYSTEM, made, tickets, tokens
from cascade import Usage
from cascade_policies.audit.audit import Audit

Measured = tuple[Audit, list[support_ticket.Row]]


@pytest.fixture(scope="module")
def measured() -> Measured:
    return support_ticket.measure(20, 3)


@pytest.fixture
def as_measured(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command prints what was measured once."""

    def once(count: int, seed: int) -> Measured:
        assert (count, seed) == (20, 3)
        return measured

    monkeypatch.setattr(support_ticket, "measure", once)


@pytest.mark.usefixtures("as_measured")
def test_before_is_the_sum_of_its_calls_and_after_is_far_below(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert support_ticket.main(["--tickets", "20", "--seed", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    calls = list(made(tickets(20, 3), 3))
    price = ticket_forms.price("anthropic", "claude-opus-4-1")
    costs = [price.of(Usage(call.input_tokens, call.output_tokens)) or 0 for call in calls]
    assert found["before_usd"] == pytest.approx(sum(costs) / 20)
    assert 0.75 < found["before_usd"] < 0.95
    assert found["after_usd"] < 0.05
    assert found["ratio"] == found["before_usd"] / found["after_usd"] > 15
    assert found["proposal"] == {
        name: list(need) for name, need in support_ticket.expected().items()
    }
    before, cached, same_prompts, routed = found["forms"]
    assert before["frontier_calls"] == cached["frontier_calls"] == len(STEPS)
    assert same_prompts["code_calls"] == routed["code_calls"] == 10
    assert routed["small_calls"] == 3
    assert 1 <= routed["frontier_calls"] < 2
    assert before["cost"] > cached["cost"] > same_prompts["cost"] > routed["cost"]
    assert routed["p50"] < before["p50"] / 2
    assert routed["right"] >= 0.97


def test_the_handbook_is_in_every_prompt_before() -> None:
    for call in made(tickets(3), 0):
        assert call.input_tokens == HANDBOOK_TOKENS + tokens(SYSTEM + call.prompt)


@pytest.mark.usefixtures("as_measured")
def test_the_table_has_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert support_ticket.main(["--tickets", "20", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {form.name} " in out for form in ticket_forms.FORMS)
    proposed = "the audit of 250 others proposes: 10 code, 3 small, 1 frontier"
    assert out.startswith(f"20 tickets of 14 calls; {proposed}\n")


def test_no_tickets_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        support_ticket.main(["--tickets", "0"])
    assert "needs 1 or more" in capsys.readouterr().err
