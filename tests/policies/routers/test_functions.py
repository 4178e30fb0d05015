"""Functions as routers, a router over policies, and what the failure of a router leads to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cascade import Answer, Cost, Engine, Policy, Price, Request, Tier, Usage, call_model
from cascade.errors import ConfigError
from cascade.routing import Entry, FunctionRouter, Route, as_router, check_choices, decide
from cascade.testing import Scripted, ScriptedModel

CHOICES = ("small", "large")
REQUEST = Request.of("How far is the moon?")


async def asked(router: Any, request: Request = REQUEST) -> Route:
    async with Engine() as engine:
        return await decide(as_router(router), request, CHOICES, engine=engine, policy="p")


def of_request(request: Request) -> str:
    return "large" if len(request.messages) > 1 else "small"


def of_text(text: str) -> str:
    return "large" if "moon" in text else "small"


def of_prompt(prompt):  # type: ignore[no-untyped-def]  # known by its name alone
    return "large" if "moon" in prompt else "small"


def annotated(asked: str) -> str:
    return "large" if "moon" in asked else "small"


def of_choices(request: Request, choices: Sequence[str]) -> str:
    assert isinstance(request, Request)
    return choices[-1]


def text_and_choices(text: str, choices: Sequence[str] = ()) -> str:
    assert "moon" in text
    return choices[-1]


async def later(text: str) -> Route:
    return Route("large", "hard", text)


def undecided(request: Request) -> None:
    assert request is REQUEST


@pytest.mark.parametrize(
    ("function", "start"),
    [
        (of_request, "small"),
        (of_text, "large"),
        (of_prompt, "large"),
        (annotated, "large"),
        (of_choices, "large"),
        (text_and_choices, "large"),
        (later, "large"),
        (undecided, None),
    ],
)
@pytest.mark.anyio
async def test_a_function_is_given_what_it_takes(function: Any, start: str | None) -> None:
    assert (await asked(function)).start == start


@pytest.mark.anyio
async def test_a_route_comes_back_as_it_is() -> None:
    route = await asked(later)
    assert (route.label, route.reason) == ("hard", REQUEST.text)


def test_a_router_stays_what_it_is() -> None:
    router = FunctionRouter(of_text)
    assert as_router(router) is router


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("heuristic", "names are for policy files"),
        (FunctionRouter, "is a class: give an instance"),
        (3, "has a method route"),
        (lambda: "small", "takes"),
        (lambda a, b, c: "small", "takes"),
        (lambda request, *, limit: "small", "needs the argument 'limit'"),
    ],
)
def test_what_is_no_router(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        as_router(given)


def crash(request: Request) -> str:
    raise RuntimeError("no")


def number(request: Request) -> int:
    return 1


class Wrong:
    def route(self, request: Request, choices: Sequence[str], /) -> Any:
        return "small"


@pytest.mark.parametrize(
    ("router", "reason"),
    [
        (crash, "the router failed: RuntimeError: no"),
        (number, "the router failed: TypeError: number returned int"),
        (Wrong(), "the router failed: TypeError: wrong returned str, not a Route"),
        (lambda text: "larg", "did you mean 'large'?"),
    ],
)
@pytest.mark.anyio
async def test_a_failure_is_no_opinion_and_a_warning(
    router: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    route = await asked(router)
    assert route.start is None
    assert reason in route.reason
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("cascade.router_failed policy='p'")


@pytest.mark.anyio
async def test_a_crash_breaks_no_call() -> None:
    policy = Policy("p", [Tier(ScriptedModel("a"), name="small"), Tier(ScriptedModel("b"))],
                    router=crash)  # fmt: skip
    async with Engine() as engine:
        result = await engine.run(policy, "hello")
    assert (result.text, result.tier) == ("a", "small")
    assert result.route is not None
    assert result.route.reason == "the router failed: RuntimeError: no"


class TestOnVirtualClock:
    @pytest.fixture
    def anyio_backend(self, virtual_clock: tuple[str, dict[str, Any]]) -> Any:
        return virtual_clock

    @pytest.mark.anyio
    async def test_cost_and_latency_are_filled_in(self) -> None:
        step = Scripted(text="large", delay=2.0, usage=Usage(1_000_000, 500_000))
        model = ScriptedModel(step)

        async def by_model(request: Request) -> str:
            reply, cost = await call_model(model, request)
            assert cost.high is None  # a scripted model has no price
            return reply.text

        route = await asked(by_model)
        assert (route.start, route.latency) == ("large", 2.0)
        assert route.cost == Cost.unknown()

    @pytest.mark.anyio
    async def test_what_it_spent_counts_when_it_fails(self) -> None:
        model = ScriptedModel(Scripted(text="large", delay=1.0))

        async def crashing(request: Request) -> str:
            await call_model(model, request)
            raise RuntimeError("too late")

        route = await asked(crashing)
        assert (route.start, route.latency) == (None, 1.0)
        assert route.cost.high is None

    @pytest.mark.anyio
    async def test_a_wrong_guess_is_made_good(self) -> None:
        tiers = [
            Tier(ScriptedModel("small"), name="small", price=Price(input=1, output=1)),
            Tier(ScriptedModel(Scripted(text="no", delay=1)), name="mid", verify=_is_large),
            Tier(ScriptedModel(Scripted(text="large", delay=1)), name="large", verify=_is_large),
        ]
        policy = Policy("p", tiers, router=lambda text: "mid")
        async with Engine() as engine:
            result = await engine.run(policy, "hello")
            own = await engine.run(policy, "hello", start="large")
        assert (result.text, result.escalations, result.latency) == ("large", 1, 2.0)
        assert [attempt.tier for attempt in result.attempts] == ["mid", "large"]
        # Who says where to begin is not routed.
        assert (own.text, own.route, own.latency) == ("large", None, 1.0)


def _is_large(answer: Answer) -> bool:
    return answer.text == "large"


def _policy(name: str) -> Policy:
    return Policy(name, [Tier(ScriptedModel(f"from {name}"), name="only")])


@pytest.mark.anyio
async def test_an_entry_picks_a_policy() -> None:
    policies = {"billing": _policy("billing"), "technical": _policy("technical")}
    entry = Entry("support", lambda text: "technical" if "error" in text else None, policies)
    async with Engine() as engine:
        error = await engine.run(entry, "an error")
        other = await engine.run(entry, "hello")
    assert (error.text, error.policy) == ("from technical", "technical")
    assert (other.text, other.policy) == ("from billing", "billing")


def test_an_entry_is_frozen() -> None:
    policies = {"billing": _policy("billing")}
    entry = Entry("support", of_text, policies)
    policies["more"] = _policy("more")
    assert list(entry.policies) == ["billing"]
    with pytest.raises(TypeError):
        entry.policies["more"] = "x"  # type: ignore[index]
    assert Entry("support", of_text, {"a": Path("a.toml"), "b": "b"}).name == "support"


class Picky:
    def check(self, choices: Sequence[str]) -> None:
        raise ConfigError(f"not {choices[0]}")

    def route(self, request: Request, choices: Sequence[str], /) -> Route:
        return Route()


@pytest.mark.parametrize(
    ("name", "router", "policies", "message"),
    [
        ("", of_text, {"a": "b"}, "an entry needs a name"),
        ("e", of_text, {}, "policies: needs one or more"),
        ("e", of_text, ["a"], "policies: needs one or more"),
        ("e", of_text, {"": "a"}, "'' is no name"),
        ("e", of_text, {1: "a"}, "1 is no name"),
        ("e", of_text, {"a": 3}, "a: needs a Policy, or the path or name of one; got int"),
        ("e", of_text, {"a": ""}, "a: needs a Policy"),
        ("e", 3, {"a": "b"}, "has a method route"),
        ("e", Picky(), {"a": "b"}, "policy 'e': not a"),
    ],
)
def test_a_wrong_entry(name: str, router: Any, policies: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Entry(name, router, policies)


def test_a_router_is_checked_when_the_policy_is_made() -> None:
    tiers = [Tier(ScriptedModel("a"), name="small"), Tier(ScriptedModel("b"), name="large")]
    with pytest.raises(ConfigError, match="policy 'p': not small"):
        Policy("p", tiers, router=Picky())
    check_choices(of_text, CHOICES)  # a function has nothing to check
