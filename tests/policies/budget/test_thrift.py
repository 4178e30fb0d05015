"""Which variant of a policy a call gets as money runs short."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import ModelSpec, Policy, Request, Tier
from cascade.policy import Priority
from cascade.routing import Route, Router, as_router
from cascade.testing.scripted import ScriptedModel
from cascade_policies.budget import BudgetSettings, Step, TaskBudget
from cascade_policies.budget.accounts import on_pace
from cascade_policies.budget.entries import ALL
from cascade_policies.budget.settings import Change
from cascade_policies.budget.thrift import Thrift, level, shares
from cascade_policies.budget.variants import make_variant

STEPS = [
    Step(above=0.5),
    Step(above=0.2, hedges=False, start="lower"),
    Step(above=0.0, only="cheapest"),
]
LEFT = st.floats(0.0, 1.0)


def code(text: str) -> str | None:
    """A function tier."""
    return text or None


def hedged(priority: Priority = "normal", name: str = "p") -> Policy:
    """Three tiers, each started while the one before is undecided."""
    tiers = [Tier(ScriptedModel(name=n), replica_after=1.0) for n in ("small", "mid", "large")]
    return Policy(name, tiers, start_after=2.0, grace=1.0, priority=priority)


class TestLevel:
    def test_at_the_steps_and_between(self) -> None:
        assert [level(left, STEPS) for left in (1.0, 0.75, 0.5)] == [0.0, 0.5, 1.0]
        assert level(0.35, STEPS) == pytest.approx(1.5)
        assert [level(left, STEPS) for left in (0.2, 0.1, 0.0)] == [2.0, 2.5, 3.0]

    def test_below_the_last_step_it_holds_in_full(self) -> None:
        assert level(0.1, [Step(above=0.4, hedges=False)]) == 1.0

    @given(LEFT, LEFT)
    def test_less_money_is_never_more_generous(self, one: float, other: float) -> None:
        less, more = sorted((one, other))
        assert level(less, STEPS) >= level(more, STEPS)

    @given(LEFT, st.floats(0.0, 1e-3))
    def test_there_is_no_cliff(self, left: float, little: float) -> None:
        # The steepest way is from 0.5 to 0.2 or less: a step for 0.2 of the money.
        assert level(max(0.0, left - little), STEPS) - level(left, STEPS) <= little / 0.2 + 1e-9


class TestPace:
    def test_money_that_lasts_is_not_saved(self) -> None:
        assert on_pace(0.5, 0.5) == 1.0
        assert on_pace(0.04, 0.03) == 1.0
        assert on_pace(0.0, 0.0) == 1.0

    def test_ahead_of_the_pace(self) -> None:
        assert on_pace(0.25, 0.5) == 0.5
        assert on_pace(0.0, 0.5) == 0.0

    @given(LEFT, LEFT)
    def test_pacing_is_never_harder_than_what_is_left(self, money: float, time: float) -> None:
        assert money <= on_pace(money, time) <= 1.0


class TestShares:
    def test_background_calls_are_all_degraded_before_the_first_other_one(self) -> None:
        assert shares(1.25, "background") == (1, 0.5)
        assert shares(1.5, "background") == (1, 1.0)
        assert shares(1.5, "normal") == (1, 0.0)
        assert shares(1.75, "normal") == (1, 0.5)

    @given(st.floats(0.0, 3.0))
    def test_critical_calls_never_are(self, at: float) -> None:
        assert shares(at, "critical") == (0, 0.0)

    @given(st.floats(0.0, 3.0), st.floats(0.0, 1e-3), st.sampled_from(["background", "normal"]))
    def test_shares_rise_smoothly(self, at: float, little: float, priority: Priority) -> None:
        before, after = (sum(shares(each, priority)) for each in (at, at + little))
        assert -1e-9 <= after - before <= 2 * little + 1e-9


class TestChoosing:
    def degraded(self, left: float, policy: Policy, calls: int = 100) -> list[Policy]:
        thrift = Thrift(BudgetSettings(day=1.0, steps=STEPS))
        thrift.tell({ALL: left})
        return [thrift.choose(policy) for _ in range(calls)]

    def test_with_plenty_left_the_policy_is_as_it_is(self) -> None:
        policy = hedged()
        assert set(self.degraded(1.0, policy)) == {policy}
        assert set(self.degraded(0.5, policy)) == {policy}

    def test_the_share_is_exact_and_spread_evenly(self) -> None:
        policy = hedged()
        thrift = Thrift(BudgetSettings(day=1.0, steps=[Step(above=0.5, hedges=False)]))
        thrift.tell({ALL: 0.6875})  # level 0.625: a quarter of the normal calls
        chosen = [thrift.choose(policy) for _ in range(100)]
        changed = [index for index, each in enumerate(chosen) if each is not policy]
        assert changed == list(range(3, 100, 4))

    def test_the_example_of_the_page(self) -> None:
        policy = hedged()
        chosen = self.degraded(0.275, policy, calls=20)  # half of the normal calls
        assert [each is policy for each in chosen] == [True, False] * 10
        thrift = Thrift(BudgetSettings(day=1.0, steps=[Step(above=0.0, hedges=False)]))
        thrift.tell({ALL: 0.35})  # a share of 0.3
        changed = [number for number in range(1, 11) if thrift.choose(policy) is not policy]
        assert changed == [4, 7, 10]

    def test_a_variant_is_one_object(self) -> None:
        policy = hedged()
        assert len(set(self.degraded(0.2, policy))) == 1
        assert len(set(self.degraded(0.05, policy))) == 2
        (cheapest,) = set(self.degraded(0.0, policy))
        assert [tier.name for tier in cheapest.tiers] == ["small"]
        assert cheapest.name == policy.name

    def test_background_first_and_critical_never(self) -> None:
        assert len(set(self.degraded(0.35, hedged("background")))) == 1
        for priority in ("normal", "critical"):
            policy = hedged(priority)
            assert set(self.degraded(0.35, policy)) == {policy}
        critical = hedged("critical")
        assert set(self.degraded(0.0, critical)) == {critical}

    def test_the_scarcer_of_a_tasks_limits_and_those_of_all_counts(self) -> None:
        thrift = Thrift(BudgetSettings(day=1.0, steps=STEPS, tasks={"a": TaskBudget(day=0.5)}))
        thrift.tell({ALL: 1.0, "a": 0.0})
        mine, other = hedged(name="a"), hedged(name="b")
        assert len(thrift.choose(mine).tiers) == 1
        assert thrift.choose(other) is other
        thrift.tell({ALL: 0.0, "a": 1.0})
        assert len(thrift.choose(mine).tiers) == len(thrift.choose(other).tiers) == 1

    @pytest.mark.parametrize(("allow", "tiers", "overlaps"), [
        ([], 3, True), (["hedges"], 3, True), (["only"], 1, False),
    ])  # fmt: skip
    def test_a_task_gets_only_the_changes_it_allows(
        self, allow: list[Change], tiers: int, overlaps: bool
    ) -> None:
        own = TaskBudget(day=1.0, allow=allow)
        thrift = Thrift(BudgetSettings(day=1.0, steps=STEPS, tasks={"p": own}))
        thrift.tell({ALL: 0.0})
        chosen = thrift.choose(hedged())
        assert len(chosen.tiers) == tiers
        assert (chosen.start_after is not None) == overlaps

    def test_calls_are_counted(self) -> None:
        thrift = Thrift(BudgetSettings(day=1.0, steps=STEPS))
        thrift.tell({ALL: 0.0})
        policy, critical = hedged(), hedged("critical", name="c")
        for each in (policy, policy, critical):
            thrift.choose(each)
        assert sorted(thrift.called()) == [("c", 1, 0), ("p", 2, 2)]
        thrift.choose(policy)
        assert thrift.called() == [("p", 1, 1)]
        assert thrift.called() == []


class TestVariants:
    def test_without_hedges_a_policy_is_a_cascade(self) -> None:
        policy = hedged()
        varied = make_variant(policy, Step(above=0.0, hedges=False))
        assert set(varied.delays) == {None}
        assert [tier.replica_after for tier in varied.tiers] == [None] * 3
        assert [tier.name for tier in varied.tiers] == [tier.name for tier in policy.tiers]

    def test_a_race_is_no_race_any_more(self) -> None:
        race = Policy("p", [Tier(ScriptedModel(name="a")), Tier(ScriptedModel(name="b"))],
                      start_after=0)  # fmt: skip
        assert race.preference == "fastest"
        assert make_variant(race, Step(above=0.0, hedges=False)).preference == "cheapest"

    def test_nor_does_an_effort_race(self) -> None:
        policy = Policy("p", [Tier("openai:a"), Tier("openai:b")],
                        efforts={"balanced": {"start_after": 1.0, "deadline": 9.0}})  # fmt: skip
        varied = make_variant(policy, Step(above=0.0, hedges=False))
        assert varied.efforts == {"fast": {}, "balanced": {"deadline": 9.0}}

    @pytest.mark.parametrize("specs", [False, True])
    def test_the_cheapest_is_the_first_model_and_the_functions_before_it(self, specs: bool) -> None:
        models = (code, "openai:a", "openai:b")
        tiers = [Tier(ModelSpec(model) if specs else model) for model in models]
        policy = Policy("p", tiers, start_after=[None, 0.0, 3.0], router=lambda text: "openai:b",
                        efforts={"best": {"start": "openai:b", "max_cost": 1.0}})  # fmt: skip
        varied = make_variant(policy, Step(above=0.0, only="cheapest"))
        assert [tier.name for tier in varied.tiers] == ["code", "openai:a"]
        assert varied.delays == (None, 0.0)
        assert varied.router is None
        assert varied.efforts == {"fast": {}, "best": {"max_cost": 1.0}}

    def test_variables_of_the_dear_tiers_alone_are_no_mistake(self) -> None:
        tiers = [
            Tier("openai:a", prompt="{{prompt}}"),
            Tier("openai:b", prompt="{{prompt}} {{context}}"),
        ]
        policy = Policy("p", tiers, variables=["context"])
        varied = make_variant(policy, Step(above=0.0, only="cheapest"))
        assert len(varied.tiers) == 1
        assert varied.variables is None

    @pytest.mark.parametrize("step", [
        Step(above=0.0, hedges=False), Step(above=0.0, only="cheapest"),
        Step(above=0.0, start="lower"), Step(above=0.0),
    ])  # fmt: skip
    def test_what_changes_nothing_gives_the_policy_itself(self, step: Step) -> None:
        policy = Policy("p", [Tier("openai:a")])
        assert make_variant(policy, step) is policy

    @pytest.mark.parametrize("waits", [False, True])
    def test_a_router_is_taken_one_lower(self, waits: bool) -> None:
        async def later(text: str) -> str:
            return text

        def at_once(text: str) -> str:
            return text

        policy = Policy("p", [Tier("openai:a"), Tier("openai:b"), Tier("openai:c")],
                        router=later if waits else at_once)  # fmt: skip
        varied = make_variant(policy, Step(above=0.0, start="lower"))
        router = varied.router
        assert isinstance(router, Router)
        assert router.name == ("later" if waits else "at_once")  # type: ignore[attr-defined]  # passed on

        async def started(text: str) -> Route:
            route = router.route(Request.of(text), ["openai:a", "openai:b", "openai:c"])
            return route if isinstance(route, Route) else await route

        assert anyio.run(started, "openai:c").start == "openai:b"
        assert "money is short" in anyio.run(started, "openai:c").reason
        assert anyio.run(started, "openai:a").start == "openai:a"
        assert anyio.run(started, "nonsense").start == "nonsense"  # for the engine to refuse

    def test_an_effort_begins_one_lower(self) -> None:
        policy = Policy("p", [Tier("openai:a"), Tier("openai:b"), Tier("openai:c")],
                        efforts={"balanced": {"start": "openai:b"}})  # fmt: skip
        varied = make_variant(policy, Step(above=0.0, start="lower"))
        assert varied.efforts == {"balanced": {"start": 0}, "best": {"start": 1}}

    def test_a_router_that_does_not_pick_tiers_of_the_policy_is_checked_as_before(self) -> None:
        router = as_router(lambda text: None)
        policy = Policy("p", [Tier("openai:a"), Tier("openai:b")], router=router)
        assert make_variant(policy, Step(above=0.0, start="lower")).router is not router
