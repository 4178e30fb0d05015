"""`ToolCalls`: which calls are read, which fit, and the reasons why not."""

from __future__ import annotations

import inspect
import json
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade.types import Answer, Request, ToolCall
from cascade.verdict import Verdict
from cascade_verifiers.call_text import CallTextError, parse_calls
from cascade_verifiers.tool_calls import ToolCalls

REQUEST = Request.of("a question")
AREA = {
    "name": "geo.area",
    "description": "The area of a triangle.",
    "parameters": {
        "type": "dict",
        "properties": {
            "base": {"type": "float"},
            "height": {"type": "integer"},
            "unit": {"type": "string", "enum": ["cm", "m"]},
            "at": {"type": "tuple", "items": {"type": "float"}},
            "more": {"type": "any"},
        },
        "required": ["base", "height"],
    },
}
PING = {"type": "function", "function": {"name": "ping"}}
TOOLS = [AREA, PING]


def ask(answer: str | Answer, tools: Any = TOOLS, **options: Any) -> Verdict:
    given_answer = Answer(answer) if isinstance(answer, str) else answer
    verdict = ToolCalls(tools, **options).verify(REQUEST, given_answer)
    assert isinstance(verdict, Verdict)
    return verdict


ONE = [("geo.area", {"base": 1, "height": 2})]


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("[geo.area(base=1, height=2)]", ONE),
        ("geo.area(base=1, height=2)", ONE),
        (" [ geo.area ( base = 1 , height = 2 , ) , ] \n", ONE),
        ("[geo.area(base=1, height=2)]  # as asked", ONE),
        ("```python\n[geo.area(base=1, height=2)]\n```", ONE),
        ("ping(), ping()", [("ping", {}), ("ping", {})]),
        ('[{"name": "geo.area", "arguments": {"base": 1, "height": 2}}]', ONE),
        ('{"name": "geo.area", "parameters": {"base": 1, "height": 2}}', ONE),
        ('{"function": {"name": "ping", "arguments": "{\\"base\\": 1}"}}', None),
        ('{"function": {"name": "ping", "arguments": "{}"}}', [("ping", {})]),
        (r"[geo.area(base=1, height=2, unit='\_m'[1:])]", None),
        (r"[geo\_area(base=1)]", None),
        (
            "[geo.area(base=-2 * 1.5, height=+2, at=(1, 2.5), more={'a': [None, true, (3)]})]",
            [("geo.area", {"base": -3.0, "height": 2, "at": [1, 2.5],
                           "more": {"a": [None, True, 3]}})],
        ),
        (
            "geo.area(base=1/2, height=2 + 3*4 - 1, more=r'\\n' )",
            [("geo.area", {"base": 0.5, "height": 13, "more": "\\n"})],
        ),
        (
            '''geo.area(base=1e3, height=1_000, more="""a "b"\n\\x41\\u00e9\\t\\d""")''',
            [("geo.area", {"base": 1000.0, "height": 1000, "more": 'a "b"\nAé\t\\d'})],
        ),
    ],
)  # fmt: skip
def test_calls_in_text(text: str, calls: Any) -> None:
    verdict = ask(text)
    assert verdict.accepted is (calls is not None), verdict.reason
    if calls is None:
        return
    assert verdict.parsed == calls
    assert (verdict.text is None) is ("```" not in text and text == text.strip())


def test_underscores_as_markdown_writes_them() -> None:
    assert parse_calls(r"a\_b(c\_d='e\_f')") == [("a_b", {"c_d": "e_f"})]


def test_calls_of_the_answer() -> None:
    answer = Answer("Let me see.", (ToolCall("geo.area", '{"base": 1, "height": 2}'),))
    assert ask(answer).parsed == ONE
    assert ask(Answer("", (ToolCall("ping", ""),))).parsed == [("ping", {})]
    assert ask(Answer("", (ToolCall("ping", "{"),))).code == "tool.parse"
    assert ask(Answer("", (ToolCall("ping", "[]"),))).code == "tool.parse"


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("I cannot help.", "tool.parse", "the calls cannot be read: '(' is missing"),
        ("", "tool.parse", "the name of a function is missing, at the end"),
        ("[]", "tool.none", "the answer must call a function"),
        ("[geo.aera(base=1)]", "tool.unknown_function",
         "there is no function 'geo.aera': did you mean 'geo.area'?"),
        ("geo.area(base=1)", "tool.missing_argument", "geo.area: the argument 'height' is missing"),
        ("ping(), geo.area(base=1)", "tool.missing_argument", "call 2: geo.area: "),
        ("geo.area(base=1, height=2, units='m')", "tool.unknown_argument", "did you mean 'unit'?"),
        ("ping(a=1)", "tool.unknown_argument", "ping: there is no argument 'a': it takes none"),
        ("geo.area(base=1, height='2')", "tool.type",
         "geo.area: $.height: '2' is not of type 'integer'"),
        ("geo.area(base='1', height=2)", "tool.type", "'1' is not of type 'number'"),
        ("geo.area(base=1, height=2.5)", "tool.type", "2.5 is not of type 'integer'"),
        ("geo.area(base=1, height=2, at=(1, 'b'))", "tool.type", "$.at[1]"),
        ("geo.area(base=1, height=2, unit='km')", "tool.enum", "$.unit: 'km' is not one of"),
        ("geo.area(1, 2)", "tool.parse", "the name of an argument is missing"),
        ("geo.area(base=1, base=2)", "tool.parse", "'base' is given twice"),
        ("geo.area(base=x, height=2)", "tool.parse", "a value is missing"),
        ("geo.area(base=len([1]), height=2)", "tool.parse", "a value is missing"),
        ("geo.area(base=__import__('os'), height=2)", "tool.parse", "a value is missing"),
        ("geo.area(base=1/0, height=2)", "tool.parse", "a division by zero"),
        ("geo.area(base=1e999, height=2)", "tool.parse", "a number is too large"),
        ("[ping()", "tool.parse", "']' is missing"),
        ("ping() and so on", "tool.parse", "only calls may stand here"),
        ('["ping()"]', "tool.parse", "the name of a function is missing"),
        ("[{'name': 'ping'}]", "tool.parse", "not valid JSON"),
        ('[{"ping": {}}]', "tool.parse", 'each needs "name"'),
        ('[{"name": "ping", "arguments": []}]', "tool.parse", "no JSON object"),
        ("```\nping()\n```\n```\nping()\n```", "tool.parse", "one code fence"),
        ("ping(a={'b': 1, 'b': 2})", "tool.parse", "stands twice"),
        (r"ping(a='\ud800')", "tool.parse", "is no character"),
    ],
)  # fmt: skip
def test_reasons_and_codes(text: str, code: str, reason: str) -> None:
    verdict = ask(text)
    assert (verdict.outcome, verdict.code, verdict.repairable) == ("rejected", code, True)
    assert reason in verdict.reason


def test_options() -> None:
    two, fenced = "ping(), ping()", "```\nping()\n```"
    assert ask(two, parallel=False).code == "tool.parallel"
    assert ask("ping()", parallel=False).accepted
    assert ask(fenced).accepted
    assert ask(fenced, extract="strict").code == "tool.parse"
    as_json = '[{"name": "ping"}]'
    assert ask(as_json, form="json").accepted
    assert ask(as_json, form="python").code == "tool.parse"
    assert ask("ping()", form="json").code == "tool.parse"
    assert ask("ping()", max_chars=5).code == "tool.too_long"


def test_definitions(tmp_path: Path) -> None:
    file = tmp_path / "tools.json"
    file.write_text(json.dumps(TOOLS), encoding="utf-8")
    assert ask("ping()", tools=file).accepted
    anthropic = {"name": "f", "input_schema": {"properties": {"a": {}}}}
    assert ask("f(a=1)", tools=[anthropic]).accepted
    open_ended = {"name": "f", "parameters": {"additionalProperties": {"type": "int"}}}
    assert ask("f(b=1)", tools=[open_ended]).accepted
    assert ask("f(b='1')", tools=[open_ended]).code == "tool.type"
    required = {"name": "f", "parameters": {"properties": {"a": {"required": True}}}}
    assert ask("f()", tools=[required]).accepted


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ([], "is empty"),
        (3, "give a list"),
        ("none.json", "cannot read"),
        ([{}], r"tools\[0\]: a definition needs a name"),
        ([PING, PING], r"tools\[1\]: 'ping' is defined twice"),
        ([{"name": "f", "parameters": 3}], "give a JSON schema"),
        ([{"name": "f", "parameters": {"type": "strnig"}}], r"f: parameters: .*'string'"),
    ],
)
def test_definitions_that_are_refused(tools: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ToolCalls(tools)


def test_options_that_are_refused() -> None:
    for wrong in ({"form": "pyton"}, {"extract": "embedded"}, {"max_chars": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            ToolCalls(TOOLS, **cast("Any", wrong))


literals = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(names, st.dictionaries(names, literals, max_size=3)), min_size=1))
def test_what_python_writes_is_read_back(calls: list[tuple[str, dict[str, Any]]]) -> None:
    written = (
        f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
        for name, arguments in calls
    )
    assert parse_calls(f"[{', '.join(written)}]") == calls


@settings(max_examples=300, deadline=None)
@given(st.text("[](){}=,:'\"\\ \n#abc.019e+-*/_x", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(CallTextError):
        parse_calls(text)
    assert isinstance(ToolCalls(TOOLS).verify(REQUEST, Answer(text)), Verdict)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    "text",
    [
        "[" * 99_000,
        "ping(a=" + "[" * 90_000,
        "ping(a=" + "-" * 90_000 + "1)",
        "ping(a=" + "9" * 90_000 + ")",
        "ping(a=" + "*".join(["9" * 4000] * 20) + ")",
        "ping(a=" + "9*" * 45_000 + "9)",
        "ping(a='" + "\\" * 90_000,
        "ping(a=" + '"""' * 30_000,
        "ping(a=" + "'" * 90_000,
        "a." * 49_000,
        "\\_" * 49_000,
        "#" * 99_000,
        "ping(),\n" * 12_000,
        "ping(a='\0\u202e\u2066\ud800')",
        '[{"name": "ping", "arguments": ' + "[" * 90_000,
        "x" * 10_000_000,
    ],
    ids=range(16),
)
@pytest.mark.anyio
async def test_hostile_text_gets_its_verdict_soon(text: str) -> None:
    began = perf_counter()
    found = ToolCalls(TOOLS).verify(REQUEST, Answer(text))
    verdict = await found if inspect.isawaitable(found) else found
    assert isinstance(verdict, Verdict)
    assert verdict.outcome == "rejected"
    assert perf_counter() - began < 2
