"""`Judge` in real calls: scales, references, several judges, who may judge, what is asked twice."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Engine, Limits, ModelSpec, Policy, Price, Tier
from cascade.context import Check, current_check
from cascade.cost import FREE, Cost
from cascade.errors import RateLimitError
from cascade.testing import Scripted, ScriptedModel, script
from cascade.types import Answer, Request, Usage
from cascade.verdict import Verdict
from cascade_verifiers.calibration import Platt
from cascade_verifiers.judge import Judge
from cascade_verifiers.panel import Panel

pytestmark = pytest.mark.anyio

RUBRIC = "It is factually right."
QUESTION = "The capital of France?"


def marks(score: float, reason: str = "because") -> str:
    return json.dumps({"reason": reason, "score": score})


def says(passes: bool) -> str:
    return json.dumps({"reason": "because", "passes": passes})


async def run(check: Any, *, model: Any = None, name: str = "small") -> Any:
    """The result of a call whose first tier says Paris, and whose second says Rome."""
    tiers = [
        Tier(model or ScriptedModel("Paris"), verify=check, name=name),
        Tier(lambda _: "Rome", name="large"),
    ]
    async with Engine() as engine:
        return await engine.run(Policy("p", tiers), QUESTION)


async def first(check: Any, **options: Any) -> Verdict:
    verdict = (await run(check, **options)).attempts[0].verdict
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(
    ("scale", "reply", "score"),
    [
        (5, marks(4), 0.8),
        (5, marks(6), None),
        (1, marks(0.7), 0.7),
        ("yes_no", says(True), 1.0),
        ("yes_no", says(False), 0.0),
        ("yes_no", marks(10), None),
        ("yes_no", '{"reason": "r", "passes": "true"}', None),
        (10, says(True), None),
    ],
)
async def test_scales(scale: Any, reply: str, score: float | None) -> None:
    model = ScriptedModel(reply)
    assert (await first(Judge(model, RUBRIC, scale=scale))).score == score
    asked = model.calls[0].call.request
    key = "passes" if scale == "yes_no" else "score"
    schema = asked.params["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["reason", key]
    assert f'"{key}"' in asked.messages[0].text
    if key == "score":
        assert schema["properties"]["score"]["maximum"] == scale


@pytest.mark.parametrize("dynamic", [True, False])
async def test_a_reference_is_shown_and_fenced(dynamic: bool) -> None:
    model = ScriptedModel(marks(9))

    def known(request: Request) -> str:
        assert request.text == QUESTION
        return "Paris, since 987"

    await first(Judge(model, RUBRIC, reference=known if dynamic else "Paris, since 987"))
    system, user = model.calls[0].call.request.messages
    mark = user.text.partition(" question")[0]
    assert f"{mark} reference\nParis, since 987\n{mark} answer\nParis\n{mark} end" in user.text
    assert "reference answer is correct" in system.text
    plain = ScriptedModel(marks(9))
    await first(Judge(plain, RUBRIC, reference=lambda _: None))
    assert "reference" not in plain.calls[0].call.request.messages[0].text


@pytest.mark.parametrize(
    ("given", "quorum", "outcome", "score"),
    [
        ((9, 8, 1), None, "accepted", 0.8),
        ((9, 2, 1), None, "rejected", 0.2),
        ((9, 2, 1), 1, "accepted", 0.9),
        ((9, 8, 7), 3, "accepted", 0.7),
        ((9, 8, 1), 3, "rejected", 0.1),
        ((9, 8, None), None, "accepted", 0.8),
        ((9, None, 1), None, "abstained", None),
        ((1, None, 1), None, "rejected", 0.1),
        ((None, None, 1), 3, "rejected", 0.0),
        ((None, None, None), None, "abstained", None),
    ],
)
async def test_quorum(given: Any, quorum: Any, outcome: str, score: float | None) -> None:
    judges = [ScriptedModel("no JSON" if mark is None else marks(mark)) for mark in given]
    verdict = await first(Judge(judges=judges, rubric=RUBRIC, quorum=quorum))
    assert (verdict.outcome, verdict.score) == (outcome, score)
    assert [len(judge.calls) for judge in judges] == [1, 1, 1]


votes = st.one_of(st.none(), st.integers(0, 10))


@given(st.lists(votes, min_size=2, max_size=5), st.integers(1, 5), st.integers(0, 10))
def test_the_score_reaches_a_threshold_exactly_when_the_votes_do(
    given_: list[int | None], quorum: int, threshold: int
) -> None:
    quorum = min(quorum, len(given_))
    models = [f"m:{index}" for index in range(len(given_))]
    panel = Judge(judges=models, rubric="r", quorum=quorum, threshold=threshold / 10)

    def vote(mark: int | None) -> Verdict:
        if mark is None:
            return Verdict.abstain("?")
        if mark >= threshold:
            return Verdict.accept(score=mark / 10)
        return Verdict.reject("low", score=mark / 10)

    verdict = Panel._count(panel, [vote(mark) for mark in given_])
    accepts = sum(mark is not None and mark >= threshold for mark in given_)
    unknown = sum(mark is None for mark in given_)
    if accepts >= quorum:
        assert verdict.accepted
    else:
        expected = "abstained" if accepts + unknown >= quorum else "rejected"
        assert verdict.outcome == expected
    if verdict.score is not None:
        assert (verdict.score >= threshold / 10) == verdict.accepted or threshold == 0


async def test_reasons_of_all_who_reject_are_kept() -> None:
    judges = [ScriptedModel(marks(1, "too long")), ScriptedModel(marks(2, "wrong"))]
    verdict = await first(Judge(judges=judges, rubric=RUBRIC))
    assert (verdict.reason, verdict.repairable) == ("too long; wrong", True)


async def test_a_judge_that_breaks_is_an_abstention_of_its_own() -> None:
    def broken(prompt: str) -> str:
        raise ZeroDivisionError

    judges: list[Any] = [
        ScriptedModel(marks(9), name="a"),
        ScriptedModel(Scripted(error=RateLimitError("slow", status=429)), name="b"),
        broken,
        ScriptedModel(Scripted(error=LookupError("nobody")), name="d"),
    ]
    verdict = await first(Judge(judges=judges, rubric=RUBRIC, quorum=2))
    assert verdict.outcome == "abstained"
    assert verdict.reason.startswith("1 of 4 judges accept, and 2 must: ")
    assert "RateLimitError: slow" in verdict.reason
    assert "LookupError: nobody" in verdict.reason
    assert (await first(Judge(judges=judges, rubric=RUBRIC, quorum=1))).accepted


class TestInVirtualTime:
    @pytest.fixture
    def anyio_backend(self, virtual_clock: Any) -> Any:
        return virtual_clock

    async def test_judges_are_asked_at_once(self) -> None:
        judges = [ScriptedModel(Scripted(text=marks(9), delay=d)) for d in (1, 2, 3)]
        result = await run(Judge(judges=judges, rubric=RUBRIC))
        assert (result.text, result.latency) == ("Paris", 3)

    async def test_one_that_takes_too_long_does_not_hold_up_the_others(self) -> None:
        judges = [ScriptedModel(Scripted(text=marks(9), delay=d)) for d in (1, 2, 30)]
        result = await run(Judge(judges=judges, rubric=RUBRIC, timeout=5))
        assert (result.text, result.latency) == ("Paris", 5)
        assert judges[2].calls[0].outcome == "cancelled"

    async def test_who_asks_second_waits_for_the_first_and_pays_nothing(self) -> None:
        judge = ScriptedModel(Scripted(text=marks(9), delay=2))
        check = Judge(judge, RUBRIC)
        result = await run(check & Judge(judge, RUBRIC, threshold=0.8))
        assert (result.text, result.latency, len(judge.calls)) == ("Paris", 2, 1)


async def test_what_all_judges_cost_is_in_the_attempt() -> None:
    used = Usage(1000, 100)
    script("judge-one", Scripted(text=marks(9), usage=used))
    script("judge-two", Scripted(text=marks(9), usage=used))
    models = ["scripted:judge-one", "scripted:judge-two"]

    class Priced:
        """An engine in whose eyes each call costs the same."""

        def __init__(self) -> None:
            self.calls = 0

        async def complete(
            self, model: str, request: Request, *, spent: list[Cost], purse: None
        ) -> tuple[Answer, Cost]:
            self.calls += 1
            spent.append(Cost(0.001, 0.002))
            return Answer(marks(9)), spent[-1]

    engine: Any = Priced()
    spent: list[Cost] = []
    token = current_check.set(Check(engine, spent))
    try:
        judge = Judge(judges=models, rubric=RUBRIC)
        verdict = await judge.verify(Request.of(QUESTION), Answer("Paris"))
        again = await judge.verify(Request.of(QUESTION), Answer("Paris"))
    finally:
        current_check.reset(token)
    assert verdict.cost == Cost(0.002, 0.004)
    assert spent == [Cost(0.001, 0.002)] * 2
    assert (again.outcome, again.cost, engine.calls) == ("accepted", FREE, 2)


async def test_a_failed_question_is_put_again() -> None:
    judge = ScriptedModel(Scripted(error=RateLimitError("no", status=400)), marks(9))
    both = Judge(judge, RUBRIC) | Judge(judge, RUBRIC, threshold=0.8)
    assert (await first(both)).accepted
    assert len(judge.calls) == 2


@pytest.mark.parametrize("kind", ["name", "provider", "function", "spec", "function spec", "dated"])
async def test_a_model_does_not_judge_itself(kind: str) -> None:
    made = script("maker", "Paris", marks(9))
    script("scripted:maker", marks(9))

    def function(prompt: str) -> str:
        return "Paris" if prompt == QUESTION else marks(9)

    pairs: dict[str, tuple[Any, Any]] = {
        "name": ("scripted:maker", "scripted/maker"),
        "provider": (made, made),
        "function": (function, function),
        "spec": ("scripted:maker", ModelSpec("scripted/maker", limits=Limits(concurrency=2))),
        "function spec": (function, ModelSpec(function)),
        # The provider tells the name that stands behind an alias.
        "dated": ("scripted:maker", "scripted:scripted:maker"),
    }
    maker, judge = pairs[kind]
    result = await run(Judge(judge, RUBRIC), model=maker)
    verdict = result.attempts[0].verdict
    assert (verdict.outcome, verdict.code, verdict.cost) == ("abstained", "judge.same_model", FREE)
    assert "allow_same" in verdict.reason
    assert result.text == "Rome"
    if kind != "dated":
        made = script("maker", "Paris", marks(9))
        if kind == "provider":
            maker = judge = made
        result = await run(Judge(judge, RUBRIC, allow_same=True), model=maker)
        assert result.text == "Paris"


async def test_judges_may_have_settings_of_their_own() -> None:
    script("dear", *[Scripted(text=marks(9), usage=Usage(100, 100))] * 2)
    dear = ModelSpec("scripted:dear", price=Price(input=1, output=2))
    result = await run(Judge(dear, RUBRIC))
    assert (result.text, result.attempts[0].verdict.cost.low) == ("Paris", 300e-6)
    judges = [dear, ModelSpec(ScriptedModel(marks(8)))]
    assert (await first(Judge(judges=judges, rubric=RUBRIC))).score == 0.8


async def test_on_a_panel_only_the_maker_keeps_out() -> None:
    maker = ScriptedModel("Paris", name="maker")
    others = [ScriptedModel(marks(9), name="a"), ScriptedModel(marks(8), name="b")]
    verdict = await first(Judge(judges=[maker, *others], rubric=RUBRIC), model=maker)
    assert (verdict.outcome, verdict.score, len(maker.calls)) == ("accepted", 0.8, 1)


async def test_marks_are_calibrated() -> None:
    level = Platt(0.0, math.log(0.3 / 0.7), 10, "")
    verdict = await first(Judge(ScriptedModel(marks(10, "fine")), RUBRIC, calibrator=level))
    assert verdict.score == pytest.approx(0.3)
    assert verdict.reason == "fine"  # what a repair needs is kept


async def test_tool_calls_are_judged_too() -> None:
    from cascade.types import ToolCall

    maker = ScriptedModel(Scripted(text="", tool_calls=(ToolCall("get", '{"a": 1}'),)))
    judge = ScriptedModel(marks(9))
    await first(Judge(judge, RUBRIC), model=maker)
    assert '{"call": "get", "arguments": "{\\"a\\": 1}"}' in judge.calls[0].call.request.text
