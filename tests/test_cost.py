"""Costs are intervals, never a false zero; losers count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cascade import (
    Answer,
    CascadeExhausted,
    ConfigError,
    Cost,
    Engine,
    Message,
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
from cascade.billing import (
    ASSUMED_MAX_TOKENS,
    HIDDEN_TOKENS_PER_SECOND,
    answered,
    at_most,
    cut_short,
)
from cascade.cost import FREE, total
from cascade.prices import published_price
from cascade.probe import LENGTH
from cascade.providers._cancellation import stops_billing
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


# The prompt's 600 bytes are 100 to 301 tokens, and up to 8 more are the chat template's.


def bounds(cost: Cost) -> tuple[float, float]:
    """In dollars per million tokens, so that tokens are easy to see."""
    assert cost.low is not None
    assert cost.high is not None
    return round(cost.low * 1e6), round(cost.high * 1e6)


async def lost(**settings: Any) -> Cost:
    """The cost of a loser whose first text came after 1 s: 12 bytes until it was cancelled."""
    step = Scripted(text="good" * 10, delay=1.0, chunks=10, chunk_delay=1.0)
    winner = model("b", Scripted(text="good", delay=3.5, usage=Usage(1, 1)))
    result = await run(model("a", step, **settings), winner, start_after=0)
    assert result.attempts[0].outcome == "cancelled"
    return result.attempts[0].cost


@pytest.mark.parametrize("stops", [None, False])
async def test_a_provider_that_writes_on_may_bill_all_it_was_allowed(stops: bool | None) -> None:
    cost = await lost(cancel_stops_billing=stops, params={"max_tokens": 2000})
    assert bounds(cost) == (100 + 2 * 10, 309 + 2000 * 10)
    cost = await lost(cancel_stops_billing=stops)
    assert bounds(cost) == (100 + 2 * 10, 309 + ASSUMED_MAX_TOKENS * 10)


async def test_a_provider_that_stops_bills_what_came_and_what_could_not_be_seen() -> None:
    cost = await lost(cancel_stops_billing=True)
    assert bounds(cost) == (100 + 2 * 10, 309 + (7 + HIDDEN_TOKENS_PER_SECOND) * 10)


async def test_what_could_not_be_seen_is_within_what_was_allowed() -> None:
    cost = await lost(cancel_stops_billing=True, params={"max_tokens": 50})
    assert bounds(cost) == (100 + 2 * 10, 309 + 50 * 10)


async def test_a_call_that_is_not_streamed_is_never_stopped() -> None:
    class Stopping(ScriptedModel):
        cancel_stops_billing = True

    step = Scripted(text="good", delay=60.0)
    for params, most in (({}, HIDDEN_TOKENS_PER_SECOND), ({"stream": False}, ASSUMED_MAX_TOKENS)):
        slow = Tier(Stopping(step, name="a"), price=PRICE, params=params)
        result = await run(slow, model("b", Scripted(text="good", delay=1.0)), start_after=0)
        assert bounds(result.attempts[0].cost) == (0, 309 + most * 10)


async def test_a_tool_call_may_come_unseen_beside_the_text() -> None:
    step = Scripted(text="good" * 10, delay=1.0, chunks=10, chunk_delay=1.0)
    slow = model("a", step, cancel_stops_billing=True)
    quick = model("b", Scripted(text="good", delay=3.5))
    request = Request.of("x")
    tools = ({"type": "function", "function": {"name": "f", "parameters": {}}},)
    policy = Policy("p", [slow, quick], start_after=0)
    async with Engine() as engine:
        seen = await engine.run(policy, request)
        unseen = await engine.run(policy, replace(request, tools=tools))
    (_, high), (_, higher) = (bounds(result.attempts[0].cost) for result in (seen, unseen))
    assert higher - high == 2.5 * HIDDEN_TOKENS_PER_SECOND * 10


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"cancel_stops_billing": "yes"}, "needs True, False or None"),
        ({"cancel_stops_billing": True, "params": {"stream": False}}, "needs a stream"),
    ],
)
def test_what_a_tier_says_of_billing_is_checked(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Tier("openai:m", **settings)


async def test_what_costs_nothing_has_no_billing_to_stop() -> None:
    async with Engine() as engine:
        with pytest.raises(ConfigError, match="does nothing for a model that costs nothing"):
            engine.bind(Policy("p", [Tier(lambda prompt: prompt, cancel_stops_billing=True)]))


@pytest.mark.parametrize(
    ("url", "stops"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://API.Anthropic.com", True),
        ("https://mine.openai.azure.com/openai/v1", True),
        ("https://api.together.xyz/v1", True),
        ("https://api.fireworks.ai/inference/v1", True),
        ("https://api.deepseek.com", True),
        ("https://api.x.ai/v1", True),
        ("https://generativelanguage.googleapis.com/v1beta", False),
        ("https://us-central1-aiplatform.googleapis.com/v1", False),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1", False),
        ("https://api.groq.com:443/openai/v1", False),
        ("https://api.mistral.ai/v1", False),
        ("https://api.perplexity.ai", False),
        ("https://openrouter.ai/api/v1", None),
        ("https://api.openai.com.evil.example/v1", None),
        ("https://notapi.openai.com/v1", None),
        ("http://127.0.0.1:8000/v1", None),
    ],
)
async def test_who_stops_billing(url: str, stops: bool | None) -> None:
    assert stops_billing(url) is stops
    tier = Tier("openai:m", base_url=url, api_key="k")
    said = Tier("openai:m", base_url=url, api_key="k", cancel_stops_billing=False, name="said")
    async with Engine() as engine:
        bound = engine.bind(Policy("p", [tier, said]))
    known, told = (tier.targets[0][0].cancel_stops_billing for tier in bound.tiers)
    assert (known, told) == (stops, False)


def test_the_page_on_costs_has_the_numbers() -> None:
    page = (Path(__file__).parents[1] / "docs" / "costs.md").read_text(encoding="utf-8")
    assert f"or {ASSUMED_MAX_TOKENS}\n" in page
    assert f"{HIDDEN_TOKENS_PER_SECOND} tokens a second" in page
    assert f"an answer of {LENGTH} tokens" in page


async def test_waste_is_what_the_other_answers_cost() -> None:
    paid = Usage(1_000_000, 0)
    bad = model("a", Scripted(text="bad", usage=paid))
    slow = model("b", Scripted(text="good", delay=60.0), params={"max_tokens": 100})
    good = model("c", Scripted(text="good", delay=1.0, usage=paid))
    result = await run(bad, slow, good, start_after=0)
    assert result.winner.cost == Cost(1.0, 1.0)
    assert result.waste == result.attempts[0].cost + result.attempts[1].cost
    assert result.cost == result.waste + result.winner.cost
    assert result.waste.basis == "cancelled"
    assert "$1.0000 to $1.0013 of it wasted" in result.explain()


async def test_nothing_is_wasted_where_the_first_answer_is_taken() -> None:
    result = await run(model("a", Scripted(text="good", usage=Usage(5, 5))))
    assert result.waste == FREE
    assert "wasted" not in result.explain()


async def test_all_is_wasted_where_no_answer_is_taken() -> None:
    bad = Scripted(text="bad", usage=Usage(1_000_000, 0))
    with pytest.raises(CascadeExhausted) as caught:
        await run(model("a", bad), model("b", bad))
    assert caught.value.waste == Cost(2.0, 2.0)


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


@given(st.text(max_size=300), st.text(max_size=300), st.integers(1, 60))
def test_what_is_reserved_is_never_exceeded_by_an_estimate(
    prompt: str, written: str, limit: int
) -> None:
    request = Request((Message("user", prompt),), params={"max_tokens": limit})
    price = Price(input=3.0, output=7.0)
    most = at_most(price, request)
    for cost in (
        answered(price, request, Answer(written)),
        cut_short(price, request, written, stops=None, hidden=9.0),
        cut_short(price, request, written, stops=True, hidden=9.0),
    ):
        assert cost.low is not None
        assert cost.high is not None
        assert cost.low <= cost.high <= most + 1e-12


def test_a_file_counts_by_its_size_and_a_picture_does_not() -> None:
    price = Price(input=1_000_000.0, output=0.0)

    def most(part: dict[str, Any]) -> float:
        return at_most(price, Request((Message("user", (part,)),)))

    size = 400_000
    assert most({"type": "file", "file": {"file_data": "x" * size}}) > size / 4
    assert most({"type": "image_url", "image_url": {"url": "x" * size}}) < size / 4
