"""What an attempt needs before it is sent: that the prompt fits, a place, and then money."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from cascade import (
    BudgetExceededError,
    CascadeExhausted,
    ContextWindowExceededError,
    Cost,
    Engine,
    FunctionError,
    Limits,
    ModelSpec,
    Policy,
    Price,
    RateLimitError,
    Tier,
    Usage,
)
from cascade.testing import Scripted, ScriptedModel

pytestmark = pytest.mark.anyio

DOLLAR_A_TOKEN = Price(input=0.0, output=1e6)


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_clock


class Dollars:
    """A budget of so many."""

    def __init__(self, left: float) -> None:
        self.left = left

    def adapt(self, policy: Policy) -> Policy:
        return policy

    def per_call(self, policy: str) -> float | None:
        del policy
        return None

    async def reserve(self, policy: str, amount: float) -> float:
        if amount > self.left:
            raise BudgetExceededError(f"{policy}: {amount} of {self.left}")
        self.left -= amount
        return amount

    def settle(self, reservation: Any, cost: Cost) -> None:
        assert cost.high is not None
        self.left += reservation - cost.high


async def test_no_money_is_held_by_who_waits_for_a_place() -> None:
    called = ScriptedModel(Scripted(text="yes", delay=1, usage=Usage(1, 1)))
    spec = ModelSpec(called, limits=Limits(concurrency=1), price=DOLLAR_A_TOKEN)
    policy = Policy("p", [Tier(spec, params={"max_tokens": 60})])
    budget = Dollars(100)  # for one at a time: each may cost 60, and costs 1
    async with Engine(budget=budget) as engine, anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(engine.run, policy, "hi")
    assert [call.started - called.calls[0].started for call in called.calls] == [0, 1, 2, 3]
    assert budget.left == 96


async def test_a_place_without_the_money_for_it_is_given_back() -> None:
    called = ScriptedModel("yes")
    spec = ModelSpec(called, limits=Limits(requests_per_minute=1), price=DOLLAR_A_TOKEN)
    policy = Policy("p", [Tier(spec, params={"max_tokens": 60}, timeout=1)])
    budget = Dollars(59)
    async with Engine(budget=budget) as engine:
        with pytest.raises(BudgetExceededError):
            await engine.run(policy, "hi")
        budget.left = 60
        assert (await engine.run(policy, "hi")).text == "yes"


async def test_without_counts_tokens_are_estimated_from_what_was_written() -> None:
    called = ScriptedModel(Scripted(text="word " * 100, delay=1))  # some 160 of an allowed 900
    spec = ModelSpec(called, limits=Limits(tokens_per_minute=1000))
    policy = Policy("p", [Tier(spec, params={"max_tokens": 900}, timeout=600)])
    async with Engine() as engine, anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(engine.run, policy, "hi")
    assert [call.started - called.calls[0].started for call in called.calls] == [0, 1, 1, 1]


async def test_the_tokens_of_a_call_that_failed_are_those_it_was_expected_to_take() -> None:
    called = ScriptedModel(Scripted(error=FunctionError("broken"), delay=1), Scripted(text="yes"))
    spec = ModelSpec(called, limits=Limits(tokens_per_minute=1000))
    policy = Policy("p", [Tier(spec, params={"max_tokens": 900}, timeout=20, retries=0)])
    async with Engine() as engine:
        with pytest.raises(CascadeExhausted, match="broken"):
            await engine.run(policy, "hi")
        with pytest.raises(CascadeExhausted) as caught:
            await engine.run(policy, "hi")
    error = caught.value.attempts[0].error
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 59.0
    assert len(called.calls) == 1


@pytest.mark.parametrize(
    "prompt",
    [
        " " * 6000 + "hi",
        "\n" * 6000 + "hi",
        "मैं एक नए प्रकार का भाषा मॉडल हूँ। " * 70,
        "வணக்கம் " * 590,
        "-" * 70_000,
        "你好" * 1500,
    ],
    ids=["blanks", "lines", "Hindi", "Tamil", "rule", "Chinese"],
)
async def test_a_prompt_that_may_fit_is_sent(prompt: str) -> None:
    called = ScriptedModel("yes")
    async with Engine() as engine:
        policy = Policy("p", [Tier(ModelSpec(called, context_window=600))])
        assert (await engine.run(policy, prompt)).text == "yes"


@pytest.mark.parametrize("prompt", ["a " * 601, "-" * 128 * 601], ids=["words", "rule"])
async def test_a_prompt_that_cannot_fit_is_not_sent(prompt: str) -> None:
    called = ScriptedModel("yes")
    async with Engine() as engine:
        policy = Policy("p", [Tier(ModelSpec(called, context_window=600))])
        with pytest.raises(CascadeExhausted, match="at least 601 tokens") as caught:
            await engine.run(policy, prompt)
    assert isinstance(caught.value.attempts[0].error, ContextWindowExceededError)
    assert called.calls == []
