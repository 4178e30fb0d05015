"""`JsonSchema.prefix`: what can be known of an answer that has only begun."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.json_schema import JsonSchema
from cascade_verifiers.prefix import AnyRejects, Growing, next_check, open_prefix

REQUEST = Request.of("a question")
TICKET = {
    "type": "object",
    "properties": {
        "label": {"enum": ["billing", "technical"]},
        "kind": {"const": "ticket"},
        "urgency": {"type": "integer", "maximum": 5},
        "note": {"type": "string", "maxLength": 10},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "who": {"$ref": "#/$defs/person"},
    },
    "required": ["label", "urgency"],
    "additionalProperties": False,
    "$defs": {"person": {"type": "object", "properties": {"age": {"type": "number"}}}},
}


@pytest.mark.parametrize(
    ("begun", "code", "reason"),
    [
        ('{"label": "bill', None, ""),
        ('{"label": "bo', "json.enum", "$.label: 'bo' is not one of ['billing', 'technical']"),
        ('{"label": 3,', "json.enum", "$.label: 3 is not one of ['billing', 'technical']"),
        ('{"label": 3', None, ""),
        ('{"label": {', "json.enum", ""),
        ('{"kind": "tick', None, ""),
        ('{"kind": "tock', "json.enum", "$.kind: 'tock' is not one of ['ticket']"),
        ('{"urgency": "h', "json.type", "$.urgency: 'h' is not of type 'integer'"),
        ('{"urgency": 6', None, ""),  # 6e-1 may follow
        ('{"urgency": 6}', "json.required", ""),  # finished: nothing more can come
        ('{"urgency": 6, ', "json.maximum", "$.urgency: 6 is greater than the maximum of 5"),
        ('{"note": "0123456789', None, ""),
        ('{"note": "0123456789a', "json.maxLength", "$.note: '0123456789a' is too long"),
        ('{"tags": ["a", "b", ', None, ""),
        ('{"tags": ["a", "b", "', "json.maxItems", "$.tags: the array is too long"),
        ('{"tags": [1,', "json.type", "$.tags[0]: 1 is not of type 'string'"),
        ('{"colour": ', None, ""),
        ('{"colour": "', "json.additionalProperties", ""),
        ('{"who": {"age": "', "json.type", "$.who.age: '' is not of type 'number'"),
        ("{'label", "json.parse", ""),
        ('{"label" "', "json.parse", ""),
        ('{"label": billing', "json.parse", ""),
        ('{"tags": ["a"}', "json.parse", ""),
        ('{"tags": ["a",]', "json.parse", ""),
        ('{"note": "a\nb', "json.parse", ""),
        ("I think", "json.parse", "the answer is not valid JSON: it begins like no JSON"),
        ("nu", None, ""),
        ("no", "json.parse", ""),
        ('{"label": "billing", "urgency": 1}\n', None, ""),
        ('{"label": "billing", "urgency": 1}\nHope', "json.parse",
         "the answer goes on after its JSON"),
        ('{"label": "billing", "label": "billing", "urgency": 1}', "json.parse", ""),
        ('{"who": ' + '{"a":' * 130, "json.parse", ""),
        ('{"note": "\\ud83d', None, ""),
        ('{"note": "\\ud83d\\ude0', None, ""),
        ('{"note": "\\ud83dx', "json.parse", ""),
        ('{"note": "\\', None, ""),
        ("", None, ""),
        (" \n", None, ""),
    ],
)  # fmt: skip
def test_what_can_be_known(begun: str, code: str | None, reason: str) -> None:
    found = JsonSchema(TICKET, extract="strict").prefix(begun)
    if code is None:
        assert found is None
        return
    assert found is not None
    assert (found.outcome, found.code, found.repairable) == ("rejected", code, True)
    assert reason in found.reason
    assert "\ufdd0" not in found.reason


def rejected(text: str, **options: Any) -> bool:
    return JsonSchema(TICKET, **options).prefix(text) is not None


@pytest.mark.parametrize("extract", ["fence", "embedded"])
def test_where_prose_is_allowed_only_json_that_comes_first_is_held_to(extract: str) -> None:
    for begun in ('{"label": "no', '```json\n{"label": "no', '```\n\n{ "label": "no'):
        assert rejected(begun, extract=extract)
    for begun in (
        "I think",
        'It is {"label": "no',
        "```sh\nls {",
        "[1] says",
        "```json",
        "{",
        "42",
    ):
        assert not rejected(begun, extract=extract)
    good = '{"label": "billing", "urgency": 1}'
    assert rejected(good + " Hope this helps", extract=extract) is (extract == "fence")
    assert rejected(f"```json\n{good}\nHope", extract=extract) is (extract == "fence")
    assert not rejected(f"```json\n{good}\n``` Hope this helps", extract=extract)


def test_prose_may_be_bounded() -> None:
    for text, late in (
        ("Well, it is so that", True),
        ('Well: {"label": "billing", "urgency": 1}', False),
        ('Well, it is so: {"label": "billing", "urgency": 1}', True),
        ("true", False),
        ("       ", False),
    ):
        found = JsonSchema(TICKET, max_prose=8).prefix(text)
        assert (found is not None) is late
        verdict = JsonSchema(TICKET, max_prose=8).verify(REQUEST, Answer(text))
        assert isinstance(verdict, Verdict)
        assert (verdict.code == "json.prose") is late
        assert found is None or found.code == "json.prose"


def test_what_is_repaired_is_not_lost() -> None:
    assert not rejected("{'label': 3, ", extract="strict", repair="syntax")
    assert rejected("{" * 11, extract="strict", repair="syntax", max_chars=10)


def test_too_long_is_known_at_once() -> None:
    check = JsonSchema(TICKET, max_chars=20).open_prefix()
    assert check.feed("Well " * 4) is None
    found = check.feed("!")
    assert found is not None
    assert found.code == "json.too_long"
    assert check.feed("more") == found


def test_a_check_looks_again_when_the_answer_has_grown_by_a_quarter() -> None:
    looked: list[int] = []

    def prefix(text: str) -> Verdict | None:
        looked.append(len(text))
        return Verdict.reject("long") if len(text) > 500 else None

    check = Growing(prefix)
    found = [check.feed("abcd") for _ in range(200)]
    assert looked[:3] == [16, 32, 48]
    assert all(b <= max(a + 16, a * 5 // 4) + 4 for a, b in pairwise(looked))
    assert sum(looked) < 5 * max(looked) + 100
    assert found[-1] is not None
    assert looked[-1] * 4 // 5 <= 500
    assert next_check(1000) == 1250


def test_what_offers_a_prefix_can_be_opened() -> None:
    class Short:
        def prefix(self, text: str) -> Verdict | None:
            return Verdict.reject("short") if len(text) > 20 else None

    assert open_prefix(object()) is None
    short, schema = open_prefix(Short()), open_prefix(JsonSchema(TICKET))
    assert short is not None
    assert schema is not None
    check = AnyRejects([schema, short])
    assert check.feed("a" * 16) is None
    found = check.feed("a" * 16)
    assert found is not None
    assert found.reason == "short"
