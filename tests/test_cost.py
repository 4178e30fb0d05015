"""Costs are intervals, never a false zero; losers count."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import (
    Answer,
    Cost,
    Engine,
    Policy,
    Price,
    RateLimitError,
    Request,
    Result,
    Tier,
    Usage,
    Verdict,
    call_model,
)
from cascade.cost import FREE, total
from cascade.prices import published_price
from cascade.testing import Scripted, ScriptedModel

pytestmark = pytest.mark.anyio

PRICE = Price(input=1.0, output=10.0)


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_clock


async def run(*tiers: Tier, **settings: Any) -> Result:
    async with Engine() as engine:
        return await engine.run(Policy("p", tiers, **settings), "hello " * 100)


def model(name: str, step: Scripted | str, **settings: Any) -> Tier:
    settings.setdefault("price", PRICE)
    settings.setdefault("verify", lambda a: a.text.startswith("good"))
    return Tier(ScriptedModel(step, name=name), **settings)


async def test_reported_tokens_give_an_exact_cost() -> None:
    usage = Usage(1_000_000, 100_000)
    result = await run(model("a", Scripted(text="good", usage=usage)))
    assert result.cost == Cost(2.0, 2.0, "reported")


async def test_cached_input_has_its_own_price() -> None:
    usage = Usage(1_000_000, 0, cached_input_tokens=400_000)
    price = Price(input=1.0, output=10.0, cached_input=0.1)
    assert price.of(usage) == pytest.approx(0.6 + 0.04)
    assert PRICE.of(usage) == 1.0


async def test_an_unknown_price_is_unknown_not_zero() -> None:
    known = model("a", Scripted(text="bad", usage=Usage(10, 10)))
    unknown = model("b", Scripted(text="good", usage=Usage(10, 10)), price=None)
    result = await run(known, unknown)
    assert result.attempts[0].cost.high is not None
    assert result.attempts[1].cost == Cost(None, None, "reported")
    assert (result.cost.low, result.cost.high) == (None, None)


async def test_missing_counts_are_estimated_as_an_interval() -> None:
    result = await run(model("a", "good " * 50))
    cost = result.cost
    assert cost.basis == "estimated"
    assert cost.low is not None
    assert cost.high is not None
    # 600 bytes in and 250 out are about 150 and 62 tokens.
    assert cost.low < (150 * 1 + 62 * 10) / 1e6 < cost.high


async def test_a_loser_that_had_begun_to_answer_costs_something() -> None:
    loser = model("a", Scripted(text="good" * 100, delay=1.0, chunks=10, chunk_delay=1.0))
    winner = model("b", Scripted(text="good", delay=3.5, usage=Usage(1, 1)))
    result = await run(loser, winner, start_after=0)
    lost = result.attempts[0]
    assert (lost.outcome, lost.cost.basis) == ("cancelled", "cancelled")
    assert lost.cost.low is not None
    assert lost.cost.high is not None
    assert 0 < lost.cost.low < lost.cost.high
    assert result.cost.basis == "cancelled"


async def test_a_loser_without_a_token_may_have_cost_nothing() -> None:
    loser = model("a", Scripted(text="good", delay=60.0), params={"max_tokens": 10})
    result = await run(loser, model("b", Scripted(text="good", delay=1.0)), start_after=0)
    lost = result.attempts[0].cost
    assert lost.low == 0.0
    assert lost.high is not None
    assert 10 * 10 / 1e6 < lost.high < 0.001


async def test_an_error_status_is_not_billed() -> None:
    limited = Scripted(error=RateLimitError("slow down", status=429, retryable=False))
    result = await run(model("a", limited), model("b", "good"))
    assert result.attempts[0].cost == FREE


async def test_a_code_tier_is_free() -> None:
    async def code(prompt: str) -> str:
        return "good"

    result = await run(Tier(code))
    assert result.cost == FREE


async def test_the_check_that_calls_a_model_is_counted() -> None:
    judge = ScriptedModel(Scripted(text="yes", usage=Usage(1_000_000, 0)), name="judge")

    async def ask(request: Request, answer: Answer) -> Verdict:
        _, cost = await call_model(judge, request)
        assert cost == Cost(None, None, "reported")
        return Verdict.accept(cost=Cost(0.5, 0.5))

    result = await run(model("a", Scripted(text="x", usage=Usage(0, 0)), verify=ask))
    assert result.cost == Cost(0.5, 0.5)


async def test_a_check_that_is_cut_short_is_counted_too() -> None:
    async def ask(request: Request, answer: Answer) -> Verdict:
        quick = ScriptedModel(Scripted(text="yes", usage=Usage(5, 5)), name="judge")
        await call_model(quick, request)
        await anyio.sleep_forever()
        raise AssertionError

    tier = model("a", Scripted(text="x", usage=Usage(0, 0)), verify=ask, verify_timeout=1.0)
    result = await run(tier, model("b", "good"))
    assert result.attempts[0].cost == Cost(None, None, "reported")


def test_published_prices_are_found_offline() -> None:
    price = published_price("openai", "gpt-4o-mini")
    assert price == Price(input=0.15, output=0.6, cached_input=0.075)
    assert published_price("openai", "no-such-model") is None
    assert published_price("nobody", "gpt-4o-mini") is None


costs = st.one_of(
    st.builds(
        lambda low, extra, basis: Cost(low, low + extra, basis),
        st.integers(0, 9).map(float),
        st.integers(0, 9).map(float),
        st.sampled_from(["reported", "estimated", "cancelled"]),
    ),
    st.just(Cost.unknown()),
)


@given(st.lists(costs))
def test_a_sum_is_as_unknown_and_uncertain_as_its_worst_part(parts: list[Cost]) -> None:
    whole = total(parts)
    assert whole == total(reversed(parts))
    if any(part.low is None for part in parts):
        assert whole.low is None
        assert whole.high is None
    else:
        assert whole.low == sum(part.low for part in parts if part.low is not None)
        assert whole.high == sum(part.high for part in parts if part.high is not None)
    order = ["reported", "estimated", "cancelled"]
    assert order.index(whole.basis) == max((order.index(p.basis) for p in parts), default=0)


def test_costs_read_well() -> None:
    assert str(Cost(0.0, 0.0)) == "$0"
    assert str(Cost(None, None)) == "unknown"
    assert str(Cost(0.001, 0.25)) == "$0.001 to $0.2500"
