"""What the engine learns of providers, and does about it: on a virtual clock, exactly."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from cascade import (
    Answer,
    APIConnectionError,
    Call,
    CascadeExhausted,
    CircuitOpenError,
    ConfigError,
    DeadlineExceededError,
    Engine,
    Policy,
    ProviderError,
    RateLimitError,
    Request,
    RetryBudget,
    Tier,
    Verdict,
)
from cascade.latency import ModelLatency
from cascade.testing import NoJitter, Scripted, ScriptedModel

pytestmark = pytest.mark.anyio

BROKE = RetryBudget(fraction=0.0, reserve=0.0)


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_clock


def model(name: str, *steps: Scripted | str) -> ScriptedModel:
    return ScriptedModel(*steps, name=name)


def says(text: str, after: float, **streaming: Any) -> Scripted:
    return Scripted(text=text, delay=after, **streaming)


def fails(error: Exception | None = None, after: float = 0.0) -> Scripted:
    return Scripted(delay=after, error=error or APIConnectionError("no route"))


def no_jitter(budget: RetryBudget | None = None) -> Engine:
    return Engine(random=NoJitter(), retry_budget=budget)


# The circuit breaker


async def test_a_model_that_fails_too_often_is_not_called_and_the_next_tier_answers() -> None:
    sick, well = model("sick", fails()), model("well", "good")
    policy = Policy("p", [Tier(sick, retries=0), Tier(well)])
    async with no_jitter() as engine:
        for _ in range(10):
            assert (await engine.run(policy, "hello")).tier == "well"
        result = await engine.run(policy, "hello")
    assert len(sick.calls) == 10
    assert (result.tier, result.latency) == ("well", 0.0)
    refused = result.attempts[0]
    assert isinstance(refused.error, CircuitOpenError)
    assert (refused.error.tier, refused.error.retry_after) == ("sick", 5.0)
    assert refused.cost.high == 0.0
    assert "sick failed too often of late" in refused.reason


async def test_one_probe_at_a_time_finds_out_when_it_is_well_again() -> None:
    sick = model("sick", *[fails()] * 10, says("good", 1.0))
    policy = Policy("p", [Tier(sick, retries=0), Tier(model("well", "good"))])
    async with no_jitter() as engine:
        for _ in range(10):
            await engine.run(policy, "hello")
        await anyio.sleep(5.0)
        tiers: list[str] = []

        async def call() -> None:
            tiers.append((await engine.run(policy, "hello")).tier)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(call)
        assert (sorted(tiers), len(sick.calls)) == (["sick", "well", "well"], 11)
        assert (await engine.run(policy, "hello")).tier == "sick"


async def test_a_cancelled_probe_leaves_room_for_the_next() -> None:
    sick = model("sick", *[fails()] * 10, says("good", 9.0), "good")
    policy = Policy("p", [Tier(sick, retries=0), Tier(model("well", "good"))])
    async with no_jitter() as engine:
        for _ in range(10):
            await engine.run(policy, "hello")
        await anyio.sleep(5.0)
        with anyio.move_on_after(1.0):
            await engine.run(policy, "hello")
        assert sick.calls[-1].outcome == "cancelled"
        assert (await engine.run(policy, "hello")).tier == "sick"


async def test_an_attempt_that_outlives_its_timeout_is_a_failure_of_the_model() -> None:
    slow = model("slow", says("good", 9.0))
    policy = Policy("p", [Tier(slow, timeout=1.0, retries=0), Tier(model("well", "good"))])
    async with no_jitter() as engine:
        for _ in range(10):
            await engine.run(policy, "hello")
        assert (await engine.run(policy, "hello")).latency == 0.0
    assert len(slow.calls) == 10


async def test_a_deadline_of_the_callers_is_not() -> None:
    slow = model("slow", says("good", 9.0))
    policy = Policy("p", [Tier(slow)], deadline=1.0)
    async with no_jitter() as engine:
        for _ in range(12):
            with pytest.raises(DeadlineExceededError):
                await engine.run(policy, "hello")
    assert len(slow.calls) == 12


async def test_a_function_has_no_breaker() -> None:
    async def broken(prompt: str) -> str:
        raise OSError("disk")

    policy = Policy("p", [Tier(broken, retries=0)])
    async with no_jitter() as engine:
        for _ in range(12):
            with pytest.raises(CascadeExhausted, match="disk"):
                await engine.run(policy, "hello")


# The limit


async def crowd(engine: Engine, policy: Policy, calls: int) -> list[Any]:
    """The results of so many calls at once, in the order they end."""
    ended: list[Any] = []

    async def call() -> None:
        try:
            ended.append(await engine.run(policy, "hello"))
        except CascadeExhausted as error:
            ended.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(calls):
            tasks.start_soon(call)
    return ended


async def test_a_provider_that_has_too_much_to_do_is_called_less_and_the_rest_wait_their_turn() -> (
    None
):
    busy = RateLimitError("slow down", status=429)
    busy.retryable = True
    there = model("there", *[fails(busy, 1.0)] * 10, says("good", 1.0))
    policy = Policy("p", [Tier(there, retries=0, timeout=2.0)])
    async with no_jitter() as engine:
        await crowd(engine, policy, 10)  # the limit falls to 7
        results = await crowd(engine, policy, 8)
    assert [result.latency for result in results] == [1.0] * 7 + [2.0]
    assert results[-1].attempts[0].waited == 1.0  # and its timeout did not run meanwhile


async def test_a_race_that_is_over_leaves_the_queue() -> None:
    busy = RateLimitError("slow down", status=429)
    busy.retryable = True
    there = model("there", *[fails(busy, 1.0)] * 2, says("good", 5.0))
    slow = Policy("p", [Tier(there, retries=0)])
    race = Policy("r", [Tier(there, name="a"), Tier(model("quick", says("good", 1.0)))],
                  start_after=0)  # fmt: skip
    async with no_jitter() as engine:
        await crowd(engine, slow, 2)  # the limit falls to 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run, slow, "hello")
            await anyio.sleep(0.5)
            result = await engine.run(race, "hello")
            assert (result.tier, result.latency) == ("quick", 1.0)
            assert result.attempts[0].outcome == "cancelled"
            assert (await engine.run(slow, "hello")).latency == 3.5 + 5.0
    assert len(there.calls) == 4


# The retry budget


async def test_without_budget_nothing_is_retried_or_repaired() -> None:
    flaky = model("flaky", fails(), "good")
    policy = Policy("p", [Tier(flaky, retries=2), Tier(model("b", "good"))])
    async with no_jitter(BROKE) as engine:
        assert (await engine.run(policy, "hello")).tier == "b"

    def check(answer: Answer) -> Verdict:
        return Verdict.accept() if answer.text == "good" else Verdict.reject("bad", repairable=True)

    sloppy = model("sloppy", "bad", "good")
    policy = Policy("p", [Tier(sloppy, verify=check, repairs=1), Tier(model("b", "good"))])
    async with no_jitter(BROKE) as engine:
        assert (await engine.run(policy, "hello")).tier == "b"
    assert (len(flaky.calls), len(sloppy.calls)) == (1, 1)


async def test_without_budget_a_hedge_starts_when_the_tier_before_it_is_out() -> None:
    tiers = [Tier(model("a", fails(after=3.0)), retries=0), Tier(model("b", says("good", 1.0)))]
    hedge = Policy("p", tiers, start_after=1.0)
    async with no_jitter(BROKE) as engine:
        assert (await engine.run(hedge, "hello")).attempts[1].started == 3.0
    async with no_jitter() as engine:
        assert (await engine.run(hedge, "hello")).attempts[1].started == 1.0


async def test_a_race_is_not_charged_and_escalation_never_refused() -> None:
    tiers = [Tier(model("a", says("no", 1.0)), verify=lambda text: text == "good"),
             Tier(model("b", says("good", 1.0)))]  # fmt: skip
    async with no_jitter(BROKE) as engine:
        race = await engine.run(Policy("p", tiers, start_after=0), "hello")
        cascade = await engine.run(Policy("p", tiers), "hello")
    assert [attempt.started for attempt in race.attempts] == [0.0, 0.0]
    assert [attempt.started for attempt in cascade.attempts] == [0.0, 1.0]


async def test_the_budget_grows_with_the_calls() -> None:
    flaky = model("flaky", fails())
    budget = RetryBudget(fraction=0.5, reserve=0.0)
    async with no_jitter(budget) as engine:
        policy = Policy("p", [Tier(flaky, retries=5)])
        for _ in range(4):
            with pytest.raises(CascadeExhausted):
                await engine.run(policy, "hello")
    # Credit fades by the process's own clock, however little of it this test takes.
    assert len(flaky.calls) in (5, 6)
    assert budget.refused > 0


# Retry-After


@pytest.mark.parametrize(("wait", "tries"), [(30.0, 2), (61.0, 1), (1e9, 1)])
async def test_a_server_that_asks_for_too_much_is_not_waited_for(wait: float, tries: int) -> None:
    busy = RateLimitError("slow down", status=429, retry_after=wait)
    busy.retryable = True
    there = model("there", fails(busy), "good")
    policy = Policy("p", [Tier(there), Tier(model("b", "good"))])
    async with no_jitter() as engine:
        result = await engine.run(policy, "hello")
    assert (len(there.calls), result.tier) == (tries, "there" if tries == 2 else "b")


# Latencies


def seen(*seconds: float) -> dict[str, Any]:
    latency = ModelLatency()
    for value in seconds:
        latency.record(value, time.time(), first_token=value)
    return latency.to_dict()


async def test_a_hedge_may_start_at_a_quantile_of_what_the_model_takes() -> None:
    tiers = [Tier(model("a", says("good", 60.0))), Tier(model("b", says("good", 60.0)))]
    policy = Policy("p", tiers, start_after="p95", prefer="fastest")
    async with no_jitter() as engine:
        unknown = await engine.run(policy, "hello")
        assert len(unknown.attempts) == 1
        engine.learn({"a": seen(*[1.0] * 90, *[4.0] * 10)})
        known = await engine.run(policy, "hello")
    assert known.attempts[1].started == pytest.approx(4.0, rel=0.06)


async def test_what_one_engine_has_seen_another_can_learn() -> None:
    policy = Policy("p", [Tier(model("a", says("good", 2.0))), Tier(model("b", "good"))],
                    start_after="p50")  # fmt: skip
    async with no_jitter() as first, no_jitter() as second:
        for _ in range(30):
            await first.run(policy, "hello")
        second.learn(first.latencies())
        assert second.latencies().keys() == {"a", "b"}
        result = await second.run(policy, "hello", prefer="fastest")
    assert result.latency == pytest.approx(2.0, rel=0.06)
    with pytest.raises(ConfigError, match="version"):
        second.learn({"a": {"version": 99}})


async def test_what_is_known_of_two_models_of_one_name_counts_once() -> None:
    tiers = [Tier(model("a", says("good", after)), name=f"after {after}") for after in (2.0, 3.0)]
    known = {"a": seen(*[1.0] * 32)}
    async with no_jitter() as engine:
        engine.learn(known)
        before = samples(engine, "a")
        await engine.run(Policy("p", tiers), "hello", start_after=0, prefer="fastest")
        assert samples(engine, "a")["total"] == (34.0, 1.0)  # one of the two was outrun
        engine.learn(known)
        after = samples(engine, "a")
        kept = engine.latencies()
    assert (before["total"], after["total"]) == ((32.0, 0.0), (66.0, 1.0))
    async with no_jitter() as engine:
        for _ in range(3):
            engine.bind(Policy("q", tiers))
            engine.learn(kept)
            kept = engine.latencies()
        quantiles = [
            gate.latency.total.quantile(0.5, time.time())
            for tier in engine.bind(Policy("q", tiers)).tiers
            if (gate := tier.targets[0][0].gate) is not None
        ]
    assert quantiles == [pytest.approx(1.0, rel=0.06)] * 2
    assert round(sum(row[1] for row in kept["a"]["total"]["buckets"])) == 66 * 4


@pytest.mark.parametrize("spec", ["95", "p", "p0", "p100", "q95", ""])
async def test_what_is_no_quantile_is_refused(spec: str) -> None:
    tiers = [Tier(model("a")), Tier(model("b"))]
    with pytest.raises(ConfigError, match="start_after"):
        Policy("p", tiers, start_after=spec)
    with pytest.raises(ConfigError, match="replica_after"):
        Tier(model("a"), replica_after=spec)


async def test_a_quantile_of_a_function_is_refused() -> None:
    policy = Policy("p", [Tier(lambda text: None, name="f"), Tier(model("b"))], start_after="p95")
    async with Engine() as engine:
        with pytest.raises(ConfigError, match="f is a function, which is not timed"):
            engine.bind(policy)


# Replicas


async def test_a_stream_that_goes_on_gets_no_replica_and_one_that_stalls_does() -> None:
    steady = says("good", 1.0, chunks=4, chunk_delay=1.5)
    policy = Policy("p", [Tier(model("a", steady), replica_after=2.0)])
    async with no_jitter() as engine:
        result = await engine.run(policy, "hello")
    assert [(a.kind, a.started) for a in result.attempts] == [("first", 0.0)]

    stalls = says("good", 1.0, chunks=2, chunk_delay=30.0)
    policy = Policy("p", [Tier(model("a", stalls, says("good", 1.0)), replica_after=2.0)])
    async with no_jitter() as engine:
        result = await engine.run(policy, "hello")
    kinds = [(a.kind, a.started, a.outcome) for a in result.attempts]
    assert kinds == [("first", 0.0, "cancelled"), ("replica", 3.0, "accepted")]
    assert result.latency == 4.0


async def test_a_replica_may_wait_for_a_quantile_of_the_first_token() -> None:
    policy = Policy("p", [Tier(model("a", says("good", 60.0), says("good", 1.0)),
                               replica_after="p90")])  # fmt: skip
    async with no_jitter() as engine:
        engine.learn({"a": seen(*[0.5] * 50, *[2.0] * 50)})
        result = await engine.run(policy, "hello")
    assert result.attempts[1].kind == "replica"
    assert result.attempts[1].started == pytest.approx(2.0, rel=0.06)


async def overload(engine: Engine, there: ScriptedModel) -> None:
    """Two attempts that the provider refuses, after a second: its limit falls to one."""
    results = await crowd(engine, Policy("o", [Tier(there, retries=0)]), 2)
    assert [type(result) for result in results] == [CascadeExhausted] * 2


def too_busy() -> RateLimitError:
    return RateLimitError("slow down", status=429, retryable=True)


@pytest.mark.parametrize("asks", ["run", "complete"])
async def test_who_declines_is_well(asks: str) -> None:
    class Declines(ScriptedModel):
        async def complete(self, call: Call, /) -> Answer | None:
            await super().complete(call)
            return None

    there = Declines(*[fails(after=1.0)] * 10, says("not mine", 1.0), name="there")
    policy = Policy("p", [Tier(there, retries=0)])
    async with no_jitter() as engine:
        for _ in range(10):
            with pytest.raises(CascadeExhausted):
                await engine.run(policy, "hello")
        gate = engine.bind(policy).tiers[0].targets[0][0].gate
        assert gate is not None
        await anyio.sleep(gate.breaker.wait(anyio.current_time()))
        # The probe finds that the provider is well again, and the breaker closes.
        for _ in range(2):
            if asks == "run":
                with pytest.raises(CascadeExhausted, match="declined"):
                    await engine.run(policy, "hello")
            else:
                with pytest.raises(ProviderError, match="declined"):
                    await engine.complete(there, Request.of("hello"))
            assert gate.breaker.admit(anyio.current_time()) is not None
        assert engine.latencies()["there"]["total"]["buckets"] == [], "no answer was timed"


async def test_who_waited_while_the_model_went_down_does_not_call_it() -> None:
    there = model("there", *[fails(too_busy(), 1.0)] * 2, fails(after=1.0))
    policy = Policy("p", [Tier(there, retries=0)])
    async with no_jitter() as engine:
        await overload(engine, there)
        errors = await crowd(engine, policy, 20)
        gate = engine.bind(policy).tiers[0].targets[0][0].gate
    # Two refusals and eight failures open the breaker; those that still wait are told at once.
    causes = [type(error.__cause__) for error in errors]
    assert causes.count(CircuitOpenError) == 20 - causes.count(APIConnectionError) == 12
    assert len(there.calls) == 10
    assert {error.attempts[0].latency for error in errors[8:]} == {8.0}
    assert gate is not None
    turnstile = gate.turnstile
    assert (turnstile.limiter.in_flight, turnstile.limiter.waiting, turnstile.waiting) == (0, 0, {})


def samples(engine: Engine, name: str) -> dict[str, tuple[float, ...]]:
    """How many samples there are of the first token and of the total, and how many were cut."""
    held = engine.latencies()[name]
    return {
        key: tuple(round(sum(row[of] for row in held[key]["buckets"]), 3) for of in (1, 2))
        for key in ("first_token", "total")
    }


async def test_waiting_for_a_turn_is_no_latency_of_the_model() -> None:
    there = model("there", *[fails(too_busy(), 1.0)] * 2, says("good", 9.0))
    policy = Policy("p", [Tier(there, retries=0)])
    async with no_jitter() as engine:
        await overload(engine, there)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run, policy, "hello")
            await anyio.sleep(1.0)
            with pytest.raises(DeadlineExceededError):
                await engine.run(policy, "hello", deadline=3.0)
        assert samples(engine, "there")["total"] == (1.0, 0.0)


async def test_a_first_token_that_came_counts_though_the_rest_was_cut() -> None:
    slow = model("slow", says("good", 1.0, chunks=4, chunk_delay=5.0))
    async with no_jitter() as engine:
        with pytest.raises(DeadlineExceededError):
            await engine.run(Policy("p", [Tier(slow)], deadline=4.0), "hello")
        assert samples(engine, "slow") == {"first_token": (1.0, 0.0), "total": (1.0, 1.0)}


async def test_an_answer_cut_off_as_hopeless_would_have_taken_longer() -> None:
    class Braces:
        def verify(self, request: Request, answer: Answer, /) -> Verdict:
            return Verdict.accept()

        def prefix(self, text: str) -> Verdict | None:
            return Verdict.reject("no brace")

    wordy = model("wordy", says("x" * 100, 1.0, chunks=2, chunk_delay=60.0))
    policy = Policy("p", [Tier(wordy, verify=Braces(), timeout=None), Tier(model("b", "good"))])
    async with no_jitter() as engine:
        await engine.run(policy, "hello")
        assert samples(engine, "wordy")["total"][1] == samples(engine, "wordy")["total"][0] == 1.0


async def test_an_empty_answer_is_no_latency() -> None:
    mute = model("mute", says("", 1.0))
    policy = Policy("p", [Tier(mute, retries=0), Tier(model("b", "good"))])
    async with no_jitter() as engine:
        await engine.run(policy, "hello")
        assert samples(engine, "mute")["total"] == (0.0, 0.0)


async def test_an_attempt_that_was_outrun_has_not_timed_out_however_late_it_ends() -> None:
    class Stubborn:
        name = "stubborn"
        calls = 0

        async def complete(self, call: Call, /) -> Answer:
            self.calls += 1
            try:
                await anyio.sleep(60.0)
                return Answer("good")
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(1.0)

    stubborn = Stubborn()
    race = Policy("p", [Tier(stubborn, timeout=1.5), Tier(model("quick", says("good", 1.0)))],
                  start_after=0, prefer="fastest")  # fmt: skip
    async with no_jitter() as engine:
        for _ in range(12):
            assert (await engine.run(race, "hello")).tier == "quick"
    assert stubborn.calls == 12


async def test_a_quantile_of_a_function_is_refused_for_one_call_too() -> None:
    policy = Policy("p", [Tier(lambda text: None, name="f"), Tier(model("b", "good"))])
    async with Engine() as engine:
        with pytest.raises(ConfigError, match="f is a function, which is not timed"):
            await engine.run(policy, "hello", start_after="p95")


async def test_a_provider_that_is_no_key_has_one_breaker_and_one_limit_all_the_same() -> None:
    class Equal(ScriptedModel):
        __hash__ = None  # type: ignore[assignment]  # as a dataclass has it

        def __eq__(self, other: object) -> bool:
            return True

    one, other = Equal("good", name="one"), Equal("good", name="other")
    async with no_jitter() as engine:
        gates = [
            engine.bind(Policy("p", [Tier(provider)])).tiers[0].targets[0][0].gate
            for provider in (one, one, other)
        ]
        assert gates[0] is gates[1] is not gates[2]
        await engine.run(Policy("p", [Tier(one)]), "hello")
        assert samples(engine, "one")["total"] == (1.0, 0.0)


async def test_each_repair_of_an_ensemble_is_paid_for() -> None:
    def check(answer: Answer) -> Verdict:
        return Verdict.accept() if answer.text == "good" else Verdict.reject("bad", repairable=True)

    sloppy = model("sloppy", *["bad"] * 3, "good")
    policy = Policy("p", [Tier(sloppy, samples=3, verify=check, repairs=1)])
    budget = RetryBudget(fraction=2.5, reserve=0.0)
    async with no_jitter(budget) as engine:
        result = await engine.run(policy, "hello")
    assert [attempt.kind for attempt in result.attempts].count("repair") == 2
    assert budget.refused == 1


async def test_a_replica_at_once_is_one_and_is_paid_for() -> None:
    class Loading(ScriptedModel):
        async def ready(self, model: str) -> None:
            await anyio.sleep(1.0)

    policy = Policy("p", [Tier(Loading(says("good", 1.0), name="l"), replica_after=0.0)])
    async with no_jitter() as engine:
        kinds = [attempt.kind for attempt in (await engine.run(policy, "hello")).attempts]
        assert kinds == ["first", "replica"]
    async with no_jitter(BROKE) as engine:
        kinds = [attempt.kind for attempt in (await engine.run(policy, "hello")).attempts]
        assert kinds == ["first"]
