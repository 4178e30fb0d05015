"""A small model labels the request."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Answer, Cost, Engine, Policy, Price, Request, Tier, Usage
from cascade.errors import APIConnectionError, BudgetExceededError, ConfigError
from cascade.model import ModelSpec
from cascade.records import CallRecord
from cascade.routing import Route, decide
from cascade.testing import Scripted, ScriptedModel
from cascade_policies.routers import Llm
from cascade_policies.routers.expense import FEWEST, QUIET, Expense

CHOICES = ("small", "mid", "large")
LABELS = {"easy": "small", "hard": "mid"}
REQUEST = Request.of("How far is the moon?")


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_clock


async def asked(model: ScriptedModel, request: Request = REQUEST, **options: Any) -> Route:
    async with Engine() as engine:
        router = Llm(model, LABELS, **options)
        return await decide(router, request, CHOICES, engine=engine, policy="p")


@pytest.mark.parametrize("said", ["hard", " Hard.\n", '"HARD"', "**hard**"])
@pytest.mark.anyio
async def test_a_label_begins_at_its_tier(said: str) -> None:
    route = await asked(ScriptedModel(Scripted(text=said, delay=0.5), name="tiny"))
    assert (route.start, route.label, route.latency) == ("mid", "hard", 0.5)
    assert route.reason == "tiny says 'hard'"
    assert route.cost == Cost.unknown()  # a scripted model has no price


@pytest.mark.parametrize(
    "said",
    [
        "medium",
        "I would say: hard",
        "hard easy",
        "easy\nhard",
        "h\u0430rd",
        "hard" * 10_000,
        '{"label": "hard"}',
    ],
)
@pytest.mark.anyio
async def test_anything_else_begins_at_the_strongest(said: str) -> None:
    route = await asked(ScriptedModel(said))
    assert (route.start, route.label) == ("large", "")
    assert route.reason.startswith("the reply ")
    assert route.reason.endswith("is no label, so the strongest")
    assert len(route.reason) < 200


@pytest.mark.anyio
async def test_a_failure_begins_at_the_strongest() -> None:
    route = await asked(ScriptedModel(Scripted(error=APIConnectionError("gone"), delay=1.0)))
    assert (route.start, route.latency) == ("large", 1.0)
    assert route.reason == "no label, so the strongest: gone"


@pytest.mark.anyio
async def test_a_model_with_a_price_of_its_own() -> None:
    reply = Scripted(text="hard", usage=Usage(1_000_000, 100_000))
    spec = ModelSpec(ScriptedModel(reply, name="tiny"), price=Price(input=1, output=10))
    async with Engine() as engine:
        router = Llm(spec, LABELS)
        route = await decide(router, REQUEST, CHOICES, engine=engine, policy="p")
    assert (route.start, route.cost) == ("mid", Cost(2.0, 2.0))


@pytest.mark.anyio
async def test_it_has_so_many_seconds() -> None:
    model = ScriptedModel(Scripted(text="easy", delay=60))
    route = await asked(model, timeout=2.0)
    assert (route.start, route.latency) == ("large", 2.0)
    assert route.reason == "no label, so the strongest: it took more than 2 s"
    assert [call.outcome for call in model.calls] == ["cancelled"]


@pytest.mark.parametrize(
    "error", [ConfigError("no such model"), BudgetExceededError("no money left")]
)
@pytest.mark.anyio
async def test_what_no_strong_tier_can_help_begins_at_the_first(error: Exception) -> None:
    route = await asked(ScriptedModel(Scripted(error=error)))
    assert route.start is None
    assert str(error) in route.reason


@pytest.mark.anyio
async def test_the_question() -> None:
    model = ScriptedModel("easy")
    long = Request.of("begin " + "x" * 10_000 + " end")
    await asked(
        model, long, max_chars=200, descriptions={"easy": "a word or two"}, params={"seed": 1}
    )
    sent = model.calls[0].call.request
    system, user = sent.messages
    assert (system.role, user.role) == ("system", "user")
    assert "- easy: a word or two\n- hard" in system.text
    assert "x" * 90 in user.text
    assert "begin " in user.text
    assert " end\n" in user.text
    assert len(user.text) < 400
    mark = user.text.split(" request\n")[0]
    assert mark in system.text
    assert sent.params == {"temperature": 0, "max_tokens": 16, "seed": 1}


@pytest.mark.anyio
async def test_parameters_can_be_left_out_and_the_prompt_is_ones_own() -> None:
    model = ScriptedModel("easy")
    for nothing in (None, "none"):
        params = {"temperature": nothing, "max_tokens": 500}
        await asked(model, params=params, prompt="Sort:\n{{labels}}")
        assert model.calls[-1].call.request.params == {"max_tokens": 500}
    sent = model.calls[0].call.request
    assert sent.messages[0].text == "Sort:\n- easy\n- hard"


@pytest.mark.anyio
async def test_evidence_is_the_question_and_calls_nothing() -> None:
    model = ScriptedModel("easy")
    evidence = Llm(model, LABELS).evidence(REQUEST)
    await asked(model)
    sent = [message.text for message in model.calls[0].call.request.messages]
    assert [evidence["system"], evidence["user"]] == sent
    assert len(model.calls) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "tiny"}, "tiny"),
        ({"model": 3}, "model=3: needs 'provider:model'"),
        ({"labels": {}}, "labels={}: needs a table"),
        ({"labels": ["easy"]}, "needs a table"),
        ({"labels": {"easy": ""}}, "labels: 'easy': needs the name of a tier"),
        ({"labels": {1: "small"}}, "labels: 1: needs the name of a tier"),
        ({"labels": {"easy": "small", "hard": "small"}}, "labels: do nothing, as all of them"),
        ({"labels": {"Easy": "small", "easy": "mid"}}, "are the same answer"),
        ({"descriptions": {"easi": "x"}}, "descriptions: easi: did you mean 'easy'"),
        ({"descriptions": {"easy": " "}}, "descriptions: easy=' ': needs a text"),
        ({"descriptions": "x"}, "needs a table of texts"),
        ({"prompt": "Sort."}, "prompt: needs {{labels}}"),
        ({"prompt": 3}, "prompt=3"),
        ({"prompt": "{{labels}} {{prompt}}"}, "prompt: {{prompt}}: known: labels, mark"),
        ({"timeout": 0}, "timeout=0: needs seconds above 0"),
        ({"max_chars": 10}, "max_chars=10"),
        ({"params": [1]}, "params="),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("{", r"\{")):
        Llm(**{"model": "openai:tiny", "labels": LABELS, **options})


def test_a_policy_refuses_labels_of_other_tiers() -> None:
    tiers = [Tier(ScriptedModel("x"), name=name) for name in ("small", "large")]
    with pytest.raises(ConfigError, match="labels: hard='mid': known: large, small"):
        Policy("p", tiers, router=Llm("openai:tiny", LABELS))


@given(st.text(st.characters(), max_size=300), st.text(st.characters(), max_size=300))
def test_no_reply_leads_anywhere_but_to_a_tier(reply: str, prompt: str) -> None:
    router = Llm("openai:tiny", LABELS)
    request = Request.of(f"{prompt}.")
    assert router._read(request, Answer(reply)) in (None, *LABELS)
    system, user = router._question(request).messages
    mark = user.text.partition(" request\n")[0]
    # Two lines begin with the mark, and no prompt can write a third.
    assert user.text.count(mark) == 2
    assert mark in system.text


def record(router: float | None, call: float | None) -> CallRecord:
    route = Route("small", cost=Cost(router, router))
    return CallRecord(
        id="0" * 16, began=0.0, policy="p", request=REQUEST, outcome="accepted", result=None,
        error=None, attempts=(), cost=Cost(call, call), waste=Cost(0.0, 0.0), latency=0.0,
        escalations=0, first="small", route=route,
    )  # fmt: skip


def test_a_router_above_a_tenth_of_a_call_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    expense = Expense("llm")
    for _ in range(FEWEST - 1):
        expense.call_finished(record(0.002, 0.01))
    assert not caplog.records
    expense.call_finished(record(0.002, 0.01))
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    fields: Any = warning.__dict__["cascade"]
    assert fields["event"] == "cascade.router_expensive"
    assert (fields["policy"], fields["router"], fields["calls"]) == ("p", "llm", FEWEST)
    assert fields["share"] == 0.2
    assert round(fields["router_cost"], 9) == 0.002
    assert round(fields["call_cost"], 9) == 0.01
    for _ in range(QUIET - 1):
        expense.call_finished(record(0.002, 0.01))
    assert len(caplog.records) == 1
    expense.call_finished(record(0.002, 0.01))
    assert len(caplog.records) == 2


def test_no_warning_up_to_a_tenth_or_where_costs_are_unknown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    expense = Expense("llm")
    for _ in range(3 * FEWEST):
        expense.call_finished(record(0.001, 0.0101))
        expense.call_finished(record(None, 0.01))
        expense.call_finished(record(0.01, None))
    free = Expense("llm")
    for _ in range(3 * FEWEST):
        free.call_finished(record(0.0, 0.0))
    assert not caplog.records


def test_the_averages_follow_a_change(caplog: pytest.LogCaptureFixture) -> None:
    router = Llm("openai:tiny", LABELS)
    for _ in range(500):
        router.call_finished(record(0.001, 0.1))
    assert not caplog.records
    for _ in range(200):
        router.call_finished(record(0.001, 0.002))
    assert len(caplog.records) == 1
