"""The state machine over recorded attempts, in virtual time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cascade import Answer, APIConnectionError, CallError, Engine, Policy, Tier, Verdict
from cascade.bind import may_overlap
from cascade.events import Plan, TierPlan
from cascade.replay import NotRecordedError, Recorded, Replayed, replay
from cascade.testing import NoJitter, Scripted, ScriptedModel

GOOD = Verdict.accept(score=0.9)
BAD = Verdict.reject("bad", score=0.1)
REPAIRABLE = Verdict.reject("bad", score=0.1, repairable=True)


def answer(seconds: float = 1.0, verdict: Verdict | None = GOOD, **more: Any) -> Recorded:
    return Recorded(latency=seconds, low=1.0, high=2.0, verdict=verdict, **more)


def failure(seconds: float = 1.0, *, retryable: bool = True) -> Recorded:
    return Recorded(latency=seconds, low=0.0, high=0.0, ended="failed", retryable=retryable)


def plan(*tiers: TierPlan, **more: Any) -> Plan:
    delays = more.pop("delays", (None,) * len(tiers))
    return Plan(tiers=tiers, delays=delays, overlaps=may_overlap(tiers, delays[1:]), **more)


def steps(call: Replayed) -> list[tuple[Any, ...]]:
    return [(a.tier, a.kind, a.outcome, a.started, a.latency) for a in call.attempts]


def test_a_rejected_answer_escalates() -> None:
    row = [[[[answer(1.0, BAD, check_latency=0.5)]]], [[[answer(2.0, quality=1.0)]]]]
    call = replay(plan(TierPlan(), TierPlan()), row)
    assert (call.outcome, call.tier, call.quality) == ("accepted", 1, 1.0)
    assert (call.latency, call.escalations, call.low, call.high) == (3.5, 1, 2.0, 4.0)
    assert steps(call) == [(0, "first", "rejected", 0.0, 1.5), (1, "first", "accepted", 1.5, 2.0)]


def test_retries_draw_further_samples_and_wait_the_mean_of_the_jitter() -> None:
    row = [[[[failure(), failure(), answer()]]]]
    call = replay(plan(TierPlan(retries=2)), row)
    assert [a.started for a in call.attempts] == [0.0, 1.25, 2.75]
    assert [a.kind for a in call.attempts] == ["first", "retry", "retry"]


def test_a_retry_without_a_sample_is_refused_by_name() -> None:
    with pytest.raises(NotRecordedError, match="2 samples of a model"):
        replay(plan(TierPlan(retries=1)), [[[[failure()]]]])
    call = replay(plan(TierPlan(retries=1)), [[[[failure(retryable=False)]]]])
    assert (call.outcome, call.tier, call.quality) == ("exhausted", None, 0.0)


def test_a_stand_in_is_another_choice() -> None:
    row = [[[[failure()], [answer(quality=0.5)]]]]
    call = replay(plan(TierPlan(fallbacks=1)), row)
    assert [(a.choice, a.kind) for a in call.attempts] == [(0, "first"), (1, "fallback")]
    assert call.quality == 0.5


def test_a_repair_is_the_answer_that_followed() -> None:
    first = answer(1.0, REPAIRABLE, repair=answer(3.0, quality=1.0))
    call = replay(plan(TierPlan(repairs=1)), [[[[first]]]])
    assert [(a.kind, a.started) for a in call.attempts] == [("first", 0.0), ("repair", 1.0)]
    assert (call.latency, call.quality) == (4.0, 1.0)
    with pytest.raises(NotRecordedError, match="the answer to a repair"):
        replay(plan(TierPlan(repairs=1)), [[[[answer(1.0, REPAIRABLE)]]]])


def test_a_failed_repair_is_not_tried_again_from_other_samples() -> None:
    first = answer(1.0, REPAIRABLE, repair=failure())
    with pytest.raises(NotRecordedError, match="a repair once more"):
        replay(plan(TierPlan(repairs=1, retries=1)), [[[[first, answer()]]]])


def test_members_of_an_ensemble_are_judged_each_by_its_own() -> None:
    row = [[[[answer(1.0, BAD)]], [[answer(2.0, quality=1.0)]]]]
    call = replay(plan(TierPlan(members=2)), row)
    assert [(a.member, a.outcome) for a in call.attempts] == [(0, "rejected"), (1, "accepted")]
    assert (call.latency, call.low) == (2.0, 2.0)


def test_a_replica_starts_when_the_first_token_is_late() -> None:
    slow = answer(9.0, first_token=5.0)
    call = replay(plan(TierPlan(replica_after=2.0)), [[[[slow, answer(1.0)]]]])
    assert steps(call) == [
        (0, "first", "cancelled", 0.0, 3.0),
        (0, "replica", "accepted", 2.0, 1.0),
    ]


def test_no_replica_starts_while_the_answer_flows() -> None:
    call = replay(plan(TierPlan(replica_after=2.0)), [[[[answer(9.0, first_token=1.0)]]]])
    assert steps(call) == [(0, "first", "accepted", 0.0, 9.0)]


def test_a_replica_needs_the_time_to_the_first_token() -> None:
    with pytest.raises(NotRecordedError, match="first token"):
        replay(plan(TierPlan(replica_after=2.0)), [[[[answer(9.0), answer()]]]])


def test_an_attempt_at_its_timeout_is_late_and_costs_what_had_come() -> None:
    late = answer(4.0, first_token=2.0)
    call = replay(plan(TierPlan(timeout=3.0)), [[[[late]]]])
    assert steps(call) == [(0, "first", "failed", 0.0, 3.0)]
    assert (call.low, call.high) == (0.5, 2.0)


def test_a_check_that_takes_too_long_abstains() -> None:
    slow = answer(1.0, check_latency=5.0, check_cost=0.25)
    call = replay(plan(TierPlan(verify_timeout=2.0)), [[[[slow]]]])
    assert steps(call) == [(0, "first", "rejected", 0.0, 3.0)]
    assert (call.low, call.high) == (0.75, 2.0)
    kept = replay(plan(TierPlan(verify_timeout=2.0, on_abstain="accept")), [[[[slow]]]])
    assert (kept.outcome, kept.latency) == ("accepted", 3.0)


def test_of_two_answers_in_one_instant_the_lower_tier_is_first() -> None:
    row = [[[[answer(2.0)]]], [[[answer(2.0)]]]]
    call = replay(plan(TierPlan(), TierPlan(), delays=(None, 0.0), prefer="fastest"), row)
    assert [a.outcome for a in call.attempts] == ["accepted", "cancelled"]


def test_the_best_rejected_answer_is_given_where_it_is_asked_for() -> None:
    row = [[[[answer(1.0, BAD, quality=1.0)]]]]
    assert replay(plan(TierPlan()), row).tier is None
    call = replay(plan(TierPlan()), row, best=True)
    assert (call.outcome, call.tier, call.quality) == ("exhausted", 0, 1.0)


def test_a_hedge_waits_where_the_budget_has_none() -> None:
    row = [[[[answer(2.0)]]], [[[answer(1.0)]]]]
    hedged = plan(TierPlan(), TierPlan(), delays=(None, 1.0))
    assert len(replay(hedged, row).attempts) == 2
    assert len(replay(hedged, row, extra=lambda: False).attempts) == 1


def test_an_unknown_latency_is_no_matter_in_a_cascade_and_refused_elsewhere() -> None:
    row = [[[[answer(math.nan, BAD)]]], [[[answer(1.0)]]]]
    call = replay(plan(TierPlan(), TierPlan()), row)
    assert (call.tier, call.low, math.isnan(call.latency)) == (1, 2.0, True)
    cases: list[dict[str, Any]] = [{"delays": (None, 1.0)}, {"deadline": 9.0}]
    for more in cases:
        with pytest.raises(NotRecordedError, match="how long"):
            replay(plan(TierPlan(), TierPlan(), **more), row)


def test_an_unknown_cost_stays_one() -> None:
    unknown = Recorded(latency=3.0, low=math.nan, high=math.nan, verdict=GOOD)
    call = replay(
        plan(TierPlan(), TierPlan(), delays=(None, 0.0), prefer="fastest"),
        [[[[answer(1.0)]]], [[[unknown]]]],
    )
    assert (math.isnan(call.low), math.isnan(call.high)) == (True, True)


def test_what_was_not_recorded_is_named() -> None:
    with pytest.raises(NotRecordedError, match="needs an answer, which"):
        replay(plan(TierPlan()), [[[[]]]])
    with pytest.raises(NotRecordedError, match="verdict"):
        replay(plan(TierPlan()), [[[[answer(verdict=None)]]]])
    assert replay(plan(TierPlan(judged=False)), [[[[answer(verdict=None)]]]]).tier == 0


@pytest.mark.parametrize(
    ("more", "elapsed", "cost"),
    [
        ({}, 3.0, (0.0, 8.0)),  # nothing is known to have been streamed
        ({"first_token": 2.0}, 2.0, (0.0, 8.0)),
        ({"first_token": 2.0}, 3.0, (2.0, 8.0)),
        ({"first_token": 2.0, "prompt_cost": 1.0}, 3.0, (2.5, 8.0)),
        ({"first_token": 2.0, "prompt_cost": 1.0, "stops": True}, 3.0, (2.5, 6.25)),
        ({"first_token": 2.0, "prompt_cost": 1.0, "stops": True}, 1.0, (0.0, 2.75)),
        ({"first_token": 2.0, "stops": True}, 3.0, (2.0, 8.0)),
        ({"first_token": 2.0, "prompt_cost": 1.0, "stops": False}, 3.0, (2.5, 8.0)),
        ({"first_token": 4.0, "prompt_cost": 1.0, "stops": True}, 4.0, (0.0, 8.0)),
    ],
)
def test_a_cancelled_call_costs_what_had_come_to_what_may_be_billed(
    more: dict[str, Any], elapsed: float, cost: tuple[float, float]
) -> None:
    call = Recorded(latency=4.0, low=5.0, high=9.0, check_cost=1.0, **more)
    assert call.cut_short(elapsed) == cost


# Against the live engine


@dataclass
class Step:
    """One answer, for the scripted model and for the replay."""

    kind: str
    seconds: float

    def scripted(self) -> Scripted:
        text = None if self.kind == "declined" else self.kind
        error = APIConnectionError("gone") if self.kind == "failed" else None
        return Scripted(text=text, delay=self.seconds, error=error)

    def recorded(self, check: float) -> Recorded:
        if self.kind in ("failed", "declined"):
            ended: Any = self.kind
            return Recorded(latency=self.seconds, low=0.0, high=0.0, ended=ended, retryable=True)
        return answer(self.seconds, verdict_on(self.kind), check_latency=check)


def verdict_on(text: str) -> Verdict:
    if text == "unsure":
        return Verdict.abstain("unsure")
    return Verdict.accept() if text == "good" else Verdict.reject("bad")


kinds = st.sampled_from(["good", "bad", "unsure", "failed", "failed", "declined"])
answers = st.builds(Step, kinds, st.integers(0, 8).map(lambda n: n / 4))
limits = st.one_of(st.none(), st.integers(1, 9).map(lambda n: n / 4))


@st.composite
def tiers(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "steps": draw(st.lists(answers, min_size=3, max_size=3)),
        "check": draw(st.sampled_from([0.0, 0.0, 0.5, 1.0])),
        "timeout": draw(limits),
        "verify_timeout": draw(limits),
        "retries": draw(st.integers(0, 2)),
        "on_abstain": draw(st.sampled_from(["escalate", "accept"])),
    }


def live(specs: list[dict[str, Any]], deadline: float | None) -> list[Any]:
    def tier(index: int, steps: list[Step], check: float, **more: Any) -> Tier:
        async def verify(given: Answer) -> Verdict:
            await anyio.sleep(check)
            return verdict_on(given.text)

        model = ScriptedModel(*(step.scripted() for step in steps), name=f"t{index}")
        return Tier(model, verify=verify, **more)

    async def main() -> list[Any]:
        built = [tier(index, **spec) for index, spec in enumerate(specs)]
        async with Engine(random=NoJitter()) as engine:
            try:
                end: Any = await engine.run(Policy("p", built, deadline=deadline), "hello")
                won = int(end.tier[1:])
            except CallError as error:
                end, won = error, None
        rows = [(int(a.tier[1:]), a.kind, a.outcome, a.started, a.latency) for a in end.attempts]
        return [won, trio.current_time(), *rows]

    return trio.run(main, clock=MockClock(autojump_threshold=0))


@settings(max_examples=150, deadline=None)
@given(st.lists(tiers(), min_size=1, max_size=3), limits)
def test_retries_and_limits_are_those_of_the_live_engine(
    specs: list[dict[str, Any]], deadline: float | None
) -> None:
    keys = ("timeout", "verify_timeout", "retries", "on_abstain")
    plans = [TierPlan(**{key: spec[key] for key in keys}) for spec in specs]
    row = [[[[step.recorded(spec["check"]) for step in spec["steps"]]]] for spec in specs]
    call = replay(plan(*plans, deadline=deadline), row, random=NoJitter())
    assert [call.tier, call.latency, *steps(call)] == live(specs, deadline)
