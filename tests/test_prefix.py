"""A hopeless answer is rejected while it is still being generated."""

from __future__ import annotations

from typing import Any

import pytest

from cascade import Answer, CascadeExhausted, Engine, Policy, Price, Request, Result, Tier, Verdict
from cascade.asking import FIRST_LOOK, GROWTH
from cascade.testing import FaultyServer, Reply, Scripted, ScriptedModel

pytestmark = pytest.mark.anyio


class StartsWithBrace:
    """Accepts what begins with a brace."""

    def __init__(self) -> None:
        self.looks: list[int] = []

    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        if answer.text.startswith("{"):
            return Verdict.accept()
        return Verdict.reject("not an object", repairable=True)

    def prefix(self, text: str) -> Verdict | None:
        self.looks.append(len(text))
        return None if text.startswith("{") else Verdict.reject("not an object", repairable=True)


def streaming(text: str, name: str = "a") -> ScriptedModel:
    return ScriptedModel(Scripted(text=text, chunks=len(text), chunk_delay=1.0), name=name)


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_clock


async def run(*tiers: Tier, **settings: Any) -> Result:
    async with Engine() as engine:
        return await engine.run(Policy("p", tiers, **settings), "hello")


async def test_the_stream_is_closed_and_the_next_tier_starts_at_once() -> None:
    hopeless = streaming("Sure! " * 20)
    check = StartsWithBrace()
    result = await run(Tier(hopeless, verify=check), Tier(streaming("{}", "b"), verify=check))
    first = result.attempts[0]
    assert (first.outcome, first.reason, first.latency) == ("rejected", "not an object", 63.0)
    assert first.answer is not None
    assert first.answer.text == ("Sure! " * 20)[:FIRST_LOOK]
    assert result.attempts[1].started == 63.0
    assert (hopeless.calls[0].outcome, hopeless.calls[0].ended) == ("failed", 63.0)


async def test_looks_grow_by_a_quarter_so_that_their_cost_is_linear() -> None:
    check = StartsWithBrace()
    text = "{" + "x" * 9_999
    await run(Tier(streaming(text), verify=check, timeout=None))
    assert all(b >= a * GROWTH for a, b in zip(check.looks, check.looks[1:], strict=False))
    assert sum(check.looks) <= 5 * len(text)


async def test_a_refused_answer_may_be_repaired() -> None:
    model = ScriptedModel(Scripted(text="Sure! " * 20, chunks=60), "{}")
    result = await run(Tier(model, verify=StartsWithBrace(), repairs=1))
    assert [(a.kind, a.outcome) for a in result.attempts] == [
        ("first", "rejected"),
        ("repair", "accepted"),
    ]


async def test_a_partial_answer_is_never_the_best_one() -> None:
    model = ScriptedModel(Scripted(text="Sure! " * 20, chunks=60), name="a")
    with pytest.raises(CascadeExhausted):
        await run(Tier(model, verify=StartsWithBrace()), exhausted="best")


async def test_a_refused_answer_costs_an_interval() -> None:
    price = Price(input=1.0, output=1.0)
    model = ScriptedModel(Scripted(text="Sure! " * 20, chunks=60), name="a")
    result = await run(
        Tier(model, verify=StartsWithBrace(), price=price),
        Tier(streaming("{}", "b"), verify=StartsWithBrace(), price=price),
    )
    cost = result.attempts[0].cost
    assert cost.basis == "cancelled"
    assert cost.low is not None
    assert cost.high is not None
    assert 0 < cost.low < cost.high


async def test_one_refused_member_leaves_the_others_to_be_judged() -> None:
    members = [streaming("Sure! " * 20, "a"), streaming("{}", "b")]
    result = await run(Tier(members, verify=StartsWithBrace(), name="both"))
    assert [(a.model, a.outcome) for a in result.attempts] == [("a", "rejected"), ("b", "accepted")]


async def test_a_prefix_check_that_crashes_leaves_the_whole_to_be_judged() -> None:
    class Broken(StartsWithBrace):
        def prefix(self, text: str) -> Verdict | None:
            raise ZeroDivisionError

    assert (await run(Tier(streaming("{" + "x" * 50), verify=Broken()))).accepted


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_real_stream_is_closed(anyio_backend: str) -> None:
    tokens = ["Sure", "! "] * 5000
    with FaultyServer() as server:
        server.on("chatty", Reply(tokens=tokens, hang="end"))
        server.on("good", Reply("{}"))
        tiers = [
            Tier(f"openai:{name}", base_url=server.base_url, verify=StartsWithBrace())
            for name in ("chatty", "good")
        ]
        result = await run(*tiers)
        assert result.text == "{}"
        server.wait_for(lambda: server.requests[0].aborted is not None)
