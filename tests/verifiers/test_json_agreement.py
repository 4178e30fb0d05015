"""`JsonSchema` decides as jsonschema does, whatever the schema and the value."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.json_schema import JsonSchema

REQUEST = Request.of("a question")


def ask(schema: Any, text: str, **options: Any) -> Verdict:
    verdict = JsonSchema(schema, **options).verify(REQUEST, Answer(text))
    assert isinstance(verdict, Verdict)
    return verdict


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from((0.5, 2.0, "", "a", "ab", "1")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)
types = st.sampled_from(("null", "boolean", "integer", "number", "string", "array", "object"))
keywords = st.one_of(
    st.fixed_dictionaries({"type": types | st.lists(types, min_size=1, max_size=3, unique=True)}),
    st.fixed_dictionaries({"enum": st.lists(values, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"const": values}),
    st.fixed_dictionaries({"minimum": st.integers(-3, 3), "multipleOf": st.sampled_from((1, 2))}),
    st.fixed_dictionaries({"minLength": st.integers(0, 2), "pattern": st.sampled_from("ab")}),
    st.fixed_dictionaries({"minItems": st.integers(0, 2), "uniqueItems": st.booleans()}),
    st.fixed_dictionaries({"required": st.lists(st.sampled_from("abc"), unique=True)}),
    st.fixed_dictionaries({"propertyNames": st.just({"pattern": "^[ab]$"})}),
)
schemas = st.recursive(
    keywords,
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {
                "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
                "patternProperties": st.dictionaries(st.sampled_from(("^a", "b$")), inner),
                "additionalProperties": st.booleans() | inner,
            }
        ),
        st.fixed_dictionaries({"items": inner, "contains": inner}),
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"if": inner, "then": inner, "else": inner}),
        *(
            st.fixed_dictionaries({key: st.lists(inner, min_size=1, max_size=3)})
            for key in ("allOf", "anyOf", "oneOf")
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(schemas, values)
def test_agrees_with_jsonschema(schema: dict[str, Any], value: Any) -> None:
    verdict = ask(schema, json.dumps(value), extract="strict")
    # Not an import statement: jsonschema ships no types, and no test needs them.
    reference = import_module("jsonschema").Draft202012Validator
    errors = list(reference(schema).iter_errors(value))
    assert verdict.accepted is (not errors)
    if errors:
        assert verdict.reason
        assert verdict.code != "json.schema"
    else:
        assert verdict.parsed == value
