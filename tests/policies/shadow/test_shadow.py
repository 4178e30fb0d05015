"""`Shadow` on a virtual clock: no call waits for it, and nothing of it is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from cascade import (
    APIConnectionError,
    BudgetExceededError,
    CascadeExhausted,
    ConfigError,
    Engine,
    Policy,
    Price,
    PromptError,
    Tier,
)
from cascade.cost import Cost
from cascade.routing import Entry
from cascade_policies.ledger.database import connect
from cascade_policies.ledger.writer import SqliteLedger
from cascade_policies.shadow import Shadow, read_pairs
from tests.policies.shadow.conftest import Records, Told, model, one_tier, says

pytestmark = pytest.mark.anyio


def served() -> Policy:
    return one_tier("tickets", says("good old", 1.0))


def begun(policy: Policy) -> list[float]:
    """When its model was asked."""
    return [call.started for call in policy.tiers[0].model.calls]  # type: ignore[union-attr]


def endings(policy: Policy) -> list[str]:
    return [call.outcome for call in policy.tiers[0].model.calls]  # type: ignore[union-attr]


async def test_the_candidate_answers_after_the_call_and_nobody_waits(records: Records) -> None:
    policy, candidate = served(), one_tier("next", says("good new", 5.0))
    shadow = Shadow(candidate, of="tickets", share=1.0, drain=10.0)
    async with Engine(observers=[records, shadow]) as engine:
        async with shadow.running(engine):
            began = anyio.current_time()
            result = await engine.run(policy, "hello")
            assert (result.text, anyio.current_time() - began) == ("good old", 1.0)
        assert anyio.current_time() - began == 6.0
    original, copy = records.all
    assert begun(candidate) == [began + 1.0]
    assert (copy.policy, copy.variant) == ("next", f"shadow of {original.id}")
    assert copy.request == original.request
    assert copy.result is not None
    assert copy.result.text == "good new"
    assert (shadow.work.done, shadow.work.failed, shadow.work.dropped) == (1, 0, 0)


async def test_one_at_a_time_and_what_finds_no_room_is_dropped() -> None:
    policy, candidate = served(), one_tier("next", says("good", 10.0))
    shadow = Shadow(candidate, share=1.0, queue=2, drain=100.0)
    async with Engine(observers=[shadow]) as engine:
        async with shadow.running(engine):
            began = anyio.current_time()
            for _ in range(6):
                await engine.run(policy, "hello")
            assert anyio.current_time() - began == 6.0
            assert shadow.work.dropped == 3
        assert anyio.current_time() - began == 31.0
    assert begun(candidate) == [began + 1.0, began + 11.0, began + 21.0]
    assert shadow.work.done == 3


async def test_two_at_a_time() -> None:
    candidate = one_tier("next", says("good", 10.0))
    shadow = Shadow(candidate, share=1.0, concurrency=2, drain=100.0)
    async with Engine(observers=[shadow]) as engine, shadow.running(engine):
        began = anyio.current_time()
        for _ in range(4):
            await engine.run(served(), "hello")
    assert begun(candidate) == [began + 1.0, began + 2.0, began + 11.0, began + 12.0]


async def test_the_end_waits_for_so_long_and_then_cancels() -> None:
    candidate = one_tier("next", says("good", 10.0))
    shadow = Shadow(candidate, share=1.0, drain=3.0)
    async with Engine(observers=[shadow]) as engine:
        async with shadow.running(engine):
            began = anyio.current_time()
            await engine.run(served(), "one")
            await engine.run(served(), "two")
        assert anyio.current_time() - began == 5.0
    assert endings(candidate) == ["cancelled"]
    assert (shadow.work.done, shadow.work.dropped) == (0, 2)


async def test_an_error_of_the_block_ends_it_at_once_and_comes_out_as_it_is() -> None:
    candidate = one_tier("next", says("good", 10.0))
    shadow = Shadow(candidate, share=1.0)
    async with Engine(observers=[shadow]) as engine:
        began = anyio.current_time()

        async def serve() -> None:
            async with shadow.running(engine):
                await engine.run(served(), "hello")
                await anyio.sleep(1)
                raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            await serve()
        assert anyio.current_time() - began == 2.0
        assert endings(candidate) == ["cancelled"]


async def test_a_cancelled_block_ends_at_once() -> None:
    candidate = one_tier("next", says("good", 10.0))
    shadow = Shadow(candidate, share=1.0)
    async with Engine(observers=[shadow]) as engine:
        began = anyio.current_time()
        with anyio.move_on_after(2) as scope:
            async with shadow.running(engine):
                await engine.run(served(), "hello")
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert anyio.current_time() - began == 2.0
    assert endings(candidate) == ["cancelled"]
    assert shadow.work.dropped == 1


def test_a_native_cancellation_gets_through() -> None:
    """Of asyncio's own kind, which task groups must not keep to themselves."""
    inside, left = asyncio.Event(), asyncio.Event()

    async def slow(prompt: str) -> str:
        inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return prompt

    shadow = Shadow(Policy("next", [Tier(slow, name="t")]), share=1.0)

    async def serve() -> None:
        async with Engine(observers=[shadow]) as engine, shadow.running(engine):
            await engine.run(one_tier("tickets", "good"), "hello")
            await asyncio.Event().wait()

    async def run() -> None:
        task = asyncio.create_task(serve())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(run())
    assert left.is_set()
    assert shadow.work.dropped == 1


async def test_its_failures_are_its_own(records: Records, told: Told) -> None:
    down = one_tier("next", says("bad", 0.0))
    shadow = Shadow(down, share=1.0)
    async with Engine(observers=[records, shadow]) as engine, shadow.running(engine):
        assert (await engine.run(served(), "hello")).text == "good old"
    assert [record.outcome for record in records.of("next")] == ["exhausted"]
    assert shadow.work.done == 1
    assert told("cascade.background_failed") == []


async def test_a_bug_in_the_candidate_ends_nothing(told: Told) -> None:
    class Broken(Shadow):
        async def _answer(self, engine: Any, record: Any) -> None:
            raise RuntimeError("a bug")

    shadow = Broken(one_tier("next", "good"), share=1.0)
    async with Engine(observers=[shadow]) as engine, shadow.running(engine):
        for _ in range(2):
            assert (await engine.run(served(), "hello")).text == "good old"
    assert shadow.work.failed == 2
    assert len(told("cascade.background_failed")) == 2


async def test_a_sampled_share_the_same_with_the_same_seed() -> None:
    chosen = []
    for _ in range(2):
        candidate = one_tier("next", "good")
        shadow = Shadow(candidate, share=0.25, seed=4, queue=1000)
        async with Engine(observers=[shadow]) as engine, shadow.running(engine):
            for number in range(400):
                await engine.run(one_tier("tickets", "good"), f"prompt {number}")
        asked = candidate.tiers[0].model.calls  # type: ignore[union-attr]
        chosen.append([call.call.request.text for call in asked])
    assert chosen[0] == chosen[1]
    assert 70 < len(chosen[0]) < 130


async def test_only_what_it_shadows_and_never_a_shadow(records: Records) -> None:
    first, second = one_tier("first", "good"), one_tier("second", "good")
    shadows = [Shadow(first, share=1.0), Shadow(second, of="tickets", share=1.0)]
    engine = Engine(observers=[records, *shadows])
    async with engine, shadows[0].running(engine), shadows[1].running(engine):
        await engine.run(served(), "hello")
        await engine.run(one_tier("other", "good"), "hello")
        await engine.run(first, "hello")
    assert len(records.of("first")) == 3  # of tickets and other, and the caller's own
    assert len(records.of("second")) == 1


async def test_calls_that_were_cancelled_are_not_shadowed() -> None:
    candidate = one_tier("next", "good")
    shadow = Shadow(candidate, share=1.0)
    async with Engine(observers=[shadow]) as engine, shadow.running(engine):
        with anyio.move_on_after(0.5):
            await engine.run(served(), "hello")
        with pytest.raises(CascadeExhausted):
            await engine.run(one_tier("tickets", "bad"), "hello")
    assert len(begun(candidate)) == 1


class Purse:
    """A budget that refuses whoever is in the background, and sees who asks."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def adapt(self, policy: Policy, /) -> Policy:
        self.asked.append((policy.name, policy.priority))
        return policy

    def per_call(self, policy: str, /) -> float | None:
        return None

    async def reserve(self, policy: str, amount: float, /) -> Hashable:
        if policy == "next":
            raise BudgetExceededError("nothing left for that")
        return policy

    def settle(self, reservation: Hashable, cost: Cost, /) -> None:
        pass


async def test_a_budget_sees_it_in_the_background(records: Records) -> None:
    price = Price(input=1.0, output=1.0)
    tiers = [Tier(model("good"), name="only", price=price)]
    policy, candidate = Policy("tickets", tiers), Policy("next", tiers, priority="critical")
    shadow, purse = Shadow(candidate, share=1.0), Purse()
    engine = Engine(observers=[records, shadow], budget=purse)
    async with engine, shadow.running(engine):
        result = await engine.run(policy, "hello")
    assert result.accepted
    assert purse.asked == [("tickets", "normal"), ("next", "background")]
    [refused] = records.of("next")
    assert (refused.outcome, refused.result) == ("error", None)
    assert candidate.priority == "critical"


async def test_who_forgot_to_run_it_is_told_once(told: Told) -> None:
    shadow = Shadow(one_tier("next", "good"), share=1.0)
    async with Engine(observers=[shadow]) as engine:
        for _ in range(3):
            await engine.run(served(), "hello")
    assert [event["name"] for event in told("cascade.background_idle")] == ["shadow next"]
    assert shadow.work.dropped == 3


async def test_what_cannot_be_shadowed_is_refused() -> None:
    async with Engine() as engine:
        entry = Entry("e", lambda text: None, {"a": served()})
        with pytest.raises(ConfigError, match="router over policies"):
            Shadow(entry).running(engine)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="nothing could tell their calls apart"):
            Shadow(served(), of="tickets").running(engine)
        templated = Policy("v", [Tier(model("good"), name="t", prompt="{{prompt}} in {{tongue}}")])
        with pytest.raises(PromptError, match="'tongue' is missing"):
            Shadow(templated).running(engine)
        with pytest.raises(ConfigError, match="nowhere"):
            Shadow("nowhere").running(engine)
        shadow = Shadow(one_tier("next", "good"))
        async with shadow.running(engine):
            with pytest.raises(ConfigError, match="running already"):
                async with shadow.running(engine):
                    pass
        async with shadow.running(engine):  # but one after the other
            pass


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"share": 0.0}, "share=0.0"),
        ({"share": 1.5}, "share=1.5"),
        ({"queue": 0}, "queue=0"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"drain": float("inf")}, "drain=inf"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Shadow(served(), **settings)


async def test_pairs_are_in_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    candidate = one_tier("next", says("good new", 0.5))
    shadow = Shadow(candidate, of="tickets", share=1.0)
    async with Engine(observers=[ledger, shadow]) as engine, shadow.running(engine):
        await engine.run(served(), "hello")
    assert ledger.close()
    with closing(connect(path)) as connection:
        [(original, copy)] = read_pairs(connection, "tickets", "next")
        assert read_pairs(connection, "next", "tickets") == []
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT 1 FROM calls s WHERE s.policy = ? "
            "AND substr(s.variant, 1, 10) = 'shadow of '",
            ("next",),
        ).fetchall()
    assert (original.outcome, original.latency, original.answer) == ("accepted", 1.0, "good old")
    assert (copy.outcome, copy.latency, copy.answer) == ("accepted", 0.5, "good new")
    assert "calls_shadows" in str(plan)


async def test_an_unreachable_model_is_the_shadows_affair(records: Records) -> None:
    step = says("", 0.0)
    candidate = Policy(
        "next",
        [Tier(model(replace(step, error=APIConnectionError("no route"))), name="t", retries=0)],
    )
    shadow = Shadow(candidate, share=1.0)
    async with Engine(observers=[records, shadow]) as engine, shadow.running(engine):
        assert (await engine.run(served(), "hello")).accepted
    assert [record.outcome for record in records.of("next")] == ["exhausted"]
