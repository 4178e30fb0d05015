"""A call runs inline or in a task group; nobody can tell from what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import anyio
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cascade import Answer, APIConnectionError, CallError, Engine, Policy, Tier, Verdict
from cascade.testing import NoJitter, Scripted, ScriptedModel

seconds = st.integers(0, 5).map(float)
steps = st.builds(
    Scripted,
    text=st.sampled_from(["good", "bad", "", "perhaps", None]),
    delay=seconds,
    error=st.sampled_from([None, None, None, APIConnectionError("gone"), ValueError("a bug")]),
    finish_reason=st.sampled_from(["stop", "stop", "stop", "length"]),
)
check_times = st.sampled_from([0.0, 0.0, 1.0, 4.0])
limits = st.one_of(st.none(), st.integers(1, 6).map(float))


@st.composite
def tiers(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "steps": draw(st.lists(steps, min_size=1, max_size=4)),
        "check": draw(check_times),
        "timeout": draw(limits),
        "verify_timeout": draw(limits),
        "retries": draw(st.integers(0, 2)),
        "repairs": draw(st.integers(0, 2)),
        "on_abstain": draw(st.sampled_from(["escalate", "accept"])),
    }


def make_tier(name: str, *, steps: list[Scripted], check: float, **kwargs: Any) -> Tier:
    async def verify(answer: Answer) -> Verdict:
        await anyio.sleep(check)
        if answer.text == "perhaps":
            return Verdict.abstain("perhaps")
        if answer.text == "good":
            return Verdict.accept()
        return Verdict.reject("bad", repairable=True)

    return Tier(ScriptedModel(*steps, name=name), verify=verify, **kwargs)


@contextmanager
def always_in_a_task_group() -> Iterator[None]:
    with mock.patch("cascade.bind.may_overlap", return_value=True):
        yield


def story(specs: list[dict[str, Any]], deadline: float | None, exhausted: Any) -> list[Any]:
    """Everything a caller can see of the call, in virtual time."""

    async def main() -> list[Any]:
        built = [make_tier(f"t{i}", **spec) for i, spec in enumerate(specs)]
        policy = Policy("p", built, deadline=deadline, exhausted=exhausted)
        async with Engine(random=NoJitter()) as engine:
            try:
                end: Any = await engine.run(policy, "hello")
                what = [end.text, end.tier, end.accepted, end.latency, end.escalations]
            except CallError as error:
                end, what = error, [type(error), str(error)]
        rows = [(a.tier, a.kind, a.outcome, a.reason, a.started, a.latency) for a in end.attempts]
        return [what, rows, trio.current_time()]

    return trio.run(main, clock=MockClock(autojump_threshold=0))


@settings(max_examples=150, deadline=None)
@given(st.lists(tiers(), min_size=1, max_size=3), limits, st.sampled_from(["raise", "best"]))
def test_inline_and_task_group_give_the_same(
    specs: list[dict[str, Any]], deadline: float | None, exhausted: str
) -> None:
    inline = story(specs, deadline, exhausted)
    with always_in_a_task_group():
        assert story(specs, deadline, exhausted) == inline
