"""`JsonSchema` on JSON that is nearly JSON: control characters, and what can be mended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cascade.errors import ConfigError, MissingExtraError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.json_schema import JsonSchema

REQUEST = Request.of("a question")
POINT = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}


def ask(schema: Any, text: str, **options: Any) -> Verdict:
    verdict = JsonSchema(schema, **options).verify(REQUEST, Answer(text))
    assert isinstance(verdict, Verdict)
    return verdict


CONTROL = '{"x": "two\nlines\tand a tab"}'


@pytest.mark.parametrize("wrap", ["{}", "```json\n{}\n```", "It is {}."])
def test_control_characters_in_strings_only_where_allowed(wrap: str) -> None:
    text = wrap.replace("{}", CONTROL)
    assert ask({"required": ["x"]}, text).code == "json.parse"
    verdict = ask({"required": ["x"]}, text, control=True)
    assert verdict.parsed == {"x": "two\nlines\tand a tab"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"x": 1,}', {"x": 1}),
        ("{'x': 1}", {"x": 1}),
        ('{"x": 1, // one\n "y": 2}', {"x": 1, "y": 2}),
        ("{x: 1}", {"x": 1}),
        ('```json\n{"x": 1,}\n```', {"x": 1}),
        ('It is {"x": 1,}, I think.', {"x": 1}),
        ('{"x": 1', None),  # cut off: what is missing is not made up
        ("no JSON", None),
        ('{"x": 1, "x": 2}', None),  # not broken, but ambiguous
        ('{"x": 1, "y": NaN}', None),
        ('{"x": "1",}', None),  # mended, and of the wrong type
        ("", None),
    ],
)
def test_syntax_is_mended_only_where_asked_for(text: str, value: Any) -> None:
    assert not ask(POINT, text).accepted
    verdict = ask(POINT, text, repair="syntax")
    assert verdict.accepted is (value is not None)
    assert verdict.parsed == value
    if value is not None:
        assert json.loads(verdict.text or "") == value
        cut = JsonSchema(POINT, repair="syntax").verify(
            REQUEST, Answer(text, finish_reason="length")
        )
        assert isinstance(cut, Verdict)
        assert not cut.accepted


@pytest.mark.anyio
async def test_long_answers_are_mended_in_another_process() -> None:
    long = f'{{"x": 1, "y": {" " * 2_000} 2,}}'
    found = JsonSchema(POINT, repair="syntax").verify(REQUEST, Answer(long))
    assert not isinstance(found, Verdict)
    assert (await found).parsed == {"x": 1, "y": 2}


def test_mending_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade_verifiers.json_repair_syntax.find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"cascade-engine\[repair\]"):
        JsonSchema(POINT, repair="syntax")
    with pytest.raises(ConfigError, match="repair='sintax'"):
        JsonSchema(POINT, repair="sintax")  # type: ignore[arg-type]
