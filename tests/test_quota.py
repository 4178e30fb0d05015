"""The limits that a user states for a model: every minute, in turn, exactly."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import (
    CascadeExhausted,
    ConfigError,
    ContextWindowExceededError,
    Engine,
    Limits,
    ModelSpec,
    Policy,
    Price,
    RateLimitError,
    Tier,
    Usage,
)
from cascade.quota import MINUTE, Quota
from cascade.testing import Scripted, ScriptedModel

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_clock


def model(seconds: float = 1.0, usage: Usage | None = None) -> ScriptedModel:
    return ScriptedModel(Scripted(text="yes", delay=seconds, usage=usage))


def limited(called: ScriptedModel, **limits: int) -> Policy:
    return Policy("limited", [Tier(ModelSpec(called, limits=Limits(**limits)), timeout=600)])


async def started(policy: Policy, calls: int, called: ScriptedModel) -> list[float]:
    """When each of so many calls at once reached the model, in seconds after the first."""
    async with Engine() as engine, anyio.create_task_group() as tasks:
        for _ in range(calls):
            tasks.start_soon(engine.run, policy, "hi")
    return [call.started - called.calls[0].started for call in called.calls]


async def test_requests_a_minute() -> None:
    called = model()
    assert await started(limited(called, requests_per_minute=2), 5, called) == [0, 0, 60, 60, 120]


async def test_calls_in_flight() -> None:
    called = model(3.0)
    assert await started(limited(called, concurrency=2), 5, called) == [0, 0, 3, 3, 6]


async def test_tokens_a_minute_are_those_that_were_counted() -> None:
    called = model(1.0, Usage(400, 100))
    # Each took 500 of 1,000, which shows when it ends: the first two began on an estimate.
    times = await started(limited(called, tokens_per_minute=1000, concurrency=1), 4, called)
    assert times == [0, 1, 60, 61]


async def test_a_prompt_larger_than_the_limit_goes_alone() -> None:
    called = model(1.0, Usage(5000, 0))
    times = await started(limited(called, tokens_per_minute=1000, concurrency=1), 2, called)
    assert times == [0, 60]


async def test_the_wait_is_not_the_attempts_own_time() -> None:
    called = model()
    policy = limited(called, concurrency=1)
    async with Engine() as engine:
        results = []

        async def run() -> None:
            results.append(await engine.run(policy, "hi"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            tasks.start_soon(run)
    assert [result.attempts[0].waited for result in results] == [0.0, 1.0]


async def test_a_wait_longer_than_the_timeout_is_not_begun() -> None:
    busy = ScriptedModel(Scripted(text="yes"), name="busy")
    spec = ModelSpec(busy, limits=Limits(requests_per_minute=1))
    policy = Policy("p", [Tier(spec, name="small", timeout=20), Tier(model(2.0), name="large")])
    async with Engine() as engine:
        assert (await engine.run(policy, "hi")).tier == "small"
        second = await engine.run(policy, "hi")
    assert (second.tier, second.latency) == ("large", 2.0)
    assert isinstance(second.attempts[0].error, RateLimitError)
    assert "for another 60.0 s" in second.attempts[0].reason
    assert second.attempts[0].cost.high == 0.0
    assert len(busy.calls) == 1  # and it was not tried again


async def test_one_that_is_cancelled_while_it_waits_leaves_the_queue() -> None:
    called = model(5.0)
    policy = limited(called, concurrency=1)
    async with Engine() as engine, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run, policy, "hi")
        await anyio.sleep(1)
        with anyio.move_on_after(1):
            await engine.run(policy, "hi")
        began = anyio.current_time()
        await engine.run(policy, "hi")
        assert anyio.current_time() - began == 3.0 + 5.0
    assert len(called.calls) == 2


async def test_a_stand_in_has_settings_of_its_own() -> None:
    first = ScriptedModel(Scripted(text="", usage=Usage(1, 1)), name="first")  # no answer at all
    second = ScriptedModel(Scripted(text="yes", usage=Usage(1, 1)), name="second")
    tier = Tier(
        ModelSpec(first, price=Price(input=1.0, output=1.0)),
        fallbacks=[ModelSpec(second, price=Price(input=500_000.0, output=0.0))],
        retries=0,
    )
    async with Engine() as engine:
        result = await engine.run(Policy("p", [tier]), "hi")
    assert [attempt.model for attempt in result.attempts] == ["first", "second"]
    assert result.attempts[1].cost.high == 0.5


async def test_a_prompt_that_cannot_fit_is_not_sent() -> None:
    called = model()
    policy = Policy("p", [Tier(ModelSpec(called, context_window=100))])
    async with Engine() as engine:
        assert (await engine.run(policy, "word " * 100)).text == "yes"
        with pytest.raises(CascadeExhausted) as caught:
            await engine.run(policy, "word " * 200)
    error = caught.value.attempts[0].error
    assert isinstance(error, ContextWindowExceededError)
    assert not error.sent
    assert len(called.calls) == 1


async def test_one_model_has_one_set_of_limits() -> None:
    called = model()
    tiers = [Tier(ModelSpec(called, limits=Limits(concurrency=n)), name=f"t{n}") for n in (1, 2)]
    async with Engine() as engine:
        with pytest.raises(ConfigError, match="all its calls share them"):
            engine.bind(Policy("p", tiers))


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many"])
def test_limits_are_whole_numbers(value: Any) -> None:
    for key in ("requests_per_minute", "tokens_per_minute", "concurrency"):
        with pytest.raises(ConfigError, match=key):
            Limits(**{key: value})
    with pytest.raises(ConfigError, match="context_window"):
        ModelSpec("openai:a", context_window=value)


def test_a_tier_of_specs_has_no_settings_for_others() -> None:
    with pytest.raises(ConfigError, match="to be said of the ModelSpec"):
        Tier(ModelSpec("openai:a"), base_url="http://localhost")
    mixed = Tier(ModelSpec("openai:a"), fallbacks=["openai:b"], base_url="http://localhost")
    assert mixed.base_url == "http://localhost"


@given(
    st.lists(
        st.tuples(st.floats(0, 90), st.floats(0, 30), st.integers(0, 40), st.integers(0, 40)),
        max_size=25,
    ),
    st.integers(1, 4),
    st.integers(20, 100),
    st.integers(1, 3),
)
def test_no_minute_ever_exceeds_them(
    calls: list[tuple[float, float, int, int]], requests: int, tokens: int, concurrency: int
) -> None:
    """Of tokens, as far as they were known: the estimates with which calls began."""
    import trio.testing

    begun: list[tuple[float, float, int]] = []

    async def main() -> None:
        quota = Quota("m", Limits(requests, tokens, concurrency))
        clock = anyio.current_time

        async def call(at: float, seconds: float, read: int, written: int) -> None:
            await anyio.sleep(at)
            place = await quota.enter(read, clock, None)
            began, expected = clock(), place.tokens
            await anyio.sleep(seconds)
            quota.leave(place, None, written)
            begun.append((began, clock(), expected))

        async with anyio.create_task_group() as tasks:
            for each in calls:
                tasks.start_soon(call, *each)

    anyio.run(
        main,
        backend="trio",
        backend_options={"clock": trio.testing.MockClock(autojump_threshold=0)},
    )
    assert len(begun) == len(calls)
    for at, _, _ in begun:
        minute = [each for each in begun if at <= each[0] < at + MINUTE * (1 - 1e-9)]
        assert len(minute) <= requests
        assert sum(expected for *_, expected in minute) <= tokens or len(minute) == 1
        running = [each for each in begun if each[0] <= at < each[1]]
        assert len(running) <= concurrency
