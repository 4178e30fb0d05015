"""The live engine on a virtual clock: who wins, when, and what becomes of the others, exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
import trio
import trio.testing

from cascade import (
    Answer,
    APIConnectionError,
    APITimeoutError,
    Call,
    CascadeExhausted,
    ConfigError,
    ContentPolicyError,
    DeadlineExceededError,
    EmptyAnswerError,
    Engine,
    FunctionError,
    Policy,
    ProviderError,
    RateLimitError,
    Request,
    Result,
    Tier,
    TruncatedAnswerError,
    Verdict,
)
from cascade.testing import NoJitter, Scripted, ScriptedCall, ScriptedModel

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_clock


def good(answer: Answer) -> Verdict:
    """Accepts what begins with "good"; tells others what to do better."""
    if answer.text.startswith("good"):
        return Verdict.accept()
    return Verdict.reject("it is not good", code="test.bad", repairable=True)


def tier(name: str, *steps: Scripted | str, **settings: Any) -> Tier:
    settings.setdefault("verify", good)
    return Tier(ScriptedModel(*steps, name=name), **settings)


def says(text: str, after: float) -> Scripted:
    return Scripted(text=text, delay=after)


def fails(after: float, **settings: Any) -> Scripted:
    return Scripted(delay=after, error=APIConnectionError("no route", **settings))


async def run(policy: Policy, **overrides: Any) -> Result:
    async with Engine(random=NoJitter()) as engine:
        return await engine.run(policy, "hello", **overrides)


def story(result: Result | CascadeExhausted | DeadlineExceededError) -> list[Any]:
    """Each attempt as (tier, outcome, started, ended)."""
    return [(a.tier, a.outcome, a.started, a.started + a.latency) for a in result.attempts]


async def test_cascade_stops_at_the_first_accepted_tier() -> None:
    policy = Policy("p", [tier("a", says("good", 1.0)), tier("b", says("good", 1.0))])
    result = await run(policy)
    assert result.accepted
    assert result.text == "good"
    assert (result.tier, result.escalations, result.latency) == ("a", 0, 1.0)
    assert story(result) == [("a", "accepted", 0.0, 1.0)]
    assert result.answer.latency == 1.0
    assert result.answer.time_to_first_token == 1.0


async def test_cascade_escalates_after_a_rejection() -> None:
    policy = Policy("p", [tier("a", says("bad", 1.0)), tier("b", says("good", 2.0))])
    result = await run(policy)
    assert (result.tier, result.escalations, result.latency) == ("b", 1, 3.0)
    assert story(result) == [("a", "rejected", 0.0, 1.0), ("b", "accepted", 1.0, 3.0)]
    assert result.attempts[0].reason == "it is not good"


async def test_race_returns_the_first_accepted_and_cancels_the_others() -> None:
    models = [tier("a", says("good", 5.0)), tier("b", says("bad", 1.0)), tier("c", says("good", 2))]
    result = await run(Policy("p", models, start_after=0))
    assert (result.tier, result.escalations, result.latency) == ("c", 0, 2.0)
    assert story(result) == [
        ("a", "cancelled", 0.0, 2.0),
        ("b", "rejected", 0.0, 1.0),
        ("c", "accepted", 0.0, 2.0),
    ]
    assert result.attempts[0].reason == "another tier was accepted first"


async def test_a_race_may_follow_an_escalation() -> None:
    models = [tier("a", says("bad", 1.0)), tier("b", says("good", 2.0)), tier("c", says("good", 9))]
    result = await run(Policy("p", models, start_after=[None, None, 0]))
    assert story(result) == [
        ("a", "rejected", 0.0, 1.0),
        ("b", "accepted", 1.0, 3.0),
        ("c", "cancelled", 1.0, 3.0),
    ]


async def test_a_task_that_has_gone_on_is_not_cancelled_for_what_it_did_before() -> None:
    class Watches:
        async def verify(self, request: Request, answer: Answer, /) -> Verdict:
            await anyio.sleep(0.5)
            return Verdict.accept()

        def prefix(self, text: str, /) -> Verdict | None:
            return Verdict.reject("hopeless") if text.startswith("bad") else None

    class Busy(ScriptedModel):
        """Its first piece of text comes while nobody else runs, past the time of the replica."""

        async def complete(self, call: Call, /) -> Answer | None:
            if self.calls:
                return await super().complete(call)
            self.calls.append(ScriptedCall(call, anyio.current_time()))
            await anyio.sleep(0.75)
            clock = trio.lowlevel.current_clock()
            assert isinstance(clock, trio.testing.MockClock)
            clock.jump(0.5)
            call.on_delta("bad " * 40)
            raise AssertionError("it was hopeless")

    # The task in which "top" is found hopeless begins the replica of "low", which is due by then.
    low = tier("low", says("good", 1000.0), says("good", 2.0), replica_after=1.0)
    busy = Busy(says("good", 1.5), name="top")
    top = Tier(busy, name="top", verify=Watches(), samples=2)
    tiers = [low, tier("mid", says("good", 1.75)), top]
    result = await run(Policy("p", tiers, start_after=0, prefer="cheapest", deadline=9.0))
    assert (result.tier, result.latency) == ("low", 3.25)
    assert [(a.tier, a.kind, a.outcome) for a in result.attempts] == [
        ("low", "first", "cancelled"),
        ("mid", "first", "accepted"),
        ("top", "first", "cancelled"),
        ("top", "first", "cancelled"),
        ("low", "replica", "accepted"),
    ]


async def test_race_that_prefers_the_cheapest_waits_for_it() -> None:
    models = [
        tier("a", says("good", 5.0)),
        tier("b", says("good", 1.0)),
        tier("c", says("good", 2)),
    ]
    result = await run(Policy("p", models, start_after=0, prefer="cheapest"))
    assert (result.tier, result.latency) == ("a", 5.0)
    assert story(result)[2] == ("c", "cancelled", 0.0, 1.0), "it could not win any more"


async def test_hedge_starts_the_next_tier_after_its_delay() -> None:
    models = [tier("a", says("good", 5.0)), tier("b", says("good", 1.0))]
    result = await run(Policy("p", models, start_after=2, prefer="fastest"))
    assert story(result) == [("a", "cancelled", 0.0, 3.0), ("b", "accepted", 2.0, 3.0)]
    assert result.escalations == 0


async def test_hedge_is_not_needed_when_the_first_tier_is_quick() -> None:
    models = [tier("a", says("good", 1.0)), tier("b", says("good", 1.0))]
    result = await run(Policy("p", models, start_after=2))
    assert story(result) == [("a", "accepted", 0.0, 1.0)]


async def test_delays_are_one_a_tier() -> None:
    models = [tier(name, says("good", 10.0)) for name in "abc"]
    result = await run(Policy("p", models, start_after=[None, 1.0, 4.0]))
    assert [a.started for a in result.attempts] == [0.0, 1.0, 5.0]


async def test_a_rejection_pulls_the_next_tier_forward() -> None:
    models = [tier("a", says("bad", 1.0)), tier("b", says("good", 1.0))]
    result = await run(Policy("p", models, start_after=4))
    assert story(result) == [("a", "rejected", 0.0, 1.0), ("b", "accepted", 1.0, 2.0)]
    assert result.escalations == 1


async def test_cheapest_waits_at_most_the_grace() -> None:
    models = [tier("a", says("good", 9.0)), tier("b", says("good", 1.0))]
    result = await run(Policy("p", models, start_after=2, grace=1.5))
    assert story(result) == [("a", "cancelled", 0.0, 4.5), ("b", "accepted", 2.0, 3.0)]
    assert result.latency == 4.5


async def test_within_the_grace_the_cheaper_answer_wins() -> None:
    models = [tier("a", says("good", 4.0)), tier("b", says("good", 1.0))]
    result = await run(Policy("p", models, start_after=2, grace=1.5))
    assert (result.tier, result.latency) == ("a", 4.0)
    assert [a.outcome for a in result.attempts] == ["accepted", "accepted"]


async def test_within_the_grace_a_rejection_ends_the_wait() -> None:
    models = [tier("a", says("bad", 4.0)), tier("b", says("good", 1.0))]
    result = await run(Policy("p", models, start_after=2, grace=1.5))
    assert (result.tier, result.latency) == ("b", 4.0)


@pytest.mark.parametrize("start_after", [None, 0, 0.5])
async def test_all_rejected_raises_with_every_attempt(start_after: float | None) -> None:
    models = [tier("a", says("bad", 1.0)), tier("b", says("worse", 1.0))]
    with pytest.raises(CascadeExhausted) as caught:
        await run(Policy("p", models, start_after=start_after))
    assert [a.outcome for a in caught.value.attempts] == ["rejected", "rejected"]
    assert caught.value.policy == "p"
    assert "a rejected (it is not good)" in str(caught.value)


async def test_all_rejected_with_best_gives_the_best_scored_as_not_accepted() -> None:
    def scored(answer: Answer) -> Verdict:
        return Verdict.reject("too low", score=float(answer.text))

    models = [tier("a", "0.4", verify=scored), tier("b", "0.3", verify=scored)]
    result = await run(Policy("p", models, exhausted="best"))
    assert not result.accepted
    assert (result.text, result.tier, result.outcome) == ("0.4", "a", "exhausted")
    assert "NOT accepted" in str(result)


@pytest.mark.parametrize("start_after", [None, 0])
@pytest.mark.parametrize("exhausted", ["raise", "best"])
async def test_all_failed_raises_whatever_exhausted_says(
    start_after: float | None, exhausted: Any
) -> None:
    models = [tier("a", fails(1.0), retries=0), tier("b", fails(2.0), retries=0)]
    with pytest.raises(CascadeExhausted) as caught:
        await run(Policy("p", models, start_after=start_after, exhausted=exhausted))
    assert [a.outcome for a in caught.value.attempts] == ["failed", "failed"]
    cause = caught.value.__cause__
    assert isinstance(cause, APIConnectionError)
    assert str(cause) == "policy 'p', tier 'b', attempt 2: no route"


async def test_a_retry_waits_and_then_answers() -> None:
    result = await run(Policy("p", [tier("a", fails(1.0), fails(1.0), says("good", 1.0))]))
    # The jitter's bound doubles: 0.5 s, then 1 s.
    assert story(result) == [
        ("a", "failed", 0.0, 1.0),
        ("a", "failed", 1.5, 2.5),
        ("a", "accepted", 3.5, 4.5),
    ]
    assert [a.kind for a in result.attempts] == ["first", "retry", "retry"]
    assert result.escalations == 0


async def test_a_retry_obeys_retry_after() -> None:
    limited = Scripted(error=RateLimitError("slow down", retry_after=7.0, status=429))
    result = await run(Policy("p", [tier("a", limited, "good")]))
    assert result.attempts[1].started == 7.5


async def test_retry_after_beyond_the_deadline_escalates_at_once() -> None:
    limited = Scripted(error=RateLimitError("slow down", retry_after=60.0, status=429))
    policy = Policy("p", [tier("a", limited), tier("b", says("good", 1.0))], deadline=10)
    result = await run(policy)
    assert story(result) == [("a", "failed", 0.0, 0.0), ("b", "accepted", 0.0, 1.0)]


async def test_what_cannot_pass_is_not_retried() -> None:
    broken = Scripted(error=ProviderError("wrong key", status=401))
    result = await run(Policy("p", [tier("a", broken), tier("b", "good")]))
    assert [(a.tier, a.outcome) for a in result.attempts] == [("a", "failed"), ("b", "accepted")]


async def test_a_stand_in_takes_over_and_is_judged_alike() -> None:
    spare = ScriptedModel(says("good", 1.0), name="spare")
    result = await run(Policy("p", [tier("a", fails(1.0), retries=0, fallbacks=[spare])]))
    assert [(a.model, a.kind, a.started) for a in result.attempts] == [
        ("a", "first", 0.0),
        ("spare", "fallback", 1.0),
    ]


async def test_a_repair_feeds_the_reason_back() -> None:
    model = ScriptedModel(says("bad", 1.0), says("good now", 2.0), name="a")
    result = await run(Policy("p", [Tier(model, verify=good, repairs=1)]))
    assert story(result) == [("a", "rejected", 0.0, 1.0), ("a", "accepted", 1.0, 3.0)]
    assert [m.role for m in model.calls[1].call.request.messages] == ["user", "assistant", "user"]
    assert model.calls[1].call.request.messages[1].text == "bad"
    assert "it is not good" in model.calls[1].call.request.text


async def test_repairs_run_out_and_the_next_tier_starts() -> None:
    result = await run(Policy("p", [tier("a", "bad", repairs=2), tier("b", "good")]))
    assert [(a.tier, a.kind) for a in result.attempts] == [
        ("a", "first"),
        ("a", "repair"),
        ("a", "repair"),
        ("b", "first"),
    ]


async def test_an_attempt_that_takes_too_long_fails_and_is_retried() -> None:
    model = tier("a", says("good", 9.0), says("good", 1.0), timeout=2.0)
    result = await run(Policy("p", [model]))
    assert story(result) == [("a", "failed", 0.0, 2.0), ("a", "accepted", 2.0, 3.0)]
    assert isinstance(result.attempts[0].error, APITimeoutError)
    assert str(result.attempts[0].error) == (
        "policy 'p', tier 'a', attempt 1: no whole answer within 2 s"
    )


async def test_a_replica_overtakes_a_slow_twin() -> None:
    slow_then_quick = tier("a", says("good", 9.0), says("good", 1.0), replica_after=2.0)
    result = await run(Policy("p", [slow_then_quick]))
    assert story(result) == [("a", "cancelled", 0.0, 3.0), ("a", "accepted", 2.0, 3.0)]
    assert result.attempts[0].reason == "its twin answered first"


async def test_a_replica_is_started_by_a_piece_of_the_very_instant_it_is_due_too() -> None:
    for _ in range(8):  # whether the timer or the piece is noticed first is chance
        drips = Scripted(text="good", delay=1.0, chunks=2, chunk_delay=2.0)
        model = tier("a", drips, says("good", 9.0), replica_after=2.0)
        begun = anyio.current_time()
        result = await run(Policy("p", [model]))
        assert anyio.current_time() - begun == 3.0
        assert story(result) == [("a", "accepted", 0.0, 3.0), ("a", "cancelled", 3.0, 3.0)]


async def test_an_ensemble_is_judged_together() -> None:
    def longest(request: Request, answers: Sequence[Answer]) -> list[Verdict]:
        del request
        size = max(len(a.text) for a in answers)
        return [
            Verdict.accept(score=1.0) if len(a.text) == size else Verdict.reject("shorter")
            for a in answers
        ]

    class Longest:
        def verify(self, request: Request, answer: Answer, /) -> Verdict:
            raise AssertionError("an ensemble has a judge of its own here")

        verify_group = staticmethod(longest)

    members = [ScriptedModel(says("x" * n, float(n)), name=f"m{n}") for n in (3, 1, 2)]
    result = await run(Policy("p", [Tier(members, verify=Longest(), name="vote")]))
    assert result.text == "xxx"
    assert [(a.model, a.outcome, a.latency) for a in result.attempts] == [
        ("m3", "accepted", 3.0),
        ("m1", "rejected", 3.0),
        ("m2", "rejected", 3.0),
    ]


async def test_samples_are_judged_one_by_one_and_the_best_score_wins() -> None:
    async def score(answer: Answer) -> Verdict:
        await anyio.sleep(1.0)
        return Verdict.accept(score=float(answer.text))

    sampled = tier("a", "0.2", "0.9", "0.5", samples=3, verify=score)
    result = await run(Policy("p", [sampled]))
    assert (result.text, result.latency) == ("0.9", 1.0)


async def test_a_slow_verifier_does_not_stop_the_race() -> None:
    async def slowly(answer: Answer) -> Verdict:
        await anyio.sleep(10.0)
        return good(answer)

    models = [tier("a", says("good", 1.0), verify=slowly), tier("b", says("good", 3.0))]
    result = await run(Policy("p", models, start_after=0))
    assert story(result) == [("a", "cancelled", 0.0, 3.0), ("b", "accepted", 0.0, 3.0)]


@pytest.mark.parametrize(("on_abstain", "winner"), [("escalate", "b"), ("accept", "a")])
async def test_a_verifier_that_takes_too_long_abstains(on_abstain: Any, winner: str) -> None:
    async def forever(answer: Answer) -> Verdict:
        await anyio.sleep_forever()
        raise AssertionError(answer)

    slow = tier("a", says("x", 1.0), verify=forever, verify_timeout=2.0, on_abstain=on_abstain)
    result = await run(Policy("p", [slow, tier("b", "good")]))
    assert (result.tier, result.latency) == (winner, 3.0)
    verdict = result.attempts[0].verdict
    assert verdict is not None
    assert (verdict.outcome, verdict.reason) == ("abstained", "the check took longer than 2 s")


@pytest.mark.parametrize(("on_abstain", "winner"), [("escalate", "b"), ("accept", "a")])
async def test_a_verifier_that_crashes_abstains(on_abstain: Any, winner: str) -> None:
    def crash(answer: Answer) -> bool:
        raise ZeroDivisionError("in the check")

    crashing = tier("a", "good", verify=crash, on_abstain=on_abstain)
    result = await run(Policy("p", [crashing, tier("b", "good")]))
    assert result.tier == winner
    verdict = result.attempts[0].verdict
    assert verdict is not None
    assert verdict.outcome == "abstained"
    assert "ZeroDivisionError: in the check" in verdict.reason


async def sleepy(answer: Answer) -> Verdict:
    await anyio.sleep(2.0)
    return good(answer)


STATES: list[tuple[str, Callable[[], Policy], float, list[Any]]] = [
    ("running", lambda: Policy("p", [tier("a", says("good", 9))]), 2.0, ["cancelled"]),
    ("racing", lambda: Policy("p", [tier("a", says("good", 9)), tier("b", says("good", 8))],
                              start_after=0), 2.0, ["cancelled", "cancelled"]),
    ("before a hedge", lambda: Policy("p", [tier("a", says("good", 9)), tier("b", "good")],
                                      start_after=5), 2.0, ["cancelled"]),
    ("judging", lambda: Policy("p", [tier("a", says("good", 1), verify=sleepy)]), 2.0,
     ["cancelled"]),
    ("judging in a race", lambda: Policy("p", [tier("a", says("good", 1), verify=sleepy),
                                               tier("b", says("good", 9))], start_after=0), 2.0,
     ["cancelled", "cancelled"]),
    ("waiting for a retry", lambda: Policy("p", [tier("a", fails(1, retry_after=5.0))]), 2.0,
     ["failed"]),
    ("retry beside a race", lambda: Policy("p", [tier("a", fails(1, retry_after=5.0)),
                                                 tier("b", says("good", 9))], start_after=0), 2.0,
     ["failed", "cancelled"]),
    ("repairing", lambda: Policy("p", [tier("a", says("bad", 1.5), repairs=1)]), 2.0,
     ["rejected", "cancelled"]),
    ("ensemble half answered", lambda: Policy("p", [Tier(
        [ScriptedModel(says("good", 1), name="m"), ScriptedModel(says("good", 9), name="n")],
        verify=good)]), 2.0, ["cancelled", "cancelled"]),
]  # fmt: skip
IDS = [name for name, *_ in STATES]
# A retry that is not due before the deadline is never waited for.
AT_DEADLINE = [state for state in STATES if state[0] != "waiting for a retry"]


@pytest.mark.parametrize(
    ("_name", "make", "at", "outcomes"), AT_DEADLINE, ids=[name for name, *_ in AT_DEADLINE]
)
async def test_deadline_in_each_state(
    _name: str, make: Callable[[], Policy], at: float, outcomes: list[str]
) -> None:
    with pytest.raises(DeadlineExceededError) as caught:
        await run(make(), deadline=at)
    assert [a.outcome for a in caught.value.attempts] == outcomes
    assert all(a.started + a.latency <= at for a in caught.value.attempts)
    assert anyio.current_time() == at
    assert isinstance(caught.value, TimeoutError)


async def test_the_error_tells_the_deadline_and_not_how_late_it_was_heeded() -> None:
    class Stubborn(ScriptedModel):
        async def complete(self, call: Call, /) -> Answer | None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(7.0)
            return await super().complete(call)

    with pytest.raises(DeadlineExceededError, match=r"within the deadline \(4\.25 s\): ") as caught:
        await run(Policy("p", [Tier(Stubborn(name="a"))]), deadline=4.25)
    assert anyio.current_time() == 7.0
    assert "7" not in str(caught.value)


@pytest.mark.parametrize(("_name", "make", "at", "outcomes"), STATES, ids=IDS)
async def test_caller_cancelled_in_each_state(
    _name: str, make: Callable[[], Policy], at: float, outcomes: list[str]
) -> None:
    policy = make()
    with anyio.move_on_after(at) as scope:
        await run(policy)
    assert scope.cancelled_caught
    assert anyio.current_time() == at
    models = [m for t in policy.tiers for m in t.models if isinstance(m, ScriptedModel)]
    records = [record for model in models for record in model.calls]
    assert all(record.outcome != "running" for record in records)
    cancelled_checks = sum(record.outcome == "answered" for record in records)
    cancelled_calls = sum(record.outcome == "cancelled" for record in records)
    assert cancelled_calls + cancelled_checks >= outcomes.count("cancelled")


async def test_a_deadline_during_grace_gives_the_accepted_answer() -> None:
    models = [tier("a", says("good", 9.0)), tier("b", says("good", 1.0))]
    result = await run(Policy("p", models, start_after=1, deadline=4.0))
    assert (result.tier, result.latency, result.accepted) == ("b", 4.0, True)


async def test_a_deadline_with_best_gives_the_rejected_answer() -> None:
    models = [tier("a", says("bad", 1.0)), tier("b", says("good", 9.0))]
    result = await run(Policy("p", models, deadline=4.0, exhausted="best"))
    assert (result.tier, result.outcome, result.accepted) == ("a", "deadline", False)


async def test_start_begins_at_the_named_tier() -> None:
    models = [tier(name, says("good", 1.0)) for name in "abc"]
    result = await run(Policy("p", models), start="b")
    assert story(result) == [("b", "accepted", 0.0, 1.0)]
    with pytest.raises(ConfigError, match=r"no tier 'bb': did you mean 'b'\?|no tier 'bb'"):
        await run(Policy("p", models), start="bb")


async def test_a_function_that_returns_none_escalates() -> None:
    async def code(prompt: str) -> str | None:
        return "good" if prompt == "known" else None

    result = await run(Policy("p", [Tier(code, verify=good), tier("b", "good")]))
    assert [(a.outcome, a.reason) for a in result.attempts] == [
        ("rejected", "declined: no answer of its own"),
        ("accepted", ""),
    ]


async def test_a_function_that_raises_is_a_typed_failure() -> None:
    async def code(prompt: str) -> str:
        raise KeyError(prompt)

    with pytest.raises(CascadeExhausted) as caught:
        await run(Policy("p", [Tier(code, name="code")]))
    error = caught.value.attempts[0].error
    assert isinstance(error, FunctionError)
    assert isinstance(error.__cause__, KeyError)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Scripted(text=""), EmptyAnswerError),
        (Scripted(text="  \n"), EmptyAnswerError),
        (Scripted(text="good", finish_reason="length"), TruncatedAnswerError),
        (Scripted(text="good", finish_reason="content_filter"), ContentPolicyError),
        (Scripted(error=RuntimeError("a bug")), ProviderError),
    ],
)
async def test_an_answer_that_is_none_is_never_a_success(
    step: Scripted, kind: type[ProviderError]
) -> None:
    with pytest.raises(CascadeExhausted) as caught:
        await run(Policy("p", [tier("a", step, verify=None)]))
    assert type(caught.value.attempts[0].error) is kind
    assert caught.value.attempts[0].outcome == "failed"


async def test_a_cut_answer_can_be_judged_where_the_tier_says_so() -> None:
    cut = tier("a", Scripted(text="good", finish_reason="length"), allow_truncated=True)
    assert (await run(Policy("p", [cut]))).accepted


async def test_provider_readiness_is_not_counted_as_the_attempts_time() -> None:
    class Slow(ScriptedModel):
        async def ready(self, model: str) -> None:
            await anyio.sleep(30.0)

    slow = Slow(says("good", 1.0), name="a")
    result = await run(Policy("p", [Tier(slow, verify=good, timeout=2.0)]))
    assert result.latency == 31.0
    with pytest.raises(DeadlineExceededError):
        await run(Policy("p", [Tier(slow, verify=good, timeout=2.0)]), deadline=5.0)


async def test_members_that_cannot_change_the_verdict_are_cancelled() -> None:
    class Majority:
        def verify(self, request: Request, answer: Answer, /) -> Verdict:
            raise AssertionError("an ensemble has a judge of its own here")

        def verify_group(self, request: Request, answers: Sequence[Answer]) -> list[Verdict]:
            return [Verdict.accept(score=1.0) for _ in answers]

        def enough(self, answers: Sequence[Answer], members: int) -> bool:
            return len(answers) * 2 > members

    members = [ScriptedModel(says("x", float(n)), name=f"m{n}") for n in (1, 9, 2)]
    result = await run(Policy("p", [Tier(members, verify=Majority(), name="vote")]))
    assert result.latency == 2.0
    assert [(a.model, a.outcome, a.reason) for a in result.attempts] == [
        ("m1", "accepted", ""),
        ("m9", "cancelled", "the others had settled it"),
        ("m2", "accepted", ""),
    ]
