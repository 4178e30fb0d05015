"""`Canary`: it serves a share, and is rolled back when it is worse."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from cascade import CascadeExhausted, ConfigError, Engine, Policy, Request, Tier
from cascade_policies.shadow import Canary, kept, keyed
from cascade_policies.shadow.keeping import exchange
from tests.policies.shadow.conftest import Records, Told, good, model, one_tier, says


def canary(**settings: Any) -> Canary:
    return Canary(one_tier("old", "good"), one_tier("new", "good"), **settings)


def feed(guard: Canary, calls: int, rate: float, seed: int = 1) -> int:
    """Calls in turn to both, of which the control's are all worth 1; how many were counted."""
    random = Random(seed)
    for number in range(calls):
        if guard.rolled_back is not None:
            return number
        guard.judged("control", 1.0)
        guard.judged("candidate", float(random.random() < rate))
    return calls


@pytest.mark.anyio
async def test_a_share_of_the_keys_and_always_the_same(records: Records) -> None:
    guard = canary(share=0.25)
    async with Engine(observers=[records]) as engine:
        for _ in range(2):
            for number in range(400):
                with keyed(f"customer {number}"):
                    await engine.run(guard.entry, "hello")
    names = [record.policy for record in records.all]
    assert names[:400] == names[400:]
    assert 70 < Counter(names[:400])["new"] < 130
    assert guard.trial.calls == {
        "control": names.count("old"),
        "candidate": names.count("new"),
    }
    assert guard.rolled_back is None


@pytest.mark.anyio
async def test_a_worse_candidate_is_rolled_back_by_its_calls(records: Records, told: Told) -> None:
    worse = Policy("new", [Tier(model("bad"), name="t", verify=good)])
    guard = Canary(one_tier("old", "good"), worse, share=0.3, name="tickets-v2")
    async with Engine(observers=[records]) as engine:
        for number in range(400):
            with keyed(str(number)):
                try:
                    await engine.run(guard.entry, "hello")
                except CascadeExhausted:
                    assert records.all[-1].policy == "new"
    [event] = told("cascade.canary_rolled_back")
    assert (event["canary"], event["control"], event["candidate"]) == ("tickets-v2", "old", "new")
    assert (event["control_rate"], event["candidate_rate"]) == (1.0, 0.0)
    assert event["evidence"] >= 100
    served = [record.policy for record in records.all]
    assert served.count("new") == event["candidate_calls"] < 20
    last = len(served) - 1 - served[::-1].index("new")
    assert set(served[last + 1 :]) == {"old"}
    assert records.all[-1].route is not None
    assert records.all[-1].route.reason == "tickets-v2: rolled back"


@pytest.mark.anyio
async def test_the_routers_of_its_policies_do_not_hide_the_arm() -> None:
    tiers = [Tier(model("good"), name=name) for name in "ab"]
    policies = [Policy(name, tiers, router=lambda text: "b") for name in ("old", "new")]
    guard = Canary(policies[0], policies[1], share=0.5)
    async with Engine() as engine:
        for number in range(20):
            await engine.run(guard.entry, f"hello {number}")
    assert sum(guard.trial.calls.values()) == 20
    assert all(guard.trial.calls.values())


@pytest.mark.anyio
async def test_what_its_caller_cancelled_is_nobodys_fault() -> None:
    slow = [one_tier(name, says("good", 5.0)) for name in ("old", "new")]
    guard = Canary(slow[0], slow[1], share=0.5)
    async with Engine() as engine:
        with anyio.move_on_after(1):
            await engine.run(guard.entry, "hello")
    assert guard.trial.calls == {"control": 0, "candidate": 0}


@pytest.mark.anyio
async def test_a_quality_that_is_known_later() -> None:
    guard = canary(share=0.5, quality=lambda record: None)
    async with Engine() as engine:
        await engine.run(guard.entry, "hello")
    assert guard.trial.calls == {"control": 0, "candidate": 0}
    assert 10 < feed(guard, 1000, 0.5) < 200
    with pytest.raises(ConfigError, match=r"in \[0, 1\]; got 1\.5"):
        guard.judged("control", 1.5)


def test_a_loss_within_the_margin_is_kept() -> None:
    assert feed(canary(margin=0.2), 3000, 0.85) == 3000
    assert feed(canary(margin=0.01), 3000, 0.85) < 600


def test_a_rollback_is_told_once_and_stays_after_a_restart(told: Told) -> None:
    guard = canary(name="c")
    feed(guard, 1000, 0.5)
    guard.judged("candidate", 0.0)
    assert len(told("cascade.canary_rolled_back")) == 1
    after = canary(name="c", state=json.loads(json.dumps(guard.to_dict())))
    assert after.rolled_back == guard.rolled_back is not None
    routes = {after.route(Request.of(str(n)), ("control", "candidate")).start for n in range(50)}
    assert routes == {"control"}
    assert len(told("cascade.canary_rolled_back")) == 1


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"kind": "audit", "version": 1},
        {"kind": "canary", "version": 2},
        {"kind": "canary", "version": 1, "margin": 0.5},
        {"kind": "canary", "version": 1, "margin": 0.01, "rolled_back": "yes"},
        {"kind": "canary", "version": 1, "margin": 0.01, "trial": 3},
    ],
)
def test_the_state_of_something_else_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        canary(state=state)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"share": 1.0}, "share=1.0"),
        ({"alpha": 0.0}, "alpha=0.0"),
        ({"margin": -0.1}, "margin=-0.1"),
        ({"name": ""}, "needs a name"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        canary(**settings)


def test_two_policies_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="both named 'old'"):
        Canary(one_tier("old", "good"), one_tier("old", "good"))
    tiers = [Tier(model("good"), name=name) for name in "ab"]
    with pytest.raises(ConfigError, match=r"use its \.entry"):
        Policy("p", tiers, router=canary())


# In a ledger


def test_processes_learn_together_and_one_of_them_tells(path: Path, told: Told) -> None:
    here, there = (canary(name="c") for _ in range(2))
    for guard in (here, there):
        guard.keep()
        exchange(guard, path)
    feed(here, 5, 0.0)
    exchange(here, path)
    assert here.trial.calls == {"control": 5, "candidate": 5}
    assert here.rolled_back is None
    exchange(there, path)
    assert there.trial.calls == here.trial.calls
    feed(there, 30, 0.0)
    assert there.rolled_back is None  # what it saw waits for the exchange
    exchange(there, path)
    assert there.rolled_back is not None
    exchange(here, path)
    assert here.rolled_back == there.rolled_back
    assert len(told("cascade.canary_rolled_back")) == 1
    alone = canary(name="c")
    feed(alone, 35, 0.0)
    assert alone.trial.to_dict() == here.trial.to_dict()


def test_what_could_not_be_written_counts_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = canary(name="c")
    guard.keep()
    feed(guard, 5, 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(guard, "to_dict", lambda: {"not": object()})
        with pytest.raises(TypeError):
            exchange(guard, path)
    feed(guard, 2, 1.0)
    exchange(guard, path)
    exchange(guard, path)
    assert guard.trial.calls == {"control": 7, "candidate": 7}
    guard.let_go()
    assert guard.trial.calls == {"control": 7, "candidate": 7}


def test_kept_in_a_block(path: Path) -> None:
    async def run(rate: float) -> Canary:
        guard = canary(name="c")
        async with kept(guard, path, every=1000.0):
            feed(guard, 30, rate)
        return guard

    assert anyio.run(run, 1.0).trial.calls == {"control": 30, "candidate": 30}
    assert anyio.run(run, 1.0).trial.calls == {"control": 60, "candidate": 60}
    assert anyio.run(run, 0.0).rolled_back is not None
    assert anyio.run(run, 1.0).rolled_back is not None


def test_a_block_that_fails_keeps_what_was_seen(path: Path) -> None:
    guard = canary(name="c")

    async def run() -> None:
        async with kept(guard, path):
            feed(guard, 3, 1.0)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        anyio.run(run)
    again = canary(name="c")
    again.keep()
    exchange(again, path)
    assert again.trial.calls == {"control": 3, "candidate": 3}


def test_a_ledger_of_another_canary_is_refused(path: Path) -> None:
    async def run(guard: Canary) -> None:
        async with kept(guard, path):
            pass

    anyio.run(run, canary(name="c", margin=0.2))
    with pytest.raises(ConfigError, match=r"margin=0\.2, not 0\.01"):
        anyio.run(run, canary(name="c"))


def test_a_ledger_that_fails_meanwhile_is_told_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "cascade")
    guard = canary(name="c")

    async def run() -> None:
        async with kept(guard, path, every=0.001):
            monkeypatch.setattr("cascade_policies.shadow.keeping.connect", fails)
            feed(guard, 3, 1.0)
            while len(tries) < 3:
                await anyio.lowlevel.checkpoint()

    tries: list[Path] = []

    def fails(path: Path) -> Any:
        tries.append(path)
        raise ConfigError("no disk")

    anyio.run(run)
    failed = [r for r in caplog.records if r.message.startswith("cascade.guard_failed")]
    assert len(failed) == 1
    assert guard.trial.calls == {"control": 3, "candidate": 3}
