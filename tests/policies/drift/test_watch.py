"""`DriftWatch`: what is told of which calls, and when."""

from __future__ import annotations

import json
import logging
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import ConfigError, Engine, Policy, Tier
from cascade.testing import Scripted, ScriptedModel
from cascade_policies.drift import Baseline, DriftWatch
from cascade_policies.drift.monitor import COST, RATE
from tests.policies.drift.conftest import MakeCall


class Calls:
    """Calls to a watch, a share of them escalated; and what was told of them."""

    def __init__(self, make: MakeCall, caplog: pytest.LogCaptureFixture) -> None:
        self._make = make
        self._caplog = caplog
        self._random = Random(3)

    def __call__(
        self, watch: DriftWatch, count: int, rate: float, cost: float | None = 0.001, **changes: Any
    ) -> None:
        for _ in range(count):
            escalated = self._random.random() < rate
            spread = None if cost is None else cost * self._random.uniform(0.5, 1.5)
            watch.call_finished(self._make(escalated, spread, **changes))

    @property
    def told(self) -> list[dict[str, Any]]:
        return [
            record.__dict__["cascade"]
            for record in self._caplog.records
            if record.message.startswith("cascade.drift_detected")
        ]


@pytest.fixture
def calls(make_call: MakeCall, caplog: pytest.LogCaptureFixture) -> Calls:
    caplog.set_level(logging.WARNING, "cascade")
    return Calls(make_call, caplog)


def test_nothing_is_told_while_nothing_changes(calls: Calls) -> None:
    calls(DriftWatch(), 10_000, 0.25)
    assert calls.told == []


def test_a_higher_escalation_rate_is_told_once(calls: Calls) -> None:
    watch = DriftWatch()
    calls(watch, 4000, 0.25)
    calls(watch, 1000, 0.45)
    [event] = calls.told
    assert event["policy"] == "tickets"
    assert event["what"] == "escalation rate"
    assert event["before"] == pytest.approx(0.25, abs=0.02)
    assert event["now"] == pytest.approx(0.45, abs=0.1)
    assert event["evidence"] >= 10_000
    assert 30 < event["calls"] < 300


def test_what_follows_a_change_is_the_next_baseline(calls: Calls) -> None:
    watch = DriftWatch()
    for rate in (0.25, 0.6, 0.25):
        calls(watch, 4000, rate)
    _, second = calls.told
    assert second["before"] == pytest.approx(0.6, abs=0.05)
    assert second["now"] == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize("factor", [1.5, 0.5])
def test_a_cost_is_told(calls: Calls, factor: float) -> None:
    watch = DriftWatch()
    calls(watch, 4000, 0.25, 0.001)
    calls(watch, 1000, 0.25, 0.001 * factor)
    [event] = calls.told
    assert event["what"] == "cost per call"
    assert event["before"] == pytest.approx(0.001, rel=0.05)
    assert event["now"] == pytest.approx(0.001 * factor, rel=0.3)


def test_an_early_change_is_found_while_it_learns(calls: Calls) -> None:
    watch = DriftWatch()
    calls(watch, 300, 0.1)
    calls(watch, 300, 0.6)
    assert [event["what"] for event in calls.told] == ["escalation rate"]


def test_a_task_that_was_free_and_is_no_more(calls: Calls) -> None:
    watch = DriftWatch()
    calls(watch, 4000, 0.0, 0.0)
    calls(watch, 100, 0.0, 1e-7)
    assert [event["what"] for event in calls.told] == ["cost per call"]


def test_an_unknown_cost_is_not_a_cost_of_zero(calls: Calls) -> None:
    watch = DriftWatch()
    calls(watch, 4000, 0.25)
    calls(watch, 2000, 0.25, None)
    assert calls.told == []
    assert DriftWatch().to_dict()["watches"] == []
    unpriced = DriftWatch()
    calls(unpriced, 10, 0.25, None)
    assert [its["what"] for its in unpriced.to_dict()["watches"]] == [RATE]


@pytest.mark.parametrize("outcome", ["cancelled", "error"])
def test_calls_that_say_nothing_of_models_do_not_count(calls: Calls, outcome: str) -> None:
    watch = DriftWatch()
    calls(watch, 500, 0.25, outcome=outcome)
    assert watch.to_dict()["watches"] == []


def test_each_policy_for_itself(calls: Calls) -> None:
    watch = DriftWatch()
    for policy in ("a", "b"):
        calls(watch, 4000, 0.25, policy=policy)
    calls(watch, 500, 0.6, policy="b")
    assert [event["policy"] for event in calls.told] == ["b"]


def test_given_baselines_need_no_learning(calls: Calls) -> None:
    costs = Baseline(0.001, 0.0009, 0.0011, cap=0.01)
    watch = DriftWatch(baselines={"tickets": {RATE: 0.25, COST: costs}})
    calls(watch, 400, 0.6, 0.005)
    assert {event["what"]: event["before"] for event in calls.told} == {RATE: 0.25, COST: 0.001}


def test_the_engine_tells_it_of_real_calls(calls: Calls) -> None:
    import anyio

    model = ScriptedModel(*[Scripted(text="no")] * 100, name="small")
    tiers = [
        Tier(model, name="small", verify=lambda answer: False),
        Tier(lambda prompt: "yes", name="large"),
    ]
    policy = Policy("p", tiers)
    watch = DriftWatch(baselines={"p": {RATE: 0.1}})

    async def run() -> None:
        async with Engine(observers=[watch]) as engine:
            for _ in range(20):
                await engine.run(policy, "which?")

    anyio.run(run)
    [event] = calls.told
    assert (event["policy"], event["now"]) == ("p", 1.0)


@given(split=st.integers(0, 700), rate=st.floats(0.01, 0.99))
def test_saved_as_json_and_restored_it_goes_on_as_before(
    make_call: MakeCall, split: int, rate: float
) -> None:
    random = Random(split)
    records = [make_call(random.random() < rate, random.random()) for _ in range(700)]
    whole, first = DriftWatch(), DriftWatch()
    for record in records:
        whole.call_finished(record)
    for record in records[:split]:
        first.call_finished(record)
    second = DriftWatch.from_dict(json.loads(json.dumps(first.to_dict())))
    for record in records[split:]:
        second.call_finished(record)
    assert second.to_dict() == whole.to_dict()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(state=JSON, name=st.sampled_from(["first", "baseline", "sums", "detector", "other"]))
def test_any_other_state_is_refused(make_call: MakeCall, state: Any, name: str) -> None:
    watch = DriftWatch()
    for _ in range(150):
        watch.call_finished(make_call())
    data = watch.to_dict()
    data["watches"][0]["state"][name] = state
    try:
        made = DriftWatch.from_dict(data)
    except ConfigError:
        return
    made.call_finished(make_call())  # what was taken can be used


@pytest.mark.parametrize("data", [{}, {"version": 2, "watches": []}, {"version": 1, "watches": 3}])
def test_another_version_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="drift state"):
        DriftWatch.from_dict(data)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"threshold": 1.0}, "threshold=1.0"),
        ({"threshold": float("nan")}, "threshold=nan"),
        ({"learn": 50}, "learn=50: needs 100 calls"),
        ({"baselines": {"p": {"escalation": 0.2}}}, "p: escalation: .*escalation rate"),
        ({"baselines": {"p": {RATE: 1.2}}}, "p: escalation rate: needs a share below 1"),
        ({"baselines": {"p": {COST: -1.0}}}, "p: cost per call: needs dollars"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DriftWatch(**settings)
