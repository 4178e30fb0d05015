"""Answers made to hurt: every verifier gives its verdict soon, and none is a crash."""

from __future__ import annotations

import inspect
import json
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.grounded import Grounded
from cascade_verifiers.json_schema import JsonSchema
from cascade_verifiers.length import Length
from cascade_verifiers.one_of import OneOf
from cascade_verifiers.regex import Regex
from cascade_verifiers.self_confidence import SelfConfidence
from cascade_verifiers.sql import Sql

REQUEST = Request.of("the source: 12 apples")
MANY = 900_000

ANSWERS = {
    "ten megabytes": "a" * 10_000_000,
    "100,000 brackets": "[" * 100_000,
    "100,000 braces": '{"a":' * 100_000,
    "100,000 closed brackets": "[" * 100_000 + "]" * 100_000,
    "brackets in prose": "see [x " * (MANY // 7),
    "unfinished literals": "[tru" * (MANY // 4),
    "unfinished strings": '["' * (MANY // 2),
    "quotes and brackets": '["' + '\\"[' * (MANY // 3),
    "lists begun": "[1," * (MANY // 3),
    "objects": "{} " * (MANY // 3),
    "backslashes": '"' + "\\" * MANY,
    "fences": "```\n" * (MANY // 4),
    "one long fence": "```" + "a" * MANY,
    "backticks": "`" * MANY,
    "a million digits": "9" * 990_000,
    "a million digits in JSON": "[" + "9" * 990_000 + "]",
    "a million decimals": "[0." + "9" * 990_000 + "]",
    "a huge exponent": "[1e" + "9" * 990_000 + "]",
    "a number in the source's form": json.dumps({"n": "1," * (MANY // 2)}),
    "white space": " " * MANY + "x",
    "lines": "\n" * MANY + "x",
    "parentheses": "SELECT " + "(" * 9_900,
    "not not not": "SELECT " + "not " * 2_400 + "1",
    "sums": "SELECT " + "1+" * 4_900 + "1",
    "casts": "SELECT 1" + "::int" * 1_950,
    "nul": '{"a": "\0"}',
    "surrogate": '{"a": "\ud800"}',
    "escaped surrogate": '{"a": "\\ud800"}',
    "right to left": '{"a": "\u202e\u2066"}',
    "expanding": "\ufdfa" * MANY,
}
VERIFIERS: dict[str, Any] = {
    "JsonSchema": JsonSchema({"type": "object", "properties": {"a": {"pattern": "^(a+)+$"}}}),
    "JsonSchema strict": JsonSchema({"type": "array", "uniqueItems": True}, extract="strict"),
    "Sql": Sql(),
    "Sql strict": Sql("mysql", extract="strict", read_only=False),
    "Grounded": Grounded(),
    "OneOf": OneOf("a", "b"),
    "Regex": Regex("(a|a)*$", full=True),
    "Length": Length(max_words=5, min_lines=2, max_chars=100),
    "SelfConfidence": SelfConfidence(),
}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("verifier", VERIFIERS.values(), ids=VERIFIERS.keys())
@pytest.mark.anyio
async def test_a_verdict_within_seconds(verifier: Any) -> None:
    for name, text in ANSWERS.items():
        began = perf_counter()
        found = verifier.verify(REQUEST, Answer(text))
        verdict = await found if inspect.isawaitable(found) else found
        took = perf_counter() - began
        assert isinstance(verdict, Verdict), name
        assert took < 5, f"{name}: {took:.1f} s"
        assert len(verdict.reason) <= 500, name


def reject(schema: Any, text: str) -> Verdict:
    verdict = JsonSchema(schema).verify(REQUEST, Answer(text))
    assert isinstance(verdict, Verdict)
    assert verdict.outcome == "rejected"
    return verdict


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' twice"),
        ('{"b": {"a": 1, "b": 2, "a": 2}}', "the key 'a' twice"),
        ("[NaN]", "NaN is no JSON number"),
        ("[-Infinity]", "-Infinity is no JSON number"),
        ("[1e999]", "too large"),
        (f"[{'9' * 400}.5]", "too large"),
        (f"[{'9' * 4301}]", "more than 4300 digits"),
        ("[" * 129 + "]" * 129, "nested more than 128 levels deep"),
        ('["\ud800"]', "surrogate"),
        ('["\\ud800"]', "surrogate"),
        ('{"\\udfff": 1}', "surrogate"),
        ('["\0"]', "control character"),
        ('["a\nb"]', "control character"),
    ],
)
def test_json_that_is_refused(text: str, reason: str) -> None:
    verdict = reject({}, text)
    assert verdict.code == "json.parse"
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('["\\ud83d\\ude00", "😀"]', ["😀", "😀"]),
        ('["\\u0000"]', ["\0"]),
        (f"[{'9' * 4300}]", [10**4300 - 1]),
        ("[" * 127 + '"[[[["' + "]" * 127, None),
    ],
)
def test_json_that_is_odd_and_allowed(text: str, value: Any) -> None:
    verdict = JsonSchema({}).verify(REQUEST, Answer(text))
    assert isinstance(verdict, Verdict)
    assert verdict.accepted
    assert value is None or verdict.parsed == value


def deep(levels: int) -> Any:
    value: Any = 3
    for _ in range(levels):
        value = {"a": value}
    return value


def test_a_schema_that_takes_its_explainer_exponential_time() -> None:
    step = {"type": "object", "properties": {"a": {"$ref": "#/$defs/t"}}, "required": ["a"]}
    schema = {
        "$defs": {"t": {"anyOf": [step, {**step, "minProperties": 1}, {"type": "string"}]}},
        "$ref": "#/$defs/t",
    }
    began = perf_counter()
    assert reject(schema, json.dumps(deep(100))).code == "json.schema"
    assert reject(schema, "4").code == "json.anyOf"
    assert perf_counter() - began < 2


def test_recursive_references_on_deep_documents() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}, "additionalProperties": False}
    assert "3 is not of type 'object'" in reject(schema, json.dumps(deep(100))).reason
    assert reject(schema, '{"a":' * 1000 + "1" + "}" * 1000).code == "json.parse"


def test_patterns_take_linear_time_to_explain_too() -> None:
    began = perf_counter()
    key = "a" * 3000 + "!"
    for schema, value in (
        ({"properties": {"k": {"pattern": "^(a+)+$"}}}, {"k": key}),
        ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {key: 1}),
        ({"propertyNames": {"pattern": "^(a+)+$"}}, {key: 1}),
        ({"patternProperties": {"^(a+)+$": {}}, "unevaluatedProperties": False}, {key: 1}),
    ):
        reject(schema, json.dumps(value))
    assert perf_counter() - began < 2


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=60) | st.text("{}[]\",:`\n1a\\- ;('", max_size=60))
def test_any_text_gets_a_verdict(text: str) -> None:
    for verifier in VERIFIERS.values():
        assert isinstance(verifier.verify(REQUEST, Answer(text)), Verdict)
