"""The limits that a user states for a model: every minute, in turn, exactly."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import (
    Answer,
    APIConnectionError,
    CascadeExhausted,
    CircuitOpenError,
    ConfigError,
    ContextWindowExceededError,
    Engine,
    Limits,
    ModelSpec,
    Policy,
    Price,
    RateLimitError,
    Request,
    Tier,
    Usage,
    Verdict,
    call_model,
)
from cascade.limit import AdaptiveLimit
from cascade.limiter import Limiter
from cascade.quota import MINUTE, Quota
from cascade.testing import Scripted, ScriptedModel, script

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


async def test_a_policy_states_one_set_of_limits_for_a_model() -> None:
    called = model()
    tiers = [Tier(ModelSpec(called, limits=Limits(concurrency=n)), name=f"t{n}") for n in (1, 2)]
    async with Engine() as engine:
        with pytest.raises(ConfigError, match="all its calls share them") as caught:
            engine.bind(Policy("p", tiers))
        assert (caught.value.policy, caught.value.tier) == ("p", "t2")


async def test_limits_of_a_newer_policy_hold_at_once_and_for_those_who_wait() -> None:
    called = model(3.0)
    old, new = limited(called, concurrency=1), limited(called, concurrency=3)
    async with Engine() as engine, anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(engine.run, old, "hi")
        await anyio.sleep(1)
        engine.bind(new)
    assert [call.started - called.calls[0].started for call in called.calls] == [0, 1, 1, 3]


async def test_limits_go_with_the_policies_that_state_them() -> None:
    called = model(3.0)
    old = limited(called, concurrency=1)
    async with Engine() as engine:
        await engine.run(old, "hi")
        called.calls.clear()  # which know what made them
        del old
        plain = Policy("plain", [Tier(called)])
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(engine.run, plain, "hi")
    assert [call.started - called.calls[0].started for call in called.calls] == [0, 0]


def test_of_several_statements_the_last_one_that_is_left_holds() -> None:
    quota = Quota("m")
    first, second, third = Limits(concurrency=1), Limits(concurrency=1), Limits(concurrency=2)
    for limits in (first, second):
        quota.state(limits)
    quota.suggest(third)
    assert quota.limits is second
    del second, limits
    assert quota.limits is first
    del first
    assert quota.limits is third
    del third
    assert not quota.limited


async def test_a_model_without_settings_keeps_to_what_others_state_of_it() -> None:
    called = model(3.0)
    plain, strict = Policy("plain", [Tier(called)]), limited(called, concurrency=1)

    async def judged(request: Request, answer: Answer) -> Verdict:
        await call_model(called, request)
        return Verdict.accept()

    checked = Policy("checked", [Tier(ScriptedModel("yes"), verify=judged)])
    async with Engine() as engine, anyio.create_task_group() as tasks:
        engine.bind(plain)  # before anything is stated
        for policy in (strict, plain, checked):
            tasks.start_soon(engine.run, policy, "hi")
            await anyio.sleep(0.5)
    assert [call.started - called.calls[0].started for call in called.calls] == [0, 3, 6]


async def test_a_model_by_name_has_the_limits_of_its_name() -> None:
    script("slow", "yes")
    strict = Policy("s", [Tier(ModelSpec("scripted:slow", limits=Limits(concurrency=1)))])
    async with Engine() as engine:
        ours = engine.bind(strict).tiers[0].targets[0][0]
        theirs = engine.bind(Policy("p", [Tier("scripted:slow")])).tiers[0].targets[0][0]
        assert theirs.quota is ours.quota
        assert theirs.quota.limits == Limits(concurrency=1)


async def test_samples_tiers_and_checks_share_the_limits_of_a_function() -> None:
    began: list[float] = []

    async def answers(text: str) -> str:
        began.append(anyio.current_time())
        await anyio.sleep(1)
        return text

    spec = ModelSpec(answers, limits=Limits(concurrency=1))

    async def judged(request: Request, answer: Answer) -> Verdict:
        await call_model(spec, request)
        return Verdict.accept()

    tiers = [Tier(spec, verify=judged, name="a", samples=3), Tier(spec, verify=judged, name="b")]
    async with Engine() as engine:
        await engine.run(Policy("p", tiers, start_after=0), "hi", prefer="cheapest")
    assert len(began) >= 4
    assert [at - began[0] for at in began] == [float(n) for n in range(len(began))]


async def test_calls_a_minute_of_a_function_count_from_one_check_to_the_next() -> None:
    def answers(text: str) -> str:
        return text

    async def judged(request: Request, answer: Answer) -> Verdict:
        await call_model(ModelSpec(answers, limits=Limits(requests_per_minute=1)), request)
        return Verdict.accept()

    policy = Policy("p", [Tier(ScriptedModel("yes"), verify=judged, verify_timeout=None)])
    async with Engine() as engine:
        assert (await engine.run(policy, "hi")).latency == 0.0
        assert (await engine.run(policy, "hi")).latency == 60.0


async def test_nobody_waits_longer_than_their_tiers_timeout() -> None:
    called = model()
    spec = ModelSpec(called, limits=Limits(requests_per_minute=1))
    policy = Policy("p", [Tier(spec, timeout=70)])
    ended: list[tuple[str, float]] = []
    async with Engine() as engine:

        async def run() -> None:
            began = anyio.current_time()
            try:
                await engine.run(policy, "hi")
                ended.append(("answered", anyio.current_time() - began))
            except CascadeExhausted as error:
                ended.append((error.attempts[0].reason, anyio.current_time() - began))

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(run)
    refused = (
        "RateLimitError: scripted is at its own limit (cascade's, not the provider's) for another "
        "60.0 s: no place within the tier's timeout of 70 s"
    )
    # Those behind the second know when it has begun that it will be too late for them.
    assert ended == [("answered", 1.0), (refused, 60.0), (refused, 60.0), ("answered", 61.0)]


async def test_a_wait_for_a_call_in_flight_ends_with_the_timeout() -> None:
    busy = model(100.0)
    spec = ModelSpec(busy, limits=Limits(concurrency=1))
    long = Policy("long", [Tier(spec, timeout=600)])
    short = Policy("short", [Tier(spec, timeout=20), Tier(model(2.0), name="large")])
    async with Engine() as engine, anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(engine.run, long, "hi")
        await anyio.sleep(1)
        result = await engine.run(short, "hi")
        assert (result.tier, result.latency, result.attempts[0].waited) == ("large", 22.0, 20.0)
        assert isinstance(result.attempts[0].error, RateLimitError)
        assert result.attempts[0].error.retry_after is None  # nobody knows
        tasks.cancel_scope.cancel()


async def test_calls_that_are_not_made_take_nothing_of_the_minute() -> None:
    failing = [Scripted(error=APIConnectionError("down"))] * 10
    called = ScriptedModel(*failing, Scripted(text="yes"))
    spec = ModelSpec(called, limits=Limits(requests_per_minute=12))
    policy = Policy("p", [Tier(spec, retries=0, timeout=1)])
    async with Engine() as engine:
        reasons = []
        for _ in range(40):
            with pytest.raises(CascadeExhausted) as caught:
                await engine.run(policy, "hi")
            reasons.append(type(caught.value.attempts[0].error))
    assert set(reasons) == {APIConnectionError, CircuitOpenError}
    assert reasons.count(APIConnectionError) == len(called.calls) < 12


async def test_a_call_counts_from_when_it_began_and_not_from_when_it_had_its_place() -> None:
    called = ScriptedModel(Scripted(text="slow", delay=59), Scripted(text="yes"))
    policy = limited(called, requests_per_minute=2)
    async with Engine() as engine, anyio.create_task_group() as tasks:
        gate = engine.bind(policy).tiers[0].targets[0][0].gate
        assert gate is not None
        gate.turnstile.limiter = Limiter(AdaptiveLimit(initial=1, maximum=1))
        for _ in range(4):
            tasks.start_soon(engine.run, policy, "hi")
    # The second has its place at 0 and waits for the first: were it counted from then, the third
    # and the fourth would follow at 60.
    times = [call.started - called.calls[0].started for call in called.calls]
    assert times == [0, 59, 60, 119]


async def test_until_an_answer_is_seen_as_many_tokens_as_it_may_have_are_expected() -> None:
    called = model(5.0, Usage(10, 900))
    spec = ModelSpec(called, limits=Limits(tokens_per_minute=2000))
    policy = Policy("p", [Tier(spec, params={"max_tokens": 900}, timeout=600)])
    assert await started(policy, 5, called) == [0, 0, 60, 60, 120]


async def test_then_as_many_as_the_last_ones_had() -> None:
    called = model(5.0, Usage(10, 20))
    spec = ModelSpec(called, limits=Limits(tokens_per_minute=2000))
    policy = Policy("p", [Tier(spec, params={"max_tokens": 900}, timeout=600)])
    assert await started(policy, 5, called) == [0, 0, 5, 5, 5]


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many"])
def test_limits_are_whole_numbers(value: Any) -> None:
    for key in ("requests_per_minute", "tokens_per_minute", "concurrency"):
        with pytest.raises(ConfigError, match=key):
            Limits(**{key: value})
    with pytest.raises(ConfigError, match="context_window"):
        ModelSpec("openai:a", context_window=value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limits", {"concurrency": 1}),
        ("limits", None),
        ("price", 3),
        ("price", {"input": 1.0, "output": 1.0}),
        ("cancel_stops_billing", "yes"),
        ("cancel_stops_billing", 1),
        ("base_url", 80),
        ("api_key", ["sk-secret"]),
    ],
)
def test_settings_of_another_kind_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key) as caught:
        ModelSpec("openai:a", **{key: value})
    assert "secret" not in str(caught.value)


def test_a_tier_of_specs_has_no_settings_for_others() -> None:
    with pytest.raises(ConfigError, match="to be said of the ModelSpec"):
        Tier(ModelSpec("openai:a"), base_url="http://localhost")
    mixed = Tier(ModelSpec("openai:a"), fallbacks=["openai:b"], base_url="http://localhost")
    assert mixed.base_url == "http://localhost"


@given(
    st.lists(
        st.tuples(
            st.floats(0, 90),
            st.floats(0, 70),
            st.sampled_from([True, True, False]),
            st.floats(0, 30),
            st.integers(0, 40),
            st.integers(0, 40),
        ),
        max_size=25,
    ),
    st.integers(1, 4),
    st.integers(20, 100),
    st.integers(1, 3),
)
def test_no_minute_ever_exceeds_them(
    calls: list[tuple[float, float, bool, float, int, int]],
    requests: int,
    tokens: int,
    concurrency: int,
) -> None:
    """Of tokens, as far as they were known: the estimates with which calls began."""
    import trio.testing

    begun: list[tuple[float, float, int]] = []

    async def main() -> None:
        limits = Limits(requests, tokens, concurrency)
        quota = Quota("m")
        quota.state(limits)
        clock = anyio.current_time

        async def call(
            at: float, held: float, sent: bool, seconds: float, read: int, written: int
        ) -> None:
            await anyio.sleep(at)
            place = await quota.enter(read, 10, clock, None)
            await anyio.sleep(held)
            if not sent:
                quota.leave(place)
                return
            quota.begin(place, clock())
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
    assert len(begun) == sum(sent for _, _, sent, *_ in calls)
    for at, _, _ in begun:
        minute = [each for each in begun if at <= each[0] < at + MINUTE * (1 - 1e-9)]
        assert len(minute) <= requests
        assert sum(expected for *_, expected in minute) <= tokens or len(minute) == 1
        running = [each for each in begun if each[0] <= at < each[1]]
        assert len(running) <= concurrency


@pytest.mark.parametrize("limits", [Limits(concurrency=10), Limits(tokens_per_minute=10**9)])
async def test_what_a_call_costs_does_not_grow_with_those_in_wait(limits: Limits) -> None:
    """Counted in looks at the clock: each who waits takes a few, however many they are."""
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return anyio.current_time()

    quota = Quota("m")
    quota.state(limits)

    async def call() -> None:
        place = await quota.enter(1, 1, clock, None)
        quota.begin(place, anyio.current_time())
        await anyio.sleep(1)
        quota.leave(place, 2, 1)

    async with anyio.create_task_group() as tasks:
        for _ in range(500):
            tasks.start_soon(call)
    assert looks <= 4 * 500
