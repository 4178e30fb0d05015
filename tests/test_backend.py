"""Deadlines on asyncio: one timer for all, never late, and nothing kept when all is over."""

from __future__ import annotations

import asyncio
import gc
import weakref

import anyio
import pytest

from cascade import Answer, Engine, Policy, Request, Tier, Verdict
from cascade.backend import AsyncioBackend
from cascade.testing import Scripted, ScriptedModel


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock stands until it is set, and which counts its timers."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.timers = 0

    def time(self) -> float:
        return self.now

    def call_at(self, *args: object, **options: object) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(*args, **options)  # type: ignore[arg-type]  # passed on as they came

    async def pass_to(self, now: float) -> None:
        self.now = now
        for _ in range(3):  # the timer, what it cancels, and what it arms
            await asyncio.sleep(0)


async def wait_in(scope: anyio.CancelScope) -> bool:
    """Whether the scope was cancelled before long."""
    with scope:
        await anyio.sleep_forever()
    return scope.cancelled_caught


def test_each_scope_is_cancelled_at_its_deadline_and_not_before() -> None:
    loop = Loop()

    async def main() -> None:
        backend = AsyncioBackend(loop)
        scopes = [backend.scope() for _ in range(3)]
        for scope, at in zip(scopes, (130.0, 110.0, 120.0), strict=True):
            backend.arm(scope, at)
        tasks = [asyncio.create_task(wait_in(scope)) for scope in scopes]
        for now, done in ((109.0, 0), (110.0, 1), (119.0, 1), (121.0, 2), (130.0, 3)):
            await loop.pass_to(now)
            assert sum(task.done() for task in tasks) == done
        assert all(task.result() for task in tasks)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


def test_a_deadline_may_be_moved_both_ways() -> None:
    loop = Loop()

    async def main() -> None:
        backend = AsyncioBackend(loop)
        later, sooner = backend.scope(), backend.scope()
        backend.arm(later, 110.0)
        backend.arm(sooner, 150.0)
        tasks = [asyncio.create_task(wait_in(scope)) for scope in (later, sooner)]
        await loop.pass_to(105.0)
        backend.arm(later, 140.0)
        backend.arm(sooner, 120.0)
        for now, done in ((119.0, 0), (120.0, 1), (139.0, 1), (140.0, 2)):
            await loop.pass_to(now)
            assert sum(task.done() for task in tasks) == done

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


def test_calls_in_a_row_share_one_timer() -> None:
    loop = Loop()

    async def main() -> None:
        policy = Policy("p", [Tier(ScriptedModel("yes"), verify=lambda text: True)])
        async with Engine() as engine:
            for _ in range(50):
                await engine.run(policy, "hello")

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
    assert loop.timers <= 2  # of which one may be the runner's own


def test_an_engine_and_its_calls_can_be_collected_while_the_timer_is_set() -> None:
    class Check:
        async def verify(self, request: Request, answer: Answer, /) -> Verdict:
            return Verdict.accept()

    async def main() -> None:
        check = Check()
        seen = weakref.ref(check)
        policy = Policy("p", [Tier(ScriptedModel("yes"), verify=check)])
        engine = Engine()
        await engine.run(policy, "hello")
        await engine.aclose()
        del policy, engine, check
        gc.collect()
        assert seen() is None

    asyncio.run(main())


@pytest.mark.anyio
async def test_the_seconds_a_check_took_are_in_its_verdict() -> None:
    async def slow(text: str) -> bool:
        await anyio.sleep(2.5)
        return True

    async with Engine() as engine:
        policy = Policy("p", [Tier(ScriptedModel(Scripted(text="x", delay=1.0)), verify=slow)])
        result = await engine.run(policy, "hello")
    assert result.verdict is not None
    assert (result.verdict.latency, result.latency) == (2.5, 3.5)


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock
