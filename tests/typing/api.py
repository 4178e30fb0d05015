"""What users type, checked by mypy and pyright; never run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_type

from cascade import (
    Answer,
    Call,
    Engine,
    Message,
    Policy,
    Price,
    Request,
    Result,
    Tier,
    Verdict,
    cascade,
    cascade_sync,
    provider,
)
from cascade.verifiers import JsonSchema, Judge, OneOf, SelfConfidence, Sql, verifier


@dataclass
class Invoice:
    number: str
    total: float


@verifier("typing-short")
def short(answer: Answer) -> bool:
    return len(answer.text) < 100


async def asynchronous(request: Request, answer: Answer) -> Verdict:
    return Verdict.accept(score=1.0) if answer.text else Verdict.reject("empty", repairable=True)


class Own:
    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        return Verdict.abstain("never sure")


@provider("typing-own")
class OwnProvider:
    def __init__(self, context: object) -> None:
        self.context = context

    async def complete(self, call: Call, /) -> Answer | None:
        call.on_delta("x")
        return Answer("x")


def code(prompt: str) -> str | None:
    return None if len(prompt) > 10 else prompt


policy = Policy(
    "invoice",
    tiers=[
        Tier(code),
        Tier("openai:gpt-5-mini", verify=JsonSchema(Invoice), timeout=10, repairs=1),
        Tier(["openai:a", "openai:b"], verify=short & SelfConfidence(), name="both"),
        Tier("openai:gpt-5", verify=asynchronous, price=Price(input=1.25, output=10)),
        Tier(OwnProvider(None), verify=Own(), fallbacks=["openai:gpt-5"]),
        Tier("openai:c", verify=(OneOf("a", "b") | ~Sql("sqlite")) & Judge("openai:d", rubric="r")),
    ],
    start_after=[None, None, 0.8, 0.8, 0.8, 0],
    prefer="cheapest",
    grace=0.5,
)


async def calls(messages: Sequence[Message]) -> None:
    assert_type(await cascade(policy, "prompt"), Result)
    await cascade("extract", [{"role": "user", "content": "hi"}], deadline=3.0, exhausted="best")
    await cascade(Path("p.toml"), messages, start="both", variables={"schema": "…"})
    assert_type(cascade_sync(policy, Request.of("prompt")), Result)
    async with Engine() as engine:
        result = await engine.run(policy, "prompt", prefer="fastest")
        assert_type(result.text, str)
        assert_type(result.escalations, int)
        for attempt in result.attempts:
            assert_type(attempt.cost.low, float | None)
