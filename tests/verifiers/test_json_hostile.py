"""What JSON answers made to hurt come to, whole and while they stream."""

from __future__ import annotations

import inspect
import json
from time import thread_time
from typing import Any

import pytest

from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.json_schema import JsonSchema
from cascade_verifiers.tool_calls import ToolCalls

REQUEST = Request.of("a question")
MOST_LAG = 0.02

TREE: dict[str, Any] = {
    "type": ["object", "array", "string", "integer"],
    "properties": {"a": {"$ref": "#"}, "p": {"type": "string", "pattern": "^(a+)+$"}},
    "items": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"const": 1}]},
    "additionalProperties": False,
}
ANSWERS = {
    "ten megabytes": "a" * 10_000_000,
    "ten megabytes of JSON": '["' + "a" * 10_000_000 + '"]',
    "an array of 240,000": "[" + "1," * 120_000 + "1]",
    "an array of a million": "[" + "1," * 500_000 + "1]",
    "an array of the wrong": "[" + "null," * 3_800 + "null]",
    "100,000 brackets": "[" * 100_000,
    "100,000 closed brackets": "[" * 100_000 + "]" * 100_000,
    "100 closed brackets": "[" * 100 + "]" * 100,
    "100 braces": '{"a":' * 100 + "null" + "}" * 100,
    "an exponential pattern": json.dumps({"p": "a" * 15_000 + "!"}),
    "a million digits": "[" + "9" * 990_000 + "]",
    "duplicate keys": "{" + '"a": 1,' * 2_000 + '"a": 1}',
    "keys": json.dumps({f"k{n}": n for n in range(2_000)}),
    "a lone surrogate": '{"a": "\ud800"}',
    "an escaped lone surrogate": '{"a": "\\ud800"}',
    "nul": json.dumps({"p": "N"}).replace("N", "\0"),
    "right to left": '{"a": null, "\u202e\u2066": "\u202e"}',
    "backslashes": '{"a": "' + "\\" * 19_999,
    "white space": '{"a":' + " " * 19_000 + "null",
    "calls": "[" + "ping(a=[1, 2, {'b': 'c'}])," * 700 + "ping(",
}
VERIFIERS: dict[str, Any] = {
    "embedded": JsonSchema(TREE),
    "strict": JsonSchema(TREE, extract="strict"),
    "mending": JsonSchema(TREE, repair="syntax"),
    "calls": ToolCalls([{"name": "ping"}]),
}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("verifier", VERIFIERS.values(), ids=VERIFIERS.keys())
@pytest.mark.anyio
async def test_a_verdict_on_each(verifier: Any) -> None:
    for name, text in ANSWERS.items():
        found = verifier.verify(REQUEST, Answer(text))
        verdict = await found if inspect.isawaitable(found) else found
        assert isinstance(verdict, Verdict)
        fits = name in ACCEPTED and isinstance(verifier, JsonSchema)
        assert verdict.accepted is fits, name


ACCEPTED = {"an array of 240,000", "100 closed brackets"}


@pytest.mark.parametrize("extract", ["strict", "embedded"])
@pytest.mark.parametrize("name", ANSWERS)
def test_no_look_at_a_stream_takes_long(name: str, extract: Any) -> None:
    verifier = JsonSchema(TREE, extract=extract)
    verifier.prefix("")  # compiles the schema of beginnings
    text = ANSWERS[name]

    def longest() -> float:
        check, worst = verifier.open_prefix(), 0.0
        for at in range(0, min(len(text), 200_000), 50):
            began = thread_time()
            check.feed(text[at : at + 50])
            worst = max(worst, thread_time() - began)
        return worst

    assert min(longest() for _ in range(3)) < MOST_LAG


def test_the_cost_of_a_stream_is_linear() -> None:
    """Ten times the answer takes ten times the looks' characters, not a hundred times."""
    read: dict[int, int] = {}
    for items in (500, 5_000):
        text = json.dumps(list(range(items)))
        check = JsonSchema({"type": "array"}, extract="strict").open_prefix()
        total, before = 0, ""
        for at in range(0, len(text), 4):
            assert check.feed(text[at : at + 4]) is None
            if check._text != before:
                before = check._text
                total += len(before)
        read[items] = total * 1000 // len(text)
    assert read[5_000] < 5_000
    assert read[500] < 5_000
