"""What an engine counts in memory is what the ledger says of the same calls."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from cascade import Answer, CallError, Engine, Policy, RateLimitError, Tier, Verdict
from cascade.records import CallRecord
from cascade.testing import Scripted, ScriptedModel
from cascade_policies.ledger.database import connect
from cascade_policies.ledger.insert import write_calls
from cascade_policies.ledger.rows import Recorder
from cascade_policies.report.metrics import Metrics
from cascade_policies.report.prometheus import ledger_text
from cascade_policies.report.queries import read_report
from cascade_policies.report.source import Source
from cascade_policies.report.window import Window


class Records:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.all: list[CallRecord] = []

    def call_finished(self, record: CallRecord, /) -> None:
        self.all.append(record)


def check(answer: Answer) -> Verdict:
    """Accepts "good", cannot tell of "odd", and rejects the rest."""
    if answer.text == "good":
        return Verdict.accept()
    if answer.text == "odd":
        return Verdict.abstain("it is odd", code="test.odd")
    return Verdict.reject("it is bad", code="test.bad", repairable=True)


def step(kind: str, after: float) -> Scripted:
    if kind == "failed":
        return Scripted(delay=after, error=RateLimitError("slow down", status=429))
    return Scripted(text=kind, delay=after)


def tier(name: str, *steps: Scripted, **settings: Any) -> Tier:
    model = ScriptedModel(*steps, name=name)
    return Tier(model, name=name, verify=check, **settings)


def policy(*tiers: Tier, name: str = "p", **settings: Any) -> Policy:
    return Policy(name, tiers, **settings)


def run(*policies: Policy) -> tuple[list[CallRecord], Metrics]:
    """Call each policy once, on a virtual clock."""
    records, metrics = Records(), Metrics()

    async def calls() -> None:
        async with Engine(observers=[metrics, records]) as engine:
            for policy in policies:
                with suppress(CallError):
                    await engine.run(policy, "a question")

    trio.run(calls, clock=trio.testing.MockClock(autojump_threshold=0))
    return records.all, metrics


def written(records: Sequence[CallRecord], path: Path) -> str:
    """What the ledger says of them."""
    with closing(connect(path)) as connection:
        assert write_calls(connection, Recorder(), records) == len(records)
        return ledger_text(connection)


def samples(text: str) -> dict[str, float]:
    """Every value that is not 0, by its name and labels."""
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    pairs = (line.rsplit(" ", 1) for line in lines)
    return {name: round(float(value), 6) for name, value in pairs if float(value)}


def reasons(records: Sequence[CallRecord], path: Path) -> dict[str, dict[str, int]]:
    """Why each tier escalated, and how often."""
    with closing(connect(path)) as connection:
        write_calls(connection, Recorder(), records)
        at = records[0].began
        report = read_report(Source(connection, Window.around(at, at)))
    return {
        one.tier: {reason.name: reason.count for reason in one.reasons}
        for one in report.tasks[0].tiers
        if one.escalation.count
    }


TIERS = st.lists(
    st.tuples(
        st.lists(
            st.tuples(
                st.sampled_from(["good", "bad", "odd", "failed"]), st.sampled_from([0.25, 0.5, 1.0])
            ),
            min_size=4,
            max_size=4,
        ),
        st.sampled_from([None, 0.0, 0.3, 0.5, 1.1]),  # start_after
        st.sampled_from([0, 1]),  # retries
        st.sampled_from([0, 1]),  # repairs
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=25)
@given(drawn=st.lists(TIERS, min_size=1, max_size=4), deadline=st.sampled_from([None, 0.9]))
def test_ledger_and_engine_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any], deadline: float | None
) -> None:
    policies = [
        policy(
            *(
                tier(f"t{n}", *(step(*one) for one in steps), retries=retries, repairs=repairs)
                for n, (steps, _, retries, repairs) in enumerate(tiers)
            ),
            start_after=[None, *(after for _, after, _, _ in tiers[1:])] if tiers[1:] else None,
            name=f"p{index % 2}",
            deadline=deadline,
        )
        for index, tiers in enumerate(drawn)
    ]
    records, metrics = run(*policies)
    text = written(records, tmp_path_factory.mktemp("m") / "ledger.db")
    assert samples(metrics.text()) == samples(text)
    # A tier escalated in a call if and only if the engine says that there was an escalation.
    for name in {policy.name for policy in policies}:
        its = [record for record in records if record.policy == name]
        counted = samples(text).get(f'cascade_escalated_calls_total{{policy="{name}"}}', 0)
        assert counted == sum(record.escalations > 0 for record in its)
        out = [
            key
            for key in samples(text)
            if key.startswith(f'cascade_escalations_total{{policy="{name}"')
        ]
        assert bool(out) == bool(counted)


def test_a_cascade_escalates_at_every_tier_but_the_last(tmp_path: Path) -> None:
    failing = tier("b", step("failed", 1), retries=0)
    records, _ = run(policy(tier("a", step("bad", 1)), failing, tier("c", step("good", 1))))
    assert reasons(records, tmp_path / "l.db") == {
        "a": {"check: test.bad": 1},
        "b": {"RateLimitError": 1},
    }


def test_the_last_tier_never_escalates(tmp_path: Path) -> None:
    records, _ = run(policy(tier("a", step("bad", 1)), tier("b", step("bad", 1))))
    assert records[0].outcome == "exhausted"
    assert reasons(records, tmp_path / "l.db") == {"a": {"check: test.bad": 1}}


def test_what_a_race_started_is_no_escalation(tmp_path: Path) -> None:
    race = policy(tier("a", step("bad", 1)), tier("b", step("good", 2)), start_after=0)
    records, _ = run(race)
    assert reasons(records, tmp_path / "l.db") == {}


def test_all_that_were_out_when_the_next_was_started_escalate(tmp_path: Path) -> None:
    tiers = tier("a", step("bad", 1)), tier("b", step("odd", 2)), tier("c", step("good", 1))
    records, _ = run(policy(*tiers, start_after=[None, 0, None]))
    assert reasons(records, tmp_path / "l.db") == {
        "a": {"check: test.bad": 1},
        "b": {"check: test.odd (abstained)": 1},
    }


def test_a_hedge_that_was_out_early_escalates_and_one_that_was_late_does_not(
    tmp_path: Path,
) -> None:
    def hedge(after: float) -> Policy:
        return policy(tier("a", step("bad", after)), tier("b", step("good", 5)), start_after=2)

    records, _ = run(hedge(1))
    assert reasons(records, tmp_path / "early.db") == {"a": {"check: test.bad": 1}}
    records, _ = run(hedge(3))
    assert reasons(records, tmp_path / "late.db") == {}


def test_a_repair_decides_and_not_the_answer_before_it(tmp_path: Path) -> None:
    first = tier("a", step("bad", 1), step("odd", 1), repairs=1)
    records, _ = run(policy(first, tier("b", step("good", 1))))
    assert reasons(records, tmp_path / "l.db") == {"a": {"check: test.odd (abstained)": 1}}


LINE = re.compile(
    r"[a-z_]+(_bucket|_sum|_count)?"
    r'\{([a-z_]+="([^"\\\n]|\\[\\"n])*")(,[a-z_]+="([^"\\\n]|\\[\\"n])*")*\} [0-9.e+-]+'
)


@settings(max_examples=30)
@given(name=st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=20))
def test_any_name_is_escaped(name: str) -> None:
    metrics = Metrics()
    [record], _ = run(policy(tier("a", step("good", 1))))
    metrics.call_finished(changed(record, policy=name))
    lines = metrics.text().split("\n")
    assert lines.pop() == ""
    for line in lines:
        assert line.startswith("# ") or LINE.fullmatch(line), line


def test_histograms_add_up() -> None:
    _, metrics = run(*(policy(tier("a", step("good", s))) for s in (0.01, 0.2, 3.0, 30.0)))
    text = samples(metrics.text())
    buckets = [
        value
        for name, value in text.items()
        if name.startswith("cascade_call_latency_seconds_bucket")
    ]
    assert buckets == sorted(buckets)
    assert text['cascade_call_latency_seconds_bucket{policy="p",le="+Inf"}'] == 4
    assert text['cascade_call_latency_seconds_bucket{policy="p",le="10"}'] == 3
    assert text['cascade_call_latency_seconds_bucket{policy="p",le="0.1"}'] == 1
    assert text['cascade_call_latency_seconds_count{policy="p"}'] == 4
    assert text['cascade_call_latency_seconds_sum{policy="p"}'] == 33.21


def test_text_may_be_asked_for_by_another_thread() -> None:
    records, metrics = run(policy(tier("a", step("bad", 1)), tier("b", step("good", 1))))
    failures = []
    done = threading.Event()

    def scrape() -> None:
        try:
            while not done.is_set():
                metrics.text()
        except RuntimeError as error:
            failures.append(error)

    thread = threading.Thread(target=scrape)
    thread.start()
    for number in range(2000):
        metrics.call_finished(changed(records[0], policy=f"p{number}"))
    done.set()
    thread.join()
    assert not failures
