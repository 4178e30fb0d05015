"""A stream ends with what `cascade` returns, whatever happens on the way."""

from __future__ import annotations

import math
from typing import Any

import anyio
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cascade import (
    Answer,
    APIConnectionError,
    Call,
    CallError,
    Engine,
    Finished,
    Policy,
    Request,
    StreamEvent,
    TextReleased,
    TextRetracted,
    Tier,
    Verdict,
)
from cascade.retry_budget import RetryBudget
from cascade.testing import NoJitter

TEXTS = ["", " ", "{}", "{" + "x" * 98 + "}", "{" + "x" * 150, "Sure! " + "x" * 94, "perhaps"]
STREAMED = ["", " ", "{", "{}", "Sure!"]

PRIMES = [n for n in range(2, 900) if all(n % k for k in range(2, n))]

steps = st.fixed_dictionaries(
    {
        "text": st.sampled_from([*TEXTS, None]),
        "chunk": st.sampled_from([9, 40, 1000]),
        "delay": st.sampled_from([0.0, 0.25, 1.0]),
        "breaks_after": st.sampled_from([None, None, None, 0, 1, 90]),
        "returns": st.sampled_from([None, None, None, "another"]),
        "finish_reason": st.sampled_from(["stop", "stop", "stop", "length"]),
    }
)
limits = st.sampled_from([None, None, 1.0, 4.0, 30.0])


class Model:
    """Follows its steps, one a call, the last again and again.

    Each call is late by a time that no sum of others makes: of two things in one instant trio lets
    either go first, and a call is to go the same way each time.
    """

    def __init__(self, name: str, script: list[dict[str, Any]], number: int) -> None:
        self.name = name
        self.number = number
        self.calls = 0
        self._script = script

    async def complete(self, call: Call, /) -> Answer | None:
        """Stream, and break off or return another text where the step says so."""
        step = self._script[min(self.calls, len(self._script) - 1)]
        self.calls += 1
        await anyio.sleep(2**-9 * math.sqrt(PRIMES[16 * self.number + self.calls]))
        text, after = step["text"], step["breaks_after"]
        for start in range(0, len(text or ""), step["chunk"]):
            await anyio.sleep(step["delay"])
            if after is not None and start >= after:
                raise APIConnectionError("cut off")
            call.on_delta(text[start : start + step["chunk"]])
        return None if text is None else Answer(step["returns"] or text, (), step["finish_reason"])


class Braces:
    """Accepts what has braces around it, without them; sees a wrong beginning while it streams."""

    def __init__(self, takes: float, *, strips: bool, watches: bool) -> None:
        self.takes = takes
        self.strips = strips
        if watches:
            self.prefix = self._prefix

    async def verify(self, request: Request, answer: Answer, /) -> Verdict:
        await anyio.sleep(self.takes)
        if answer.text == "perhaps":
            return Verdict.abstain("perhaps")
        if answer.text.startswith("{") and answer.text.endswith("}"):
            return Verdict.accept(text=answer.text.strip("{}") if self.strips else None)
        return Verdict.reject("no braces", repairable=True, score=0.1 * len(answer.text[:9]))

    def _prefix(self, text: str) -> Verdict | None:
        return None if text.startswith("{") else Verdict.reject("no brace", repairable=True)


checks = st.builds(
    Braces, st.sampled_from([0.0, 0.0, 2.0]), strips=st.booleans(), watches=st.booleans()
)
watching = st.builds(Braces, st.just(0.0), strips=st.just(False), watches=st.just(True))


@st.composite
def tiers(draw: st.DrawFn) -> dict[str, Any]:
    verify = draw(st.one_of(st.none(), checks, checks))
    scripts = st.lists(steps, min_size=1, max_size=3)
    return {
        "scripts": draw(st.lists(scripts, min_size=1, max_size=1 if verify is None else 2)),
        "verify": verify,
        "timeout": draw(limits),
        "retries": draw(st.integers(0, 2)),
        "repairs": 0 if verify is None else draw(st.integers(0, 1)),
        "replica_after": draw(st.sampled_from([None, None, 0.55, 1.6])),
        "fallback": draw(st.one_of(st.none(), steps)),
        "on_abstain": draw(st.sampled_from(["escalate", "accept"])),
    }


policies = st.fixed_dictionaries(
    {
        "tiers": st.lists(tiers(), min_size=1, max_size=3),
        "start_after": st.sampled_from([None, None, 0, 1.25]),
        "prefer": st.sampled_from(["cheapest", "fastest"]),
        "deadline": limits,
        "exhausted": st.sampled_from(["raise", "best"]),
    }
)


def make_policy(spec: dict[str, Any]) -> Policy:
    built = []
    for index, tier in enumerate(spec["tiers"]):
        rest = {k: v for k, v in tier.items() if k not in ("scripts", "fallback")}
        models = [
            Model(f"t{index}m{i}", script, 3 * index + i)
            for i, script in enumerate(tier["scripts"])
        ]
        spare = tier["fallback"]
        fallbacks = [] if spare is None else [Model(f"t{index}f", [spare], 3 * index + 2)]
        built.append(Tier(models, name=f"t{index}", fallbacks=fallbacks, **rest))
    rest = {k: v for k, v in spec.items() if k != "tiers"}
    if len(built) == 1:
        rest["start_after"] = None
    return Policy("p", built, **rest)


def outcome(spec: dict[str, Any], release: Any) -> tuple[list[StreamEvent], Any, float]:
    """The events, the result or error, and how long it took; by `cascade` if release is None."""

    async def main() -> tuple[list[StreamEvent], Any, float]:
        events: list[StreamEvent] = []
        budget = RetryBudget(reserve=1000)
        async with Engine(random=NoJitter(), retry_budget=budget) as engine:
            end: Any = None
            try:
                if release is None:
                    end = await engine.run(make_policy(spec), "hello")
                else:
                    async with engine.stream(make_policy(spec), "hello", release=release) as stream:
                        async for event in stream:
                            events.append(event)
                    last = events[-1]
                    assert isinstance(last, Finished)
                    end = last.result
            except CallError as error:
                end = error
        return events, end, trio.current_time()

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def standing(events: list[StreamEvent]) -> str:
    text = ""
    for event in events:
        if isinstance(event, TextReleased):
            text += event.text
        elif isinstance(event, TextRetracted):
            text = ""
    return text


def attempts(end: Any) -> list[Any]:
    return [
        (a.tier, a.model, a.kind, a.outcome, a.reason, a.started, a.latency) for a in end.attempts
    ]


@settings(max_examples=200, deadline=None)
@given(policies, watching)
def test_with_retractions_it_is_what_cascade_returns(spec: dict[str, Any], check: Braces) -> None:
    spec["tiers"][0].update(verify=check)
    _, plain, seconds = outcome(spec, None)
    events, end, took = outcome(spec, "verified-prefix")
    assert (type(end), took) == (type(plain), seconds)
    assert attempts(end) == attempts(plain)
    if isinstance(plain, CallError):
        assert standing(events) == ""
    else:
        assert standing(events) == end.text == plain.text


@settings(max_examples=200, deadline=None)
@given(policies)
def test_gated_it_retracts_nothing(spec: dict[str, Any]) -> None:
    _, plain, _ = outcome(spec, None)
    events, end, _ = outcome(spec, "accepted")
    assert not any(isinstance(event, TextRetracted) for event in events)
    if isinstance(end, CallError):
        # A last tier that broke off had begun to answer; there is no other way to lose an answer.
        broke_off = standing(events) != "" and end.attempts[-1].outcome in ("failed", "cancelled")
        assert broke_off or type(end) is type(plain)
    else:
        assert standing(events) == end.text == plain.text
