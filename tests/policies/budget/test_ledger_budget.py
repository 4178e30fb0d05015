"""The budget as an engine uses it: never waiting on the loop, never losing money to a cancel."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import anyio
import pytest
import trio

from cascade import Engine, Policy, Price, Tier
from cascade.cost import Cost
from cascade.errors import BudgetExceededError, ConfigError
from cascade.testing.scripted import Scripted, ScriptedModel
from cascade.types import Usage
from cascade_policies.budget import BudgetSettings, LedgerBudget, Step, TaskBudget
from cascade_policies.budget.entries import Outcome
from cascade_policies.budget.ledger_budget import _Desk
from cascade_policies.ledger.database import connect
from tests.policies.budget.conftest import Clock

pytestmark = pytest.mark.anyio
DAY = BudgetSettings(day=1.0)
STEPS = [Step(above=0.5, hedges=False)]


def sums(path: Path) -> tuple[float, float, float]:
    """Dollars: at the least, counted as spent, set aside."""
    with closing(sqlite3.connect(path)) as connection:  # which needs no leave to write
        low, high = connection.execute("SELECT sum(low), sum(high) FROM budget_spent").fetchone()
        (held,) = connection.execute("SELECT sum(amount) FROM budget_reserved").fetchone()
    return tuple(round((each or 0) / 1e9, 9) for each in (low, high, held))  # type: ignore[return-value]


def keepers() -> set[threading.Thread]:
    """The threads of budgets."""
    return {each for each in threading.enumerate() if each.name == "cascade-budget"}


class Writing:
    """Holds the database's only permission to write."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()


async def test_what_is_set_aside_is_settled_at_what_it_cost(path: Path) -> None:
    budget = LedgerBudget(DAY, path=path)
    reservation = await budget.reserve("t", 0.7)
    with pytest.raises(BudgetExceededError) as refused:
        await budget.reserve("t", 0.4)
    assert refused.value.policy == "t"
    budget.settle(reservation, Cost(0.1, 0.25, "cancelled"))
    await budget.reserve("t", 0.75)
    await budget.aclose()
    assert sums(path) == (0.1, 0.25, 0.75)


async def test_an_unknown_cost_is_all_that_was_set_aside(path: Path) -> None:
    budget = LedgerBudget(DAY, path=path)
    budget.settle(await budget.reserve("t", 0.5), Cost.unknown())
    await budget.aclose()
    assert sums(path) == (0.0, 0.5, 0.0)


async def test_many_at_once_get_all_there_is_and_no_more(path: Path) -> None:
    budget = LedgerBudget(DAY, path=path)
    granted = refused = 0

    async def one() -> None:
        nonlocal granted, refused
        try:
            await budget.reserve("t", 0.01)
            granted += 1
        except BudgetExceededError:
            refused += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(300):
            tasks.start_soon(one)
    assert (granted, refused) == (100, 200)
    await budget.aclose()


async def test_who_waits_for_another_writer_does_not_hold_up_the_loop(path: Path) -> None:
    budget = LedgerBudget(DAY, path=path)
    turns = 0
    async with anyio.create_task_group() as tasks:
        with Writing(path):
            tasks.start_soon(budget.reserve, "t", 0.5)
            while turns < 50:
                await anyio.lowlevel.checkpoint()
                turns += 1
            assert sums(path) == (0.0, 0.0, 0.0)
    await budget.aclose()
    assert sums(path) == (0.0, 0.0, 0.5)


async def test_a_cancelled_wait_leaves_nothing_set_aside(path: Path) -> None:
    budget = LedgerBudget(DAY, path=path)
    async with anyio.create_task_group() as tasks:
        with Writing(path):
            for _ in range(20):
                tasks.start_soon(budget.reserve, "t", 0.05)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    await budget.reserve("t", 1.0)
    await budget.aclose()
    assert sums(path) == (0.0, 0.0, 1.0)


async def test_cancelled_at_any_moment_no_money_is_lost(path: Path) -> None:
    budget = LedgerBudget(DAY, path=path)
    held = 0
    for turns in range(60):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def ask() -> None:
                    nonlocal held
                    await budget.reserve("t", 0.001)
                    held += 1

                tasks.start_soon(ask)
                for _ in range(turns * 20):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
    await budget.aclose()
    await budget.reserve("t", 0.0)  # whatever was taken back is written by now
    await budget.aclose()
    assert sums(path)[2] == round(held * 0.001, 9)


def test_a_loop_that_ends_gives_back_what_it_waited_for(path: Path) -> None:
    budget = LedgerBudget(DAY, path=path)

    async def leave() -> None:
        task = asyncio.ensure_future(budget.reserve("t", 1.0))
        await asyncio.sleep(0)
        task.cancel()  # and nobody awaits it

    writing = Writing(path)
    with writing:
        asyncio.run(leave())
    budget.close()
    assert sums(path) == (0.0, 0.0, 0.0)


def test_one_budget_serves_several_loops(path: Path) -> None:
    budget = LedgerBudget(DAY, path=path)

    async def spend() -> None:
        for _ in range(20):
            budget.settle(await budget.reserve("t", 0.01), Cost(0.01, 0.01))

    threads = [threading.Thread(target=asyncio.run, args=(spend(),)) for _ in range(2)]
    threads += [threading.Thread(target=trio.run, args=(spend,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    budget.close()
    assert sums(path) == (0.8, 0.8, 0.0)


async def test_it_can_be_used_after_it_was_closed(path: Path) -> None:
    budget = LedgerBudget(DAY, path=path)
    reservation = await budget.reserve("t", 0.5)
    await budget.aclose()
    budget.settle(reservation, Cost(0.5, 0.5))
    await budget.aclose()
    await budget.aclose()
    assert sums(path) == (0.5, 0.5, 0.0)


async def test_two_in_one_process_share_the_money(path: Path) -> None:
    one, other = LedgerBudget(DAY, path=path), LedgerBudget(DAY, path=path)
    reservation = await one.reserve("t", 0.6)
    with pytest.raises(BudgetExceededError):
        await other.reserve("t", 0.6)
    other.settle(reservation, Cost(0.0, 0.0))
    await other.reserve("t", 1.0)
    await one.aclose()
    await other.aclose()


async def test_what_cannot_be_booked_is_not_spent(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascade_policies.budget.writing.PATIENCE", 0.01)
    budget = LedgerBudget(DAY, path=path)
    reservation = await budget.reserve("t", 0.5)
    with Writing(path):
        with pytest.raises(BudgetExceededError, match=r"cannot be kept.*locked"):
            await budget.reserve("t", 0.1)
        budget.settle(reservation, Cost(0.4, 0.4))
        with pytest.raises(BudgetExceededError, match="cannot be kept"):
            await budget.reserve("t", 0.1)
    await budget.reserve("t", 0.6)  # the settlement was kept, and is written first
    await budget.aclose()
    assert sums(path) == (0.4, 0.4, 0.6)


async def test_an_absurd_amount_is_refused(path: Path) -> None:
    budget = LedgerBudget(BudgetSettings(per_call=1.0), path=path)
    for amount in (float("inf"), float("nan"), -1.0, 1e12):
        with pytest.raises(BudgetExceededError):
            await budget.reserve("t", amount)


def test_a_file_that_is_no_ledger_is_refused_at_once(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE mine (x)")
    with pytest.raises(ConfigError, match="give another path"):
        LedgerBudget(DAY, path=path)


def test_the_end_of_the_process_writes_what_is_not_written(path: Path) -> None:
    code = f"""
import asyncio
from cascade.cost import Cost
from cascade_policies.budget import BudgetSettings, LedgerBudget
async def main():
    budget = LedgerBudget(BudgetSettings(day=1.0), path={str(path)!r})
    budget.settle(await budget.reserve("t", 0.5), Cost(0.25, 0.25))
    return budget
kept = asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert sums(path) == (0.25, 0.25, 0.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_fork_keeps_books_of_its_own(path: Path) -> None:
    code = f"""
import asyncio, os
from cascade.cost import Cost
from cascade_policies.budget import BudgetSettings, LedgerBudget
budget = LedgerBudget(BudgetSettings(day=1.0), path={str(path)!r})
async def spend():
    budget.settle(await budget.reserve("t", 0.2), Cost(0.1, 0.1))
asyncio.run(spend())
child = os.fork()
asyncio.run(spend())
budget.close()
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=30)
    assert sums(path) == (0.3, 0.3, 0.0)


def test_a_budget_nobody_holds_ends_its_thread(path: Path) -> None:
    before = keepers()
    budget = LedgerBudget(DAY, path=path)
    asyncio.run(budget.reserve("t", 0.5))
    (thread,) = keepers() - before
    del budget
    gc.collect()
    thread.join(5.0)
    assert not thread.is_alive()


class TestAdapting:
    def policy(self) -> Policy:
        tiers = [Tier(ScriptedModel(name="a")), Tier(ScriptedModel(name="b"))]
        return Policy("t", tiers, start_after=2.0)

    async def test_without_steps_and_for_critical_calls_there_is_no_thread(
        self, path: Path
    ) -> None:
        before = keepers()
        policy = self.policy()
        critical = Policy("t", policy.tiers, start_after=2.0, priority="critical")
        assert LedgerBudget(DAY, path=path).adapt(policy) is policy
        stepped = LedgerBudget(BudgetSettings(day=1.0, steps=STEPS), path=path)
        assert stepped.adapt(critical) is critical
        assert keepers() <= before

    async def test_what_others_have_spent_is_found_out(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told = threading.Event()
        tell = _Desk._tell

        def telling(desk: _Desk, found: Outcome) -> None:
            tell(desk, found)
            told.set()

        monkeypatch.setattr(_Desk, "_tell", telling)
        clock = Clock()
        other = LedgerBudget(BudgetSettings(day=1.0), path=path, clock=clock)
        other.settle(await other.reserve("t", 0.9), Cost(0.9, 0.9))
        await other.aclose()
        told.clear()
        settings = BudgetSettings(day=1.0, steps=STEPS)
        budget = LedgerBudget(settings, path=path, clock=clock)
        policy = self.policy()
        budget.adapt(policy)
        assert await anyio.to_thread.run_sync(told.wait, 5.0)
        varied = budget.adapt(policy)
        assert varied.start_after is None
        assert budget.adapt(policy) is varied
        await budget.aclose()
        with closing(connect(path)) as connection:
            counted = connection.execute("SELECT sum(calls), sum(degraded) FROM budget_spent")
            assert counted.fetchone() == (3, 2)

    def test_the_limit_of_a_call(self, path: Path) -> None:
        settings = BudgetSettings(per_call=0.5, tasks={"a": TaskBudget(per_call=0.1)})
        budget = LedgerBudget(settings, path=path)
        assert (budget.per_call("a"), budget.per_call("b")) == (0.1, 0.5)


class TestEngine:
    """Priced, scripted models behind a real engine."""

    def tier(self, name: str, *steps: Scripted | str) -> Tier:
        price = Price(input=0.0, output=1_000_000.0)  # a dollar a token
        return Tier(ScriptedModel(*steps, name=name), price=price, params={"max_tokens": 1})

    async def test_what_calls_cost_is_booked(self, path: Path) -> None:
        budget = LedgerBudget(BudgetSettings(day=3.0), path=path)
        answer = Scripted(text="yes", usage=Usage(0, 1))
        policy = Policy("t", [self.tier("a", answer)])
        async with Engine(budget=budget) as engine:
            for _ in range(3):
                assert (await engine.run(policy, "?")).text == "yes"
            with pytest.raises(BudgetExceededError, match="day's"):
                await engine.run(policy, "?")
        await budget.aclose()
        assert sums(path) == (3.0, 3.0, 0.0)

    async def test_a_refused_tier_leaves_the_call_to_what_can_be_paid(self, path: Path) -> None:
        budget = LedgerBudget(BudgetSettings(day=0.5), path=path)
        policy = Policy("t", [self.tier("dear", "dear"), Tier(lambda text: "free", name="code")])
        async with Engine(budget=budget) as engine:
            result = await engine.run(policy, "?")
        assert result.text == "free"
        assert isinstance(result.attempts[0].error, BudgetExceededError)
        await budget.aclose()
