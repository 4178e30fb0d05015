"""How verifiers are used, for type checkers alone: `test_imports.py` runs mypy on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any as Anything
from typing import TypedDict, assert_type

import msgspec
import pydantic

from cascade.policy import Tier
from cascade.types import Answer, Request
from cascade.verdict import Verdict, Verifier
from cascade.verifiers import (
    Agreement,
    All,
    Any,
    Calibrator,
    Catalogue,
    Command,
    Composable,
    Finished,
    Grounded,
    Http,
    Isotonic,
    JsonSchema,
    Judge,
    Language,
    Learned,
    Length,
    NoPlaceholder,
    Not,
    NotRefusal,
    Number,
    OneOf,
    PairwiseJudge,
    Platt,
    PythonSyntax,
    Regex,
    SelfConfidence,
    Sql,
    ToolCalls,
    at_least,
    brier_score,
    calibrated,
    calibration_error,
    find_verifier,
    fit_calibrator,
    fit_learned,
    make,
    same_result,
    settled,
    verifier,
    verifier_names,
    weighted,
    when,
    within,
)
from cascade.verify import as_verifier


class Model(pydantic.BaseModel):
    x: int


class Struct(msgspec.Struct):
    x: int


class Dict(TypedDict):
    x: int


def strong(prompt: str) -> str:
    return prompt


everything: Sequence[Verifier] = (
    JsonSchema({"type": "object"}),
    JsonSchema("schema.json", extract="strict"),
    JsonSchema(Path("schema.json")),
    JsonSchema(Model),
    JsonSchema(Struct),
    JsonSchema(Dict),
    ToolCalls([{"name": "f", "parameters": {}}], form="python", parallel=False),
    ToolCalls(Path("tools.json")),
    Sql("sqlite", read_only=False),
    Sql("duckdb", catalogue=Catalogue.of({"t": ["a"]}), database=Path("d"), execute=True),
    SelfConfidence("logprob", min_logprob=-0.7),
    Judge("openai:gpt-5-mini", rubric="It is right."),
    Judge(judges=["openai:a", strong], quorum=2, rubric="It is right.", scale="yes_no"),
    PairwiseJudge("openai:a", "It is clearer.", baseline=lambda request: request.text),
    Agreement("number", field="answer", threshold=0.6),
    Agreement(lambda answer: answer.text.casefold()),
    OneOf("a", "b"),
    OneOf(["a", "b"], case_sensitive=True),
    OneOf({"a": "x", "b": ["y", "z"]}, aliases={"a": ["w"]}),
    Number(min=0, units=["km"], integer=True),
    Finished(sentence=True),
    Language("de"),
    NotRefusal(),
    NoPlaceholder(max_chars=10_000),
    PythonSyntax(extract="strict", timeout=1.0),
    Command(["node", "check.js"], timeout=5),
    Http("https://checks.example.com", headers={"Authorization": "env:TOKEN"}, cost_class="cpu"),
    Learned.load("gate.json", threshold=0.9),
    Not(Regex("sorry")),
    Regex("a", full=True),
    Length(max_words=3),
    Grounded(["total"]),
    make("json_schema", {"schema": {}}),
)


def short(answer: Answer) -> bool:
    return len(answer.text) < 80


@verifier("brief")
def brief(request: Request, answer: Answer) -> float:
    return 1.0


@verifier("mine")
class Mine:
    def __init__(self, size: int) -> None:
        self.size = size

    async def verify(self, request: Request, answer: Answer, /) -> Verdict:
        return Verdict.accept()


assert_type(OneOf("a") & short, All)
assert_type(short & OneOf("a"), All)
assert_type(OneOf("a") | short | Mine(3), Any)
assert_type(~OneOf("a"), Composable)
assert_type(brief & short, All)
assert_type(as_verifier(short), Verifier)
assert_type(Mine(3), Mine)

verifiers: Sequence[Composable] = (
    at_least(2, short, brief, OneOf("a")),
    weighted({brief: 2, SelfConfidence(): 1}, threshold=0.7),
    weighted([(brief, 2), (SelfConfidence(), 1)]),
    when(short, Regex("a")),
    within(2.0, Judge("openai:a", rubric="r") | short),
    brief.bind(),
)

scores, correct = [0.9, 0.4], [True, False]
calibrator: Calibrator = fit_calibrator(scores, correct)
assert_type(fit_calibrator(scores, correct), Isotonic | Platt)
assert_type(Isotonic.fit(scores, correct)(0.5), float)
assert_type(Platt.fit(scores, correct).to_dict(), dict[str, Anything])
assert_type(calibrated(brief, calibrator, threshold=0.8), Verifier)
assert_type(calibrated(Judge("openai:a", rubric="r"), calibrator.to_dict()), Verifier)
assert_type(brier_score(scores, correct), float)
assert_type(calibration_error(scores, correct, bins=5), float)
SelfConfidence("p_true", calibrator=calibrator)

gate = fit_learned([("prompt", "answer", True), (Request.of("prompt"), Answer("x"), False)])
assert_type(gate, Learned)
assert_type(gate.score(Request.of("prompt"), Answer("x")), float | None)
gate.save(Path("gate.json"))

assert_type(same_result([(1, "a")], [(1, "a")], ordered=True, columns="any"), bool)
assert_type(settled(["a", None, "a"], 5, 0.6), bool)
assert_type(verifier_names(), list[str])
assert_type(find_verifier("one_of"), Anything)

tier = Tier("openai:gpt-5-mini", verify=JsonSchema(Model) & ~Regex("sorry") & short)

JsonSchema(3)  # type: ignore[arg-type]
Sql(extract="embedded")  # type: ignore[arg-type]
SelfConfidence("p_false")  # type: ignore[arg-type]
