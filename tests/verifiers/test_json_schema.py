"""`JsonSchema`: where the JSON may stand, what fits, and the reasons why not."""

from __future__ import annotations

import dataclasses
import json
from datetime import date
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.json_schema import JsonSchema

REQUEST = Request.of("a question")
POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "maximum": 9}},
    "required": ["x"],
    "additionalProperties": False,
}


def ask(schema: Any, text: str, **options: Any) -> Verdict:
    verdict = JsonSchema(schema, **options).verify(REQUEST, Answer(text))
    assert isinstance(verdict, Verdict)
    return verdict


BARE = '{"x": 1}'
FENCED = 'Here it is:\n```json\n{"x": 1}\n```\nAnything else?'
INLINE = '```json {"x": 1}```'
UNCLOSED = '```\n{"x": 1}\n'
PROSE = 'As in [1], the answer is {"x": 1}.'


@pytest.mark.parametrize(
    ("text", "found_by"),
    [
        (BARE, ("strict", "fence", "embedded")),
        (f"\n {BARE}\n", ("strict", "fence", "embedded")),
        (f"\ufeff{BARE}", ("strict", "fence", "embedded")),
        (FENCED, ("fence", "embedded")),
        (INLINE, ("fence", "embedded")),
        (UNCLOSED, ("fence", "embedded")),
        ('```json\n{"x": 1}\n```</s></s>', ("embedded",)),
        (PROSE, ("embedded",)),
        ('```sh\nrun [it]\n```\n```json\n{"x": 1}\n```', ("embedded",)),
        ('{"x": 1} or {"x": 2}', ()),
        ('Either {"x": 1} or {"x": 2}.', ()),
        ("no JSON here", ()),
        ('It is {"y": {"x": 1}, oops}.', ()),
        ('It is {"y": {"x": 1}', ()),
        ("", ()),
    ],
)
@pytest.mark.parametrize("extract", ["strict", "fence", "embedded"])
def test_where_the_json_may_stand(text: str, found_by: tuple[str, ...], extract: str) -> None:
    verdict = ask(POINT, text, extract=extract)
    assert verdict.accepted is (extract in found_by)
    if verdict.accepted:
        assert verdict.parsed == {"x": 1}
        assert verdict.text == (None if text == BARE else BARE)
    else:
        assert verdict.code == "json.parse"
        assert verdict.repairable


def test_a_fence_inside_a_string_is_no_fence() -> None:
    verdict = ask({"type": "object"}, '```json\n{"x": "```\\n```"}\n```')
    assert verdict.parsed == {"x": "```\n```"}


def test_prose_with_only_an_array_and_scalars() -> None:
    assert ask({"type": "array"}, "They are [1, 2] in total.").parsed == [1, 2]
    assert ask({"type": "integer"}, " 42 ").parsed == 42
    assert ask({"type": "string"}, '"yes"').parsed == "yes"
    assert not ask({"type": "integer"}, "It is 42.").accepted


@pytest.mark.parametrize(
    ("schema", "value", "code", "reason"),
    [
        ({"type": "integer"}, "1", "json.type", "'1' is not of type 'integer'"),
        (POINT, {"y": 1}, "json.required", "'x' is a required property"),
        (POINT, {"x": 1, "y": 10}, "json.maximum", "$.y: 10 is greater than the maximum of 9"),
        (
            POINT, {"x": 1, "z": 2}, "json.additionalProperties",
            "additional properties are not allowed: 'z'",
        ),
        ({"enum": ["a", "b"]}, "c", "json.enum", "'c' is not one of ['a', 'b']"),
        ({"pattern": "^a"}, "b", "json.pattern", "'b' does not match '^a'"),
        (
            {"items": {"properties": {"a": {"type": "null"}}}}, [{}, {"a": 1}], "json.type",
            "$[1].a: 1 is not of type 'null'",
        ),
        (
            {"anyOf": [{"type": "integer"}, {"type": "object", "required": ["a"]}]}, {},
            "json.required", "'a' is a required property",
        ),
        ({"uniqueItems": True}, [1, 1], "json.uniqueItems", "the array has the same item twice"),
        (
            {"unevaluatedProperties": False}, {"a": 1}, "json.unevaluatedProperties",
            "Unevaluated properties are not allowed ('a' was unexpected)",
        ),
        ({"properties": {"a": False}}, {"a": 1}, "json.falseSchema",
         "$.a: False schema does not allow the value"),
    ],
)  # fmt: skip
def test_reasons_and_codes(schema: Any, value: Any, code: str, reason: str) -> None:
    verdict = ask(schema, json.dumps(value))
    assert (verdict.outcome, verdict.code, verdict.repairable) == ("rejected", code, True)
    assert verdict.reason == reason


def test_several_reasons_are_joined_and_bounded() -> None:
    verdict = ask(POINT, json.dumps({"y": "many " * 300, "z" * 1000: 1, "w": 2}))
    assert verdict.reason.startswith("'x' is a required property; additional properties")
    assert len(verdict.reason) <= 500


def test_formats_only_where_asked_for() -> None:
    schema = {"properties": {"mail": {"format": "email"}}}
    assert ask(schema, '{"mail": "nobody"}').accepted
    verdict = ask(schema, '{"mail": "nobody"}', formats=True)
    assert (verdict.code, verdict.reason) == (
        "json.format", '$.mail: the value is not a "email"',
    )  # fmt: skip


def test_drafts_differ() -> None:
    old = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3,
           "exclusiveMinimum": True}  # fmt: skip
    assert ask(old, "3").code == "json.minimum"
    assert ask({"exclusiveMinimum": 3}, "3").code == "json.exclusiveMinimum"


def test_the_draft_may_be_given() -> None:
    schema = {"minimum": 3, "exclusiveMinimum": True}
    assert ask(schema, "3", draft="4").code == "json.minimum"
    assert ask({"const": 3}, "4", draft="4").accepted  # draft 4 has no const
    assert ask({"const": 3}, "4", draft="6").code == "json.const"
    assert JsonSchema(POINT, draft="7").response_format()["json_schema"]["schema"] == POINT
    said = {"$schema": "http://json-schema.org/draft-07/schema"}
    assert ask(said, "4", draft="7").accepted
    with pytest.raises(ConfigError, match="the schema itself says"):
        JsonSchema(said, draft="6")
    with pytest.raises(ConfigError, match=r"draft='2020'.*2020-12"):
        JsonSchema({}, draft="2020")  # type: ignore[arg-type]


def test_a_schema_may_be_true_or_false() -> None:
    assert ask(True, "[]").accepted
    assert ask(False, "[]").code == "json.not"


def test_what_begins_with_json_is_taken_at_its_word() -> None:
    good = '{"x": 1}'
    for first in ('{"x": "1"', '{"y": 1, "y": 2}', '```json\n{"x": oops}\n```\n'):
        assert not ask(POINT, f"{first} or rather {good}").accepted
    assert ask(POINT, f"{good} is the answer").parsed == {"x": 1}
    assert ask(POINT, f"[1] says {good}").parsed == {"x": 1}


class Line(pydantic.BaseModel):
    sku: str
    day: date
    count: int = pydantic.Field(ge=1)

    @pydantic.field_validator("sku")
    @classmethod
    def upper(cls, value: str) -> str:
        if not value.isupper():
            raise ValueError("must be in capitals")
        return value


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Shape(msgspec.Struct):
    points: list[Point]
    name: str | None = None


class Named(TypedDict):
    name: str


def test_a_pydantic_model() -> None:
    verdict = ask(Line, '{"sku": "A1", "day": "2024-03-05", "count": 2}')
    assert verdict.parsed == Line(sku="A1", day=date(2024, 3, 5), count=2)
    assert ask(Line, '{"sku": "A1", "day": "2024-03-05", "count": 0}').code == "json.minimum"
    verdict = ask(Line, '{"sku": "a1", "day": "2024-03-05", "count": 1}')
    assert verdict.code == "json.type_conversion"
    assert verdict.reason == "$.sku: Value error, must be in capitals"
    assert "a1" not in verdict.reason


def test_dataclass_struct_and_typed_dict() -> None:
    assert ask(Point, '{"x": 1}').parsed == Point(1)
    assert ask(Shape, '{"points": [{"x": 1, "y": 2}]}').parsed == Shape([Point(1, 2)])
    assert ask(Named, '{"name": "a"}').parsed == {"name": "a"}
    assert ask(Shape, '{"points": [{"y": 2}]}').reason == "$.points[0]: 'x' is a required property"


def test_a_file_and_a_named_type(tmp_path: Path) -> None:
    file = tmp_path / "point.schema.json"
    file.write_text(json.dumps(POINT), encoding="utf-8")
    for path in (file, str(file)):
        assert ask(path, BARE).accepted
    assert JsonSchema(file).response_format()["json_schema"]["name"] == "point"
    assert ask("msgspec:Struct", "{}").accepted
    broken = tmp_path / "broken.json"
    broken.write_text("{", encoding="utf-8")
    for wrong, message in (
        (tmp_path / "none.json", "cannot read"),
        (broken, "is not valid JSON"),
    ):
        with pytest.raises(ConfigError, match=message):
            JsonSchema(wrong)


def test_response_format() -> None:
    wanted = JsonSchema({"title": "A point!", **POINT}).response_format()
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["name"] == "A_point"
    # `y` may be missing, which the strict mode of providers does not know.
    assert wanted["json_schema"]["strict"] is False
    closed = {**POINT, "required": ["x", "y"]}
    assert JsonSchema(closed).response_format()["json_schema"]["strict"] is True
    # From a type, the root is at the top and not behind a reference.
    schema = JsonSchema(Shape).response_format()["json_schema"]["schema"]
    assert schema["type"] == "object"
    assert "Point" in schema["$defs"]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"properties": {"a": {"type": "strnig"}}}, r"\$\.properties\.a\.type.*'string'"),
        ({"required": "a"}, r"\$\.required"),
        ({"properties": {"a": {"pattern": "(?=x)"}}}, r"\$\.properties\.a\.pattern.*linear"),
        ({"$ref": "https://example.org/schema.json"}, "leads out of the schema"),
        ({"$ref": "file:///etc/passwd"}, "leads out of the schema"),
        ({"$ref": "other.json"}, "leads out of the schema"),
        ({"$ref": "#/$defs/none"}, "none"),
        ({"$schema": "https://example.org/draft"}, "example.org"),
        ({"const": {1, 2}}, "not a JSON schema"),
        (3, "got 3"),
        (int, "int"),
        ("os:path", "module"),
    ],
)
def test_invalid_schemas_are_refused_at_once(schema: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^schema: .*{message}"):
        JsonSchema(schema)


def test_invalid_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^extract='fences': did you mean 'fence'"):
        JsonSchema({}, extract="fences")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^max_chars=0"):
        JsonSchema({}, max_chars=0)
    with pytest.raises(ConfigError, match=r"^max_prose=-1"):
        JsonSchema({}, max_prose=-1)
    with pytest.raises(ConfigError, match=r"^max_prose=3: would do nothing"):
        JsonSchema({}, max_prose=3, extract="strict")


def test_only_the_length_of_a_too_long_answer_is_looked_at() -> None:
    assert ask(POINT, BARE, max_chars=5).code == "json.too_long"
