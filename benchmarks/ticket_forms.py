"""The forms in which `benchmarks.support_ticket` runs the workflow, over scripted models."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from benchmarks.ticket_day import (
    HANDBOOK_TOKENS,
    MODEL,
    PROVIDER,
    STEPS,
    SYSTEM,
    Made,
    Ticket,
    frontier_latency,
    made,
    tokens,
)
from cascade import Engine, Policy, Price, Tier, Usage
from cascade.prices import published_price
from cascade.result import Result
from cascade.testing import Scripted, ScriptedModel
from cascade.types import Request, ToolCall
from cascade.verifiers import Length, NotRefusal, OneOf, ToolCalls
from cascade_policies.audit.audit import Audit, Finding
from cascade_policies.audit.fitting import same

SMALL: Final = ("anthropic", "claude-haiku-4-5")
SMALL_FAILS: Final = 0.05
SECTION_TOKENS: Final = 200
REFUSAL: Final = "I'm sorry, but I can't help with that."

_CASE: Final = {
    "type": "function",
    "function": {
        "name": "open_case",
        "parameters": {
            "type": "object",
            "properties": {key: {"type": "string"} for key in ("reference", "customer", "product")},
            "required": ["reference", "customer", "product"],
        },
    },
}


@dataclass(frozen=True, slots=True)
class Form:
    """A way to run the workflow.

    Attributes:
        routed: whether as the audit proposes; else all calls go to the frontier model.
        trimmed: whether every prompt has only what its task needs.
        cached: whether the handbook is read from a cache by all calls of a ticket but the first.
    """

    name: str
    routed: bool = False
    trimmed: bool = False
    cached: bool = False


FORMS: Final = (
    Form("before"),
    Form("before, cached", cached=True),
    Form("routed, same prompts", routed=True),
    Form("routed", routed=True, trimmed=True),
)


@dataclass(slots=True)
class Ran:
    """What came of a form: dollars and seconds of each ticket, calls by model, right answers."""

    costs: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    right: int = 0
    judged: int = 0


def price(provider: str, model: str) -> Price:
    """The published price, which must be known."""
    found = published_price(provider, model)
    assert found is not None, f"no price is published of {provider}:{model}"
    return found


def small_latency(written: int) -> float:
    """Seconds: assumed 0.4 to the first token, and 150 tokens a second from there."""
    return 0.4 + written / 150


class Workflow:
    """The fourteen calls of a ticket in one form."""

    def __init__(self, form: Form, audit: Audit, seed: int) -> None:
        self.form = form
        self.found = {finding.name: finding for finding in audit.findings}
        self.prices = {"frontier": price(PROVIDER, MODEL), "small": price(*SMALL)}
        self._random = Random(seed)  # noqa: S311  (no secret)

    async def run(self, engine: Engine, calls: Sequence[Made], ran: Ran) -> None:
        """All calls of one ticket, one after the other."""
        cost = seconds = 0.0
        for number, call in enumerate(calls):
            policy = Policy(call.step.name, list(self._tiers(call, first=number == 0)))
            result = await engine.run(policy, Request.of(call.prompt))
            assert result.cost.low is not None
            assert result.cost.low == result.cost.high, "every token was reported"
            cost += result.cost.low
            seconds += result.latency
            ran.calls.update(attempt.tier for attempt in result.attempts)
            if call.step.level == "code":
                ran.judged += 1
                ran.right += _is_right(call, result)
        ran.costs.append(cost)
        ran.seconds.append(seconds)

    def _tiers(self, call: Made, *, first: bool) -> Iterator[Tier]:
        finding = self.found.get(call.step.name) if self.form.routed else None
        if finding is not None and finding.need.draft is not None:
            yield Tier(finding.need.draft, name="code")
        if finding is not None and finding.need.level == "small":
            answer = self._answer(call, call.step.answer(call.ticket), "small", first=first)
            if self._random.random() < SMALL_FAILS:
                answer = self._answer(call, REFUSAL, "small", first=first)
            yield self._tier("small", answer, _check(finding))
        yield self._tier("frontier", self._answer(call, call.answer, "frontier", first=first))

    def _tier(self, name: str, answer: Scripted, verify: Any = None) -> Tier:
        model = ScriptedModel(answer, name=f"scripted:{name}")
        return Tier(model, verify=verify, name=name, price=self.prices[name], timeout=None)

    def _answer(
        self, call: Made, answer: str | dict[str, Any], model: str, *, first: bool
    ) -> Scripted:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        written = tokens(text)
        read = tokens(SYSTEM + call.prompt) + self._handbook(call)
        cached = HANDBOOK_TOKENS if self.form.cached and not first else None
        latency = frontier_latency if model == "frontier" else small_latency
        return Scripted(
            text=text if isinstance(answer, str) else "",
            delay=latency(written),
            usage=Usage(read, written, cached),
            tool_calls=() if isinstance(answer, str) else (ToolCall("open_case", text),),
        )

    def _handbook(self, call: Made) -> int:
        """Tokens of the handbook that are in the prompt."""
        if not self.form.trimmed:
            return HANDBOOK_TOKENS
        sections = len(call.ticket.topics) + 1  # and the one on repairs
        return SECTION_TOKENS * sections if call.step.level == "frontier" else 0


def _check(finding: Finding) -> Any:
    if finding.need.labels:
        return OneOf(list(finding.need.labels))
    if finding.need.kind == "tool parameters":
        return ToolCalls([_CASE])
    return NotRefusal() & Length(min_chars=20)


def _is_right(call: Made, result: Result) -> bool:
    right = call.step.answer(call.ticket)
    return isinstance(right, str) and same(right, result.text)


async def run(form: Form, audit: Audit, day: Sequence[Ticket], seed: int) -> Ran:
    """A day in one form."""
    workflow, ran = Workflow(form, audit, seed), Ran()
    every = list(made(day, seed))
    async with Engine() as engine:
        for start in range(0, len(every), len(STEPS)):
            await workflow.run(engine, every[start : start + len(STEPS)], ran)
    return ran
