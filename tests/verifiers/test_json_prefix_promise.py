"""`JsonSchema.prefix` keeps its promise: what is accepted is never refused on the way."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.json_schema import JsonSchema

REQUEST = Request.of("a question")

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 50)
    | st.floats(-5, 5, allow_nan=False)
    | st.sampled_from(
        ("", "a", "ab", 'a\\"b', "\\u", "é😀", "\ufdd0", "\ufdd0a", "{[", "```\n", "a\nb")
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("a", "b", "\ufdd0", '"')), inner, max_size=3)
    ),
    max_leaves=8,
)
types = st.sampled_from(("null", "boolean", "integer", "number", "string", "array", "object"))
keywords = st.one_of(
    st.fixed_dictionaries({"type": types | st.lists(types, min_size=1, max_size=3, unique=True)}),
    st.fixed_dictionaries({"enum": st.lists(values, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"const": values}),
    st.fixed_dictionaries({"minimum": st.integers(-3, 3), "multipleOf": st.sampled_from((1, 2))}),
    st.fixed_dictionaries({"exclusiveMaximum": st.integers(0, 30)}),
    st.fixed_dictionaries({"minLength": st.integers(0, 2), "pattern": st.sampled_from("ab")}),
    st.fixed_dictionaries({"maxLength": st.integers(0, 3)}),
    st.fixed_dictionaries({"minItems": st.integers(0, 2), "uniqueItems": st.booleans()}),
    st.fixed_dictionaries({"maxItems": st.integers(0, 2), "maxProperties": st.integers(0, 2)}),
    st.fixed_dictionaries({"required": st.lists(st.sampled_from("abc"), unique=True)}),
    st.fixed_dictionaries({"propertyNames": st.just({"pattern": "^[ab]$"})}),
    st.just({"$ref": "#/$defs/one"}),
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
        st.fixed_dictionaries(
            {"prefixItems": st.lists(inner, min_size=1, max_size=2), "items": inner}
        ),
        st.fixed_dictionaries({"items": inner, "contains": inner}),
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"if": inner, "then": inner, "else": inner}),
        st.fixed_dictionaries({"unevaluatedProperties": inner, "unevaluatedItems": inner}),
        *(
            st.fixed_dictionaries({key: st.lists(inner, min_size=1, max_size=3)})
            for key in ("allOf", "anyOf", "oneOf")
        ),
    ),
    max_leaves=6,
)
documents = st.builds(
    lambda value, indent, plain: json.dumps(value, indent=indent, ensure_ascii=plain),
    values, st.sampled_from((None, 1, 4)), st.booleans(),
)  # fmt: skip
wrappings = st.sampled_from(
    (
        "{}",
        "\n \ufeff {}\n",
        "```json\n{}\n```",
        "```\n{}\n``` So.",
        "So: {}",
        "{} So",
        "~~~\n{}\n~~~",
    )
)


@settings(max_examples=400, deadline=None)
@given(schemas, st.dictionaries(st.just("one"), keywords, min_size=1), documents, wrappings,
       st.sampled_from(("strict", "fence", "embedded")), st.booleans())  # fmt: skip
@example({"enum": ["\ufdd0a"]}, {"one": {}}, '"\ufdd0a"', "{}", "strict", True)
@example({"const": [[1, 2], [1]]}, {"one": {}}, "[[1, 2], [1]]", "{}", "strict", True)
@example({"uniqueItems": True}, {"one": {}}, "[[1], [1, 2]]", "{}", "strict", True)
def test_what_is_refused_early_is_refused_in_the_end(
    schema: dict[str, Any], defs: Any, document: str, wrapping: str, extract: Any, control: bool
) -> None:
    verifier = JsonSchema({**schema, "$defs": defs}, extract=extract, control=control)
    text = wrapping.replace("{}", document)
    final = verifier.verify(REQUEST, Answer(text))
    assert isinstance(final, Verdict)
    refused = [end for end in range(len(text) + 1) if verifier.prefix(text[:end]) is not None]
    if final.accepted:
        assert refused == []
    elif refused:
        # Once certain, it stays so.
        assert refused == list(range(refused[0], len(text) + 1))


@settings(max_examples=300, deadline=None)
@given(schemas, st.text("{}[]\",:`\n1a\\- e.tu ", max_size=30) | documents,
       st.text("{}[]\",:`\n1a ", max_size=12) | documents.map("```json\n{}\n```".format),
       st.sampled_from(("strict", "fence", "embedded")), st.booleans())  # fmt: skip
def test_no_end_saves_what_was_refused(
    schema: dict[str, Any], begun: str, rest: str, extract: Any, control: bool
) -> None:
    verifier = JsonSchema({**schema, "$defs": {"one": {}}}, extract=extract, control=control)
    final = verifier.verify(REQUEST, Answer(begun + rest))
    assert isinstance(final, Verdict)
    if final.accepted:
        assert verifier.prefix(begun) is None


@settings(max_examples=100, deadline=None)
@given(documents, st.lists(st.integers(1, 9), min_size=1, max_size=40))
def test_chunks_make_no_difference_to_accepted_answers(document: str, sizes: list[int]) -> None:
    check = JsonSchema({}, extract="strict").open_prefix()
    at = 0
    for size in sizes:
        assert check.feed(document[at : at + size]) is None
        at += size
    assert check.feed(document[at:]) is None
    assert check.look() is None


def fitting(value: Any, pick: Any) -> dict[str, Any]:
    """A schema that holds a value, and little else, to every keyword there is for it."""
    if isinstance(value, dict):
        names = list(value)
        exact = {
            "type": "object",
            "properties": {name: fitting(inner, pick) for name, inner in value.items()},
            "required": names,
            "minProperties": len(names),
            "maxProperties": len(names),
            "additionalProperties": False,
            "dependentRequired": dict.fromkeys(names, names),
            "propertyNames": {"enum": [*names, "other"]},
            "unevaluatedProperties": False,
        }
    elif isinstance(value, list):
        exact = {
            "type": "array",
            "minItems": len(value),
            "maxItems": len(value),
        }
        if value:
            items = [fitting(inner, pick) for inner in value]
            exact |= {"prefixItems": items, "items": False, "contains": items[-1]}
    elif isinstance(value, str):
        exact = {"type": "string", "minLength": len(value), "maxLength": len(value)}
    else:
        exact = {"not": {"type": ["string", "array", "object"]}}
    other = {"type": "object", "required": ["\0"]}
    wrapped: list[dict[str, Any]] = [
        exact,
        {"const": value},
        {"enum": ["none of it", value]},
        {"oneOf": [exact, other]},
        {"anyOf": [other, exact]},
        {"allOf": [exact, {"not": other}]},
        {"if": exact, "then": exact, "else": False},
    ]
    chosen: int = pick(st.integers(0, len(wrapped) - 1))
    return wrapped[chosen]


@settings(max_examples=300, deadline=None)
@given(values, st.booleans(), st.data())
def test_a_document_that_fits_closely_is_never_refused(
    value: Any, indented: bool, data: st.DataObject
) -> None:
    verifier = JsonSchema(fitting(value, data.draw), extract="strict")
    text = json.dumps(value, indent=1 if indented else None, ensure_ascii=indented)
    final = verifier.verify(REQUEST, Answer(text))
    assert isinstance(final, Verdict)
    assert final.accepted
    for end in range(len(text) + 1):
        found = verifier.prefix(text[:end])
        assert found is None, (text[:end], found.reason)
