"""What the engine tells, asks and allows beside the tiers: observers, routers, budgets, efforts."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Hashable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import anyio
import pytest

from cascade import (
    Answer,
    BudgetExceededError,
    CallRecord,
    CascadeExhausted,
    ConfigError,
    Cost,
    Engine,
    Entry,
    ModelSpec,
    Policy,
    Price,
    PromptError,
    Request,
    Route,
    Tier,
    Usage,
    call_model,
)
from cascade.testing import Scripted, ScriptedModel

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_clock


PRICE = Price(input=0.0, output=1_000.0)  # a token written is $0.001
PARAMS = {"max_tokens": 10}


def right(answer: Answer) -> bool:
    return answer.text == "right"


def step(text: str, seconds: float = 1.0, tokens: int = 4) -> Scripted:
    return Scripted(text=text, delay=seconds, usage=Usage(0, tokens))


def tier(name: str, *steps: Scripted, **settings: Any) -> Tier:
    usual: dict[str, Any] = {"verify": right, "price": PRICE, "params": PARAMS, "retries": 0}
    return Tier(ScriptedModel(*steps, name=name), name=name, **usual | settings)


def by_name(request: Request) -> str:
    return request.text


async def costs_nothing(request: str) -> str:
    return "right"


def ladder(**settings: Any) -> Policy:
    """Two tiers: a wrong answer after a second, and then a right one after two."""
    tiers = [tier("small", step("wrong")), tier("large", step("right", 2.0))]
    return Policy("ladder", tiers, **settings)


class Kept:
    def __init__(self) -> None:
        self.records: list[CallRecord] = []

    def call_finished(self, record: CallRecord, /) -> None:
        self.records.append(record)


class Purse:
    """A budget of one number, which keeps account; it may have a thriftier variant."""

    thrifty: Policy | None = None

    def __init__(self, left: float, limit: float | None = None) -> None:
        self.left, self.limit = left, limit
        self.held: dict[object, float] = {}
        self.booked: list[float | None] = []

    def adapt(self, policy: Policy, /) -> Policy:
        return policy if self.thrifty is None else self.thrifty

    def per_call(self, policy: str, /) -> float | None:
        return self.limit

    async def reserve(self, policy: str, amount: float, /) -> Hashable:
        await anyio.sleep(0.5)
        if amount > self.left:
            raise BudgetExceededError(f"{policy}: nothing left")
        self.left -= amount
        ticket = object()
        self.held[ticket] = amount
        return ticket

    def settle(self, reservation: Hashable, cost: Cost, /) -> None:
        assert cost.high is not None
        self.left += self.held.pop(reservation) - cost.high
        self.booked.append(cost.high)


# Observers


async def test_an_observer_is_told_of_every_call_however_it_ends() -> None:
    kept = Kept()
    nothing = Policy("nothing", [tier("small", step("wrong"))])
    broken = replace(nothing, name="late", deadline=0.5)
    async with Engine(observers=[kept]) as engine:
        result = await engine.run(ladder(), "hi")
        with pytest.raises(CascadeExhausted):
            await engine.run(nothing, "hi")
        with pytest.raises(TimeoutError):
            await engine.run(broken, "hi")
        with anyio.move_on_after(1.5):
            await engine.run(ladder(), "hi")
    answered, exhausted, late, cancelled = kept.records
    assert answered.result is result
    assert (answered.outcome, answered.latency, answered.escalations) == ("accepted", 3.0, 1)
    assert (answered.cost, answered.waste) == (Cost(0.008, 0.008), Cost(0.004, 0.004))
    assert (answered.policy, answered.first, answered.error) == ("ladder", "small", None)
    assert answered.request == Request.of("hi")
    assert [attempt.verifier for attempt in answered.attempts] == ["right", "right"]
    assert (exhausted.outcome, exhausted.result) == ("exhausted", None)
    assert exhausted.error is not None
    assert exhausted.error.startswith("CascadeExhausted: ")
    assert exhausted.waste == exhausted.cost == Cost(0.004, 0.004)
    assert (late.outcome, late.latency, len(late.attempts)) == ("deadline", 0.5, 1)
    assert (cancelled.outcome, cancelled.latency, len(cancelled.attempts)) == ("cancelled", 1.5, 2)
    assert len({record.id for record in kept.records}) == 4


async def test_engines_are_told_of_to_observers_that_want_to_know() -> None:
    class Ears(Kept):
        def __init__(self) -> None:
            super().__init__()
            self.engines: list[str] = []

        def engine_opened(self, engine: Engine, /) -> None:
            self.engines.append("opened")

        async def engine_closed(self, engine: Engine, /) -> None:
            self.engines.append("closed")

    class Source:
        """A project whose settings change."""

        def __init__(self) -> None:
            self.ears = first

        def settings(self) -> dict[str, Any]:
            return {"observers": [self.ears]}

        def find(self, reference: object, /) -> Policy:
            return ladder()

        def reload(self) -> None:
            self.ears = second

    first, second = Ears(), Ears()
    async with Engine(project=Source()) as engine, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run, "ladder", "hi")
        await anyio.sleep(1.5)
        engine.reload()
        assert (first.engines, second.engines) == (["opened"], ["opened"])
    assert (len(first.records), len(second.records)) == (1, 0)  # it began with the first
    assert (first.engines, second.engines) == (["opened", "closed"], ["opened", "closed"])


async def test_an_observer_that_raises_costs_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def call_finished(self, record: CallRecord, /) -> None:
            raise RuntimeError("disk full")

    kept = Kept()
    async with Engine(observers=[Broken(), kept]) as engine:
        assert (await engine.run(ladder(), "hi")).text == "right"
    assert len(kept.records) == 1
    assert "cascade.observer_failed" in caplog.text


# Routers


async def test_a_router_picks_the_tier_and_its_time_and_cost_count() -> None:
    model = ScriptedModel(step("large", 0.25), name="labels")

    class Labels:
        async def route(self, request: Request, choices: Sequence[str], /) -> Route:
            assert tuple(choices) == ("small", "large")
            answer, _ = await call_model(model, request)
            return Route(answer.text, label="hard", reason="looks hard")

    kept = Kept()
    policy = ladder(router=Labels(), deadline=2.5)
    async with Engine(observers=[kept]) as engine:
        result = await engine.run(policy, "hi")
        assert result.route is not None
        assert (result.route.start, result.route.label) == ("large", "hard")
        assert (result.route.latency, result.latency) == (0.25, 2.25)
        assert [attempt.tier for attempt in result.attempts] == ["large"]
        assert result.attempts[0].started == 0.25
        assert (kept.records[0].route, kept.records[0].first) == (result.route, "large")
        assert result.cost.low is None  # a model without a price was asked
        told = await engine.run(policy, "hi", start="large")
        assert told.route is None


async def test_a_router_that_hangs_does_not_outlive_the_deadline() -> None:
    async def hangs(request: Request) -> str:
        await anyio.sleep_forever()
        raise AssertionError

    kept = Kept()
    async with Engine(observers=[kept]) as engine:
        with pytest.raises(TimeoutError):
            await engine.run(ladder(router=hangs, deadline=2.5), "hi")
    assert kept.records[0].latency == 2.5
    assert kept.records[0].route is not None
    assert "deadline" in kept.records[0].route.reason


async def test_an_entrys_router_has_the_calls_deadline_and_its_limit() -> None:
    model = ScriptedModel(step("ladder", 2.0, tokens=10), name="labels")
    spec = ModelSpec(model, price=PRICE)

    async def asks(request: Request) -> str:
        answer, _ = await call_model(spec, request.with_params(**PARAMS))
        return answer.text

    kept = Kept()
    entry = Entry("desk", asks, {"ladder": ladder()})
    async with Engine(observers=[kept]) as engine:
        began = anyio.current_time()
        with pytest.raises(TimeoutError):
            await engine.run(entry, "hi", deadline=1.0)
        assert anyio.current_time() - began == 1.0
        result = await engine.run(entry, "hi", max_cost=0.03)
        assert result.cost.high == pytest.approx(0.018)  # a sum of floats
        with pytest.raises(BudgetExceededError):
            await engine.run(entry, "hi", max_cost=0.015)  # 0.010 are the router's


async def test_an_entrys_policies_may_need_different_variables() -> None:
    toned = Policy("toned", [tier("only", step("right"), prompt="{{tone}} {{prompt}}")])
    entry = Entry("desk", lambda request: request.text, {"ladder": ladder(), "toned": toned})
    async with Engine() as engine:
        for name in ("ladder", "toned"):
            assert (await engine.run(entry, name, variables={"tone": "kind"})).policy == name
        with pytest.raises(PromptError, match="'tone' is missing"):
            await engine.run(entry, "ladder")
        with pytest.raises(PromptError, match="'tune' is used by no policy: did you mean 'tone'"):
            await engine.run(entry, "ladder", variables={"tone": "kind", "tune": "x"})


def test_an_entry_can_be_copied_and_sent_to_another_process() -> None:
    entry = Entry("desk", by_name, {"one": "one", "two": "two"})
    for copied in (deepcopy(entry), pickle.loads(pickle.dumps(entry))):
        assert (copied.name, copied.policies) == ("desk", entry.policies)


async def test_the_router_is_a_row_of_the_table() -> None:
    async with Engine() as engine:
        result = await engine.run(
            ladder(router=lambda request: Route("large", reason="hard")), "hi"
        )
    assert "router  begin at large" in result.explain()


async def test_a_call_that_is_given_up_while_its_router_is_asked_is_told_of() -> None:
    model = ScriptedModel(step("large", 1.0, tokens=10), name="labels")

    async def asks(request: Request) -> str:
        answer, _ = await call_model(ModelSpec(model, price=PRICE), request.with_params(**PARAMS))
        await anyio.sleep_forever()
        return answer.text

    kept = Kept()
    async with Engine(observers=[kept]) as engine:
        with anyio.move_on_after(3.0):
            await engine.run(ladder(router=asks), "hi")
    (record,) = kept.records
    assert (record.outcome, record.attempts, record.latency) == ("cancelled", (), 3.0)
    assert record.cost == Cost(0.01, 0.01)


async def test_a_router_that_cancels_itself_has_no_opinion() -> None:
    def gives_up(request: Request) -> str:
        raise asyncio.CancelledError

    async with Engine() as engine:
        assert (await engine.run(ladder(router=gives_up), "hi")).escalations == 1


async def test_a_router_is_told_what_came_of_the_calls_it_began() -> None:
    class Learns(Kept):
        models = ("openai:gpt-none",)

        def route(self, request: Request, choices: Sequence[str], /) -> Route:
            return Route("large")

    router = Learns()
    async with Engine() as engine:
        with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
            engine.bind(ladder(router=router))
        router.models = ()  # type: ignore[assignment]  # what a router may call is its own affair
        await engine.run(ladder(router=router), "hi")
        await engine.run(ladder(router=router), "hi", start="small")
    assert [record.first for record in router.records] == ["large"]


async def test_the_deadline_counts_from_the_router_on() -> None:
    async def slow(request: Request) -> str:
        await anyio.sleep(1.0)
        return "large"

    async with Engine() as engine:
        began = anyio.current_time()
        with pytest.raises(TimeoutError):
            await engine.run(ladder(router=slow, deadline=2.5), "hi")
        assert anyio.current_time() - began == 2.5


@pytest.mark.parametrize("said", ["elsewhere", 7, ZeroDivisionError()])
async def test_a_router_that_fails_has_no_opinion(
    said: object, caplog: pytest.LogCaptureFixture
) -> None:
    def router(request: Request) -> Any:
        if isinstance(said, Exception):
            raise said
        return said

    async with Engine() as engine:
        result = await engine.run(ladder(router=router), "hi")
    assert [attempt.tier for attempt in result.attempts] == ["small", "large"]
    assert result.route is not None
    assert "the router failed" in result.route.reason
    assert "cascade.router_failed" in caplog.text


async def test_an_entry_picks_the_policy() -> None:
    other = Policy("other", [tier("only", step("right"))])
    entry = Entry("desk", lambda request: request.text, {"ladder": ladder(), "other": other})
    async with Engine() as engine:
        result = await engine.run(entry, "other")
        assert (result.policy, result.text) == ("other", "right")
        assert result.route is not None
        assert result.route.start == "other"
        assert (await engine.run(entry, "nothing known")).policy == "ladder"
        with pytest.raises(ConfigError, match="router over policies"):
            engine.bind(entry)


async def test_an_entry_and_its_policys_router_both_have_their_say() -> None:
    routed = ladder(router=lambda request: Route("large", label="hard"))
    entry = Entry("desk", lambda request: Route("ladder", label="bills"), {"ladder": routed})
    async with Engine() as engine:
        result = await engine.run(entry, "hi")
    assert result.route is not None
    assert (result.route.start, result.route.label) == ("large", "bills / hard")


# Budgets


async def test_each_attempt_is_reserved_at_its_most_and_settled_at_its_cost() -> None:
    purse = Purse(0.0181)
    async with Engine(budget=purse) as engine:
        result = await engine.run(ladder(), "hi")
    assert purse.booked == [0.004, 0.004]
    assert purse.held == {}
    assert purse.left == pytest.approx(0.0101)  # a sum of floats
    assert result.latency == 4.0  # two waits for the budget among it
    assert [attempt.waited for attempt in result.attempts] == [0.5, 0.5]


async def test_the_budget_stops_what_it_cannot_pay() -> None:
    purse = Purse(0.013)  # the first attempt may cost 0.010, and the second one then too
    async with Engine(budget=purse) as engine:
        with pytest.raises(BudgetExceededError, match="no money for more") as caught:
            await engine.run(ladder(), "hi")
    small, large = caught.value.attempts
    assert (small.outcome, large.outcome) == ("rejected", "failed")
    assert isinstance(large.error, BudgetExceededError)
    assert large.cost == Cost(0.0, 0.0)
    assert purse.held == {}


async def test_a_thriftier_variant_answers_where_the_caller_leaves_it_the_choice() -> None:
    policy, purse, kept = ladder(), Purse(1.0), Kept()
    purse.thrifty = replace(policy, tiers=policy.tiers[:1], exhausted="best")
    async with Engine(budget=purse, observers=[kept]) as engine:
        assert not (await engine.run(policy, "hi")).accepted
        assert not (await engine.run(policy, "hi", effort="fast")).accepted
        assert (await engine.run(policy, "hi", start="large")).tier == "large"
        assert (await engine.run(policy, "hi", start_after=0)).tier == "large"
        with pytest.raises(ConfigError, match="no tier 'larg'"):
            await engine.run(policy, "hi", start="larg")
    assert [record.variant for record in kept.records] == [
        "budget",
        "effort=fast, budget",
        "",
        "",
    ]


async def test_variables_of_the_tiers_that_a_variant_lacks_are_no_mistake() -> None:
    large = tier("large", step("right"), prompt="{{hint}} {{prompt}}")
    policy, purse = Policy("hinted", [tier("small", step("right")), large]), Purse(1.0)
    purse.thrifty = replace(policy, tiers=policy.tiers[:1])
    async with Engine(budget=purse) as engine:
        assert (await engine.run(policy, "hi", variables={"hint": "think"})).tier == "small"
        with pytest.raises(PromptError, match="hint"):
            await engine.run(policy, "hi")


async def test_a_request_that_cannot_be_written_costs_nothing() -> None:
    broken = Scripted(error=PromptError("half of a surrogate pair"))
    purse = Purse(1.0)
    async with Engine(budget=purse) as engine:
        with pytest.raises(CascadeExhausted):
            await engine.run(Policy("p", [tier("small", broken)]), "hi")
    assert purse.booked == [0.0]


async def test_what_a_race_loses_is_settled_too() -> None:
    purse = Purse(1.0)
    tiers = [tier("quick", step("right")), tier("slow", step("right", 9.0))]
    async with Engine(budget=purse) as engine:
        result = await engine.run(Policy("race", tiers, start_after=0), "hi")
    assert purse.held == {}
    assert sorted(filter(None, purse.booked)) == [0.004, result.attempts[1].cost.high]


async def test_cancelled_while_it_waits_for_money() -> None:
    purse = Purse(1.0)
    async with Engine(budget=purse) as engine:
        with anyio.move_on_after(0.25):
            await engine.run(ladder(), "hi")
    assert (purse.left, purse.held, purse.booked) == (1.0, {}, [])


async def test_a_call_inside_a_check_is_paid_by_the_call_around_it() -> None:
    inner = Policy("inner", [tier("judge", step("right", tokens=10))])

    async def verify(answer: Answer) -> bool:
        return (await engine.run(inner, "right?")).accepted

    policy = Policy("outer", [tier("small", step("right"), verify=verify)])
    async with Engine() as engine:
        result = await engine.run(policy, "hi", max_cost=0.014)
        assert result.cost == Cost(0.014, 0.014)
        with pytest.raises(BudgetExceededError):
            await engine.run(policy, "hi", max_cost=0.013)


async def test_a_judge_is_paid_from_the_same_purse() -> None:
    judge = Tier(ScriptedModel(step("yes", tokens=10), name="judge"), name="judge", price=PRICE)

    async def verify(request: Request, answer: Answer) -> bool:
        said, _ = await call_model(judge.models[0], request)
        return said.text == "yes"

    policy = Policy("judged", [tier("small", step("wrong"), verify=verify)], exhausted="best")
    async with Engine() as engine:
        result = await engine.run(policy, "hi", max_cost=0.02)
        assert not result.accepted  # the judge has no price, so it cannot be paid
        assert "no money for the check" in result.attempts[0].reason
        with pytest.raises(BudgetExceededError):
            await engine.run(policy, "hi", max_cost=0.02, exhausted="raise")


async def test_max_cost_bounds_the_call() -> None:
    async with Engine() as engine:
        result = await engine.run(ladder(), "hi", max_cost=0.014)
        assert result.text == "right"
        with pytest.raises(BudgetExceededError, match=r"left of the \$0\.013000"):
            await engine.run(ladder(), "hi", max_cost=0.013)
        free = Policy("free", [Tier(costs_nothing, verify=right)])
        assert (await engine.run(free, "hi", max_cost=1e-9)).accepted


async def test_the_lower_of_two_limits_bounds_the_call() -> None:
    async with Engine(budget=Purse(1.0, limit=0.013)) as engine:
        with pytest.raises(BudgetExceededError, match=r"left of the \$0\.013000"):
            await engine.run(ladder(), "hi", max_cost=0.5)
        with pytest.raises(BudgetExceededError, match=r"left of the \$0\.005000"):
            await engine.run(ladder(), "hi", max_cost=0.005)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), "much", True])
async def test_max_cost_is_dollars(value: Any) -> None:
    async with Engine() as engine:
        with pytest.raises(ConfigError, match="max_cost"):
            await engine.run(ladder(), "hi", max_cost=value)


# Efforts


@pytest.mark.parametrize(
    ("efforts", "says"),
    [
        ({"best": {"strat": "large"}}, r"efforts\.best\.strat: did you mean 'start'"),
        ({"best": {"start": "larg"}}, "did you mean 'large'"),
        ({"fast": {"max_cost": -1}}, "max_cost"),
        ({"fast": 3}, "needs a table"),
        ({"quick": {}}, "'fast', 'balanced' or 'best'"),
        (None, "efforts"),
    ],
)
def test_a_table_of_an_effort_is_checked_when_the_policy_is_made(efforts: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ladder(efforts=efforts)


async def test_an_effort_changes_the_call() -> None:
    kept = Kept()
    async with Engine(observers=[kept]) as engine:
        fast = await engine.run(ladder(), "hi", effort="fast")
        best = await engine.run(ladder(), "hi", effort="best")
        balanced = await engine.run(ladder(), "hi", effort="balanced")
    assert (fast.latency, len(fast.attempts)) == (2.0, 2)
    assert [attempt.tier for attempt in best.attempts] == ["large"]
    assert (balanced.latency, balanced.escalations) == (3.0, 1)
    said = [record.variant for record in kept.records]
    assert said == ["effort=fast", "effort=best", "effort=balanced"]


async def test_a_policy_says_what_an_effort_means_and_the_caller_has_the_last_word() -> None:
    policy = ladder(efforts={"fast": {"start": "large", "deadline": 1.0}})
    async with Engine() as engine:
        with pytest.raises(TimeoutError):
            await engine.run(policy, "hi", effort="fast")
        assert (await engine.run(policy, "hi", effort="fast", deadline=2.5)).tier == "large"
        assert (await engine.run(policy, "hi", effort="fast", start=0, deadline=9)).latency == 3.0
        with pytest.raises(ConfigError, match="did you mean 'fast'"):
            await engine.run(policy, "hi", effort="fats")  # type: ignore[arg-type]


# Prompts


async def test_examples_come_before_the_prompt() -> None:
    model = ScriptedModel("right")
    shown = [("2+2", "4"), ("3+3", "6")]
    policy = Policy("sums", [Tier(model, system="Add.", examples=shown)])
    async with Engine() as engine:
        await engine.run(policy, "4+4")
    sent = [(m.role, m.content) for m in model.calls[0].call.request.messages]
    assert sent == [
        ("system", "Add."),
        ("user", "2+2"),
        ("assistant", "4"),
        ("user", "3+3"),
        ("assistant", "6"),
        ("user", "4+4"),
    ]


@pytest.mark.parametrize("given", ["ab", [("a",)], [("a", 1)], {"a": "b"}])
def test_examples_are_pairs_of_texts(given: Any) -> None:
    with pytest.raises(ConfigError, match="examples"):
        Tier("openai:a", examples=given)


async def test_declared_variables_are_used_and_used_ones_declared() -> None:
    template = Tier(ScriptedModel("right"), name="sql", prompt="{{schema}}: {{prompt}}")
    async with Engine() as engine:
        fits = Policy("fits", [template], variables=["schema"])
        assert (await engine.run(fits, "hi", variables={"schema": "s"})).text == "right"
        with pytest.raises(ConfigError, match="'dialect' is used by no template"):
            engine.bind(Policy("dead", [template], variables=["schema", "dialect"]))
        with pytest.raises(ConfigError, match=r"\{\{schema\}\}, which is not declared"):
            engine.bind(Policy("undeclared", [template], variables=[]))
        with pytest.raises(PromptError, match="schema"):
            await engine.run(fits, "hi")
