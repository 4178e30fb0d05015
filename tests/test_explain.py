"""What people read: the table of attempts and the one-line result."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from cascade import APIConnectionError, Engine, Policy, Result, Tier, Verdict
from cascade.testing import Scripted, ScriptedModel

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_clock


def says(text: str, name: str, delay: float = 0.0) -> ScriptedModel:
    return ScriptedModel(Scripted(text=text, delay=delay), name=name)


async def run(*tiers: Tier, **settings: Any) -> Result:
    async with Engine() as engine:
        return await engine.run(Policy("p", tiers, **settings), "hello")


async def test_a_row_an_attempt_and_a_foot() -> None:
    small = Tier(says("bad", "small", 1.0), verify=lambda a: a.text == "good")
    large = Tier(says("good", "large", 2.0), verify=lambda _: 0.75)
    result = await run(small, large)
    assert result.explain() == (
        "#  tier   what happened  why                           start    time     cost\n"
        "1  small  rejected       the check '<lambda>' failed  0.00 s  1.00 s  unknown\n"
        "2  large  accepted       score 0.75                   1.00 s  2.00 s  unknown\n"
        "   call                                                       3.00 s  unknown"
    )
    assert str(result) == "accepted by large: 'good' (1 escalation, 3.00 s, unknown)"


async def test_an_accepted_answer_that_was_not_needed_is_told_apart() -> None:
    cheap = Tier(says("a", "cheap", 2.0), verify=lambda _: True)
    quick = Tier(says("b", "quick", 1.0), verify=lambda _: True)
    table = (await run(cheap, quick, start_after=0.5)).explain().splitlines()
    assert table[1].split()[:3] == ["1", "cheap", "accepted"]
    assert table[2].split()[:4] == ["2", "quick", "not", "needed"]


async def test_an_answer_that_nobody_checked_says_so() -> None:
    result = await run(Tier(says("a", "plain")))
    assert not result.checked
    assert "not checked" in result.explain()
    assert str(result).startswith("accepted unchecked by plain")


async def test_an_abstention_is_called_one() -> None:
    unsure = Tier(says("a", "unsure"), verify=lambda _: Verdict.abstain("cannot tell"))
    row = (await run(unsure, Tier(says("b", "sure")))).explain().splitlines()[1]
    assert row.split()[:3] == ["1", "unsure", "abstained"]
    assert "cannot tell" in row


async def test_the_model_is_named_where_a_tier_called_several() -> None:
    gone = ScriptedModel(Scripted(error=APIConnectionError("gone", retryable=False)), name="gone")
    row = (await run(Tier(gone, fallbacks=[says("a", "spare")], name="t"))).explain().splitlines()
    assert row[1].split()[1:3] == ["t:", "gone"]
    assert row[2].split()[1:5] == ["t:", "spare", "accepted", "(fallback)"]


async def test_control_characters_do_not_reach_the_terminal() -> None:
    nasty = Tier(says("a", "x"), verify=lambda _: Verdict.reject("red \x1b[31m\x07 text"))
    result = await run(nasty, Tier(says("b", "y")))
    assert "\x1b" not in result.explain()


async def test_waiting_is_told_apart() -> None:
    class Slow(ScriptedModel):
        async def ready(self, model: str) -> None:
            await anyio.sleep(30.0)

    result = await run(Tier(Slow(Scripted(text="a", delay=1.0))))
    assert (result.attempts[0].waited, result.attempts[0].latency) == (30.0, 31.0)
