"""How verifiers are used, for type checkers alone: `test_imports.py` runs mypy on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, assert_type

import msgspec
import pydantic

from cascade.policy import Tier
from cascade.types import Answer, Request
from cascade.verdict import Verdict, Verifier
from cascade.verifiers import (
    All,
    Any,
    Composable,
    Grounded,
    JsonSchema,
    Judge,
    Length,
    OneOf,
    Regex,
    SelfConfidence,
    Sql,
    make,
    verifier,
)
from cascade.verify import as_verifier


class Model(pydantic.BaseModel):
    x: int


class Struct(msgspec.Struct):
    x: int


class Dict(TypedDict):
    x: int


everything: Sequence[Verifier] = (
    JsonSchema({"type": "object"}),
    JsonSchema("schema.json", extract="strict"),
    JsonSchema(Path("schema.json")),
    JsonSchema(Model),
    JsonSchema(Struct),
    JsonSchema(Dict),
    Sql("sqlite", read_only=False),
    SelfConfidence("logprob", min_logprob=-0.7),
    Judge("openai:gpt-5-mini", rubric="It is right."),
    OneOf("a", "b"),
    OneOf(["a", "b"], case_sensitive=True),
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

tier = Tier("openai:gpt-5-mini", verify=JsonSchema(Model) & ~Regex("sorry") & short)

JsonSchema(3)  # type: ignore[arg-type]
Sql(extract="embedded")  # type: ignore[arg-type]
SelfConfidence("p_false")  # type: ignore[arg-type]
