"""`Certified`: answers are audited in the background, and a broken certificate is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from cascade import (
    Answer,
    ConfigError,
    Engine,
    Policy,
    PromptError,
    Request,
    Result,
    Tier,
    Verdict,
)
from cascade.context import call_model
from cascade.records import CallRecord
from cascade.testing import Scripted
from cascade_policies.shadow import Certified, checked_by
from cascade_policies.shadow.keeping import exchange
from tests.policies.shadow.conftest import Records, Told, good, model, says

pytestmark = pytest.mark.anyio


def cascade_of(*small: Scripted | str, top: Scripted | str = "good") -> Policy:
    """A small model, and the one that is right."""
    return Policy(
        "tickets",
        [
            Tier(model(*small, name="s"), name="small", verify=good),
            Tier(model(top, name="t"), name="top", verify=good),
        ],
    )


def asked(policy: Policy, tier: int = 1) -> list[float]:
    return [call.started for call in policy.tiers[tier].model.calls]  # type: ignore[union-attr]


async def run(certified: Certified, calls: int, *observers: Any) -> None:
    async with Engine(observers=observers) as engine, certified.running(engine):
        for number in range(calls):
            await engine.run(certified.entry, f"prompt {number}")


async def test_the_top_tier_is_asked_after_the_call(records: Records, told: Told) -> None:
    policy = cascade_of(says("good", 1.0), top=says("good  ", 3.0))
    certified = Certified(policy, error=0.05, share=1.0)
    async with Engine(observers=[records]) as engine:
        async with certified.running(engine):
            began = anyio.current_time()
            result = await engine.run(certified.entry, "hello")
            assert (result.tier, anyio.current_time() - began) == ("small", 1.0)
        assert anyio.current_time() - began == 4.0
    assert asked(policy) == [began + 1.0]
    original, audit = records.all
    assert (original.policy, audit.policy) == ("tickets", "tickets audit")
    assert (audit.variant, audit.first) == (f"audit of {original.id}", "top")
    assert (certified.tally.audited, certified.tally.error) == (1, 0.0)
    [event] = told("cascade.answer_audited")
    assert (event["call_id"], event["error"]) == (original.id, 0.0)


async def test_wrong_answers_break_the_certificate_and_calls_fall_back(
    records: Records, told: Told
) -> None:
    policy = cascade_of(says("good but wrong", 1.0), top=says("good", 0.5))
    certified = Certified(policy, error=0.05, share=1.0)
    await run(certified, 60, records)
    [event] = told("cascade.certificate_broken")
    assert (event["policy"], event["certified"], event["error"]) == ("tickets", 0.05, 1.0)
    assert event["low"] > 0.05
    assert event["audited"] == certified.tally.audited < 20
    assert certified.broken is not None
    served = [record for record in records.all if record.policy == "tickets"]
    arms = [record.route.label for record in served if record.route is not None]
    assert arms == sorted(arms)  # certified, and from then on fallback
    assert served[-1].first == "top"
    assert len(records.of("tickets audit")) < 25


async def test_a_certificate_that_holds_is_kept() -> None:
    steps = [f"good{' but wrong' * (number % 50 == 0)}" for number in range(400)]
    certified = Certified(cascade_of(*steps), error=0.05, share=1.0, queue=1000)
    await run(certified, 400)
    assert certified.broken is None
    assert certified.tally.audited == 400
    assert certified.tally.error == 8 / 400
    low, high = certified.tally.interval(0.05)
    assert low < 0.02 < high < 0.06


async def test_the_last_certified_policy_is_the_fallback(records: Records) -> None:
    last = Policy("tickets-1", [Tier(model("good"), name="old", verify=good)])
    policy = cascade_of(says("good but wrong", 1.0))
    certified = Certified(policy, error=0.05, share=1.0, fallback=last)
    await run(certified, 60, records)
    assert records.of("tickets-1")
    assert certified.route(Request.of("hi"), ("certified", "fallback")).start == "fallback"


async def test_what_the_top_tier_said_itself_is_right_and_costs_nothing() -> None:
    policy = cascade_of("bad")
    certified = Certified(policy, error=0.05, share=1.0)
    await run(certified, 10)
    assert len(asked(policy)) == 10
    assert (certified.tally.audited, certified.tally.error) == (10, 0.0)


async def test_a_share_of_the_answers() -> None:
    certified = Certified(cascade_of("good"), error=0.05, share=0.1, seed=3, queue=1000)
    await run(certified, 500)
    assert 30 < certified.tally.audited < 75
    assert certified.work.dropped == 0


async def test_doubtful_answers_are_audited_more_often() -> None:
    """Those to even prompts are wrong in half of the cases; they are audited with certainty."""

    def number_of(record: CallRecord) -> int:
        return int(record.request.text.split()[1])

    def doubt(record: CallRecord) -> float:
        return 0.0 if number_of(record) % 2 else 1.0  # 0.0: the least is meant

    steps = [f"good{' but wrong' * (number % 4 == 0)}" for number in range(800)]
    certified = Certified(cascade_of(*steps), error=0.4, share=doubt, least=0.1, seed=5, queue=1000)
    await run(certified, 800)
    assert 400 < certified.tally.audited < 500
    error = certified.tally.error
    assert error is not None
    assert abs(error - 0.25) < 0.05


def reads(request: Request, given: Result, top: Result) -> float:
    return 0.25 if request.text.startswith("prompt") and given.text != top.text else 1.0


async def opinion(request: Request, given: Result, top: Result) -> Verdict:
    return Verdict.abstain("who knows") if top.text == "good" else Verdict.accept()


async def judge(request: Request, given: Result, top: Result) -> Verdict:
    answer, cost = await call_model(model("good"), Request.of(f"{given.text}? {top.text}!"))
    return Verdict.accept(cost=cost) if answer.text == "good" else Verdict.reject("no")


@pytest.mark.parametrize(
    ("compare", "audited", "error"),
    [
        (reads, 3, 0.75),
        (opinion, 0, None),
        (judge, 3, 0.0),
        (lambda request, given, top: None, 0, None),
        (checked_by(lambda top: lambda answer: answer.text.startswith(top.text)), 3, 0.0),
        (checked_by(lambda top: lambda answer: answer.text == top.text), 3, 1.0),
    ],
)
async def test_any_comparer(compare: Callable[..., Any], audited: int, error: float | None) -> None:
    certified = Certified(cascade_of("good enough"), error=0.5, share=1.0, compare=compare)
    await run(certified, 3)
    assert (certified.tally.audited, certified.tally.error) == (audited, error)
    assert certified.undecided == 3 - audited
    assert certified.work.failed == 0


@pytest.mark.parametrize("said", [2.0, "yes", float("nan"), -1])
async def test_a_comparer_that_says_something_else_is_no_audit(said: Any, told: Told) -> None:
    certified = Certified(
        cascade_of("good enough"), error=0.5, share=1.0, compare=lambda *three: said
    )
    await run(certified, 1)
    assert (certified.tally.audited, certified.work.failed) == (0, 1)
    assert len(told("cascade.background_failed")) == 1


async def test_a_top_tier_without_an_answer_says_nothing() -> None:
    policy = cascade_of("good", top=Scripted(text=None))
    certified = Certified(policy, error=0.05, share=1.0)
    await run(certified, 4)
    assert (certified.tally.audited, certified.undecided, certified.work.failed) == (0, 4, 0)


async def test_what_the_top_tiers_check_rejects_is_what_it_says_all_the_same() -> None:
    certified = Certified(cascade_of("good", top="odd"), error=0.05, share=1.0)
    await run(certified, 1)
    assert certified.tally.error == 1.0


async def test_it_goes_on_after_a_restart(told: Told) -> None:
    state: dict[str, Any] | None = None
    while state is None or state["broken"] is None:
        policy = cascade_of("good but wrong")
        certified = Certified(policy, error=0.05, share=1.0, state=state)
        await run(certified, 1)
        state = json.loads(json.dumps(certified.to_dict()))
        assert state is not None
    certified = Certified(cascade_of("good but wrong"), error=0.05, share=1.0, state=state)
    assert certified.broken is not None
    assert certified.tally.audited < 20
    assert len(told("cascade.certificate_broken")) == 1
    with pytest.raises(ConfigError, match=r"error=0\.05 .* not 0\.1 and 1\.0"):
        Certified(cascade_of("good"), error=0.1, share=1.0, state=state)
    with pytest.raises(ConfigError, match="state"):
        Certified(cascade_of("good"), error=0.05, share=1.0, state={**state, "tally": {}})
    with pytest.raises(ConfigError, match="broken='now'"):
        Certified(cascade_of("good"), error=0.05, share=1.0, state={**state, "broken": "now"})


async def test_processes_share_a_broken_certificate(path: Any) -> None:
    first, second = (Certified(cascade_of("good but wrong"), error=0.05, share=1.0) for _ in "ab")
    for guard in (first, second):
        guard.keep()
    await run(first, 40)
    assert first.broken is None  # what it saw waits for the exchange
    exchange(first, path)
    exchange(second, path)
    assert second.broken == first.broken is not None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"error": 0.0}, "error=0.0"),
        ({"alpha": 1.0}, "alpha=1.0"),
        ({"share": 0.0}, "share=0.0"),
        ({"share": lambda record: 1.0}, "give the least"),
        ({"share": 0.5, "least": 0.1}, "does nothing"),
    ],
)
async def test_impossible_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Certified(cascade_of("good"), **{"error": 0.05, **settings})


async def test_what_cannot_be_audited_is_refused() -> None:
    lone = Policy("lone", [Tier(model("good"), name="t")])
    with pytest.raises(ConfigError, match="nothing to audit"):
        Certified(lone, error=0.05)
    top = Tier(model("good"), name="top", prompt="{{prompt}} in {{tongue}}")
    tiers = [*cascade_of("good").tiers[:1], top]
    async with Engine() as engine:
        with pytest.raises(PromptError, match="'tongue' is missing"):
            Certified(Policy("p", tiers), error=0.05).running(engine)
    with pytest.raises(ConfigError, match=r"use its \.entry"):
        Policy("p", cascade_of("good").tiers, router=Certified(cascade_of("good"), error=0.05))


def test_exact_compares_tool_calls_and_not_white_space() -> None:
    from cascade import ToolCall
    from cascade_policies.shadow import exact

    def result(text: str, *calls: ToolCall) -> Any:
        return type("R", (), {"text": text, "answer": Answer(text, calls)})()

    request, call = Request.of("hi"), ToolCall("f", "{}")
    assert exact(request, result("a  b\n"), result("a b"))
    assert not exact(request, result("a b"), result("ab"))
    assert exact(request, result("", call), result("", ToolCall("f", "{}", id="1")))
    assert not exact(request, result("", call), result(""))
