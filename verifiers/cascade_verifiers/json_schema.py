"""`JsonSchema`: the answer is JSON of the right shape."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
from anyio import to_thread

from cascade.errors import ConfigError, nearest
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.algebra import Composable
from cascade_verifiers.extract import MAX_CHARS, Extract, check_extract, json_text
from cascade_verifiers.json_text import JsonTextError, parse_json
from cascade_verifiers.json_types import ConversionError, read_source

INLINE_CHARS = 20_000
"""Answers longer than this are checked in a worker thread, off the event loop."""

INLINE_EXPLAIN_CHARS = 4_000
_INLINE_STEPS, _THREAD_STEPS = 2_000, 50_000

_MASK = "the value"
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


class JsonSchema(Composable):
    """Accepts an answer that is JSON and fits a schema; ``parsed`` is its value.

    Args:
        schema: a dict, the path of a ``.json`` file, a pydantic model, a dataclass, a TypedDict,
            a msgspec Struct, or ``"package.module:Type"`` naming one. From a type, ``parsed`` is
            an instance of it.
        extract: where the JSON may stand. ``"strict"``: it is the whole answer. ``"fence"``: or
            the content of its only code fence. ``"embedded"``: or the only object (without
            objects, the only array) in prose.
        formats: whether ``format`` is checked too, or only describes, as in the standard.
        max_chars: longer answers are rejected unread.

    Regular expressions in the schema run in a linear-time engine, so look-around and
    back-references are refused. References must lead to places within the schema.

    Raises:
        ConfigError: the schema cannot be read or is none; the message has the place in it.
    """

    cost_class = "cpu"

    def __init__(
        self,
        schema: Mapping[str, Any] | str | Path | type[Any],
        *,
        extract: Extract = "embedded",
        formats: bool = False,
        max_chars: int = MAX_CHARS,
    ) -> None:
        check_extract(extract, ("strict", "fence", "embedded"))
        if max_chars < 1:
            raise ConfigError(f"max_chars={max_chars!r}: needs a whole number above 0")
        self._source = read_source(schema)
        self._extract: Extract = extract
        self._max_chars = max_chars
        self._validator = _compile(self._source.schema, formats=formats)

    @property
    def schema(self) -> Mapping[str, Any]:
        """The schema, wherever it came from."""
        return self._source.schema

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict; awaitable where it takes long enough to go to a worker thread."""
        text = answer.text
        if len(text) > self._max_chars:
            reason = f"the answer is longer than {self._max_chars:,} characters"
            return Verdict.reject(reason, code="json.too_long", repairable=True)
        if len(text) > INLINE_CHARS:
            return to_thread.run_sync(self._judge_whole, text)
        verdict, value = self._judge(text)
        if verdict is not None:
            return verdict
        if len(text) > INLINE_EXPLAIN_CHARS:
            return to_thread.run_sync(self._refuse, value)
        return self._refuse(value, steps=_INLINE_STEPS)

    def response_format(self) -> Mapping[str, Any]:
        """The schema as a chat-completions ``response_format``."""
        schema = self._source.schema
        return {
            "type": "json_schema",
            "json_schema": {
                "name": self._source.name,
                "schema": schema,
                "strict": _closed(schema),
            },
        }

    def _judge_whole(self, text: str) -> Verdict:
        verdict, value = self._judge(text)
        return self._refuse(value) if verdict is None else verdict

    def _judge(self, text: str) -> tuple[Verdict | None, Any]:
        """The verdict; or None and the value, when why it does not fit is to be explained."""
        found = json_text(text, self._extract)
        if found is None:
            return _reject("the answer must have exactly one JSON value in it", "parse"), None
        try:
            value = parse_json(found)
        except JsonTextError as error:
            return _reject(str(error), "parse"), None
        if not self._validator.is_valid(value):
            return None, value
        if self._source.convert is not None:
            try:
                value = self._source.convert(found)
            except ConversionError as error:
                return _reject(str(error), "type_conversion"), None
        return Verdict.accept(parsed=value, text=None if found == text else found), None

    def _refuse(self, value: Any, *, steps: int = _THREAD_STEPS) -> Verdict:
        from cascade_verifiers.json_explain import explain

        why = explain(self._source.schema, self._validator, value, steps=steps)
        return Verdict.reject(why.reason, code=why.code, repairable=True)

    def __repr__(self) -> str:
        return f"JsonSchema({self._source.name})"


def _reject(reason: str, code: str) -> Verdict:
    return Verdict.reject(reason[:500], code=f"json.{code}", repairable=True)


def _compile(schema: dict[str, Any], *, formats: bool) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(
            schema,
            validate_formats=formats,
            pattern_options=jsonschema_rs.RegexOptions(),
            mask=_MASK,
            offline=True,
        )
    except jsonschema_rs.ValidationError as error:
        raise ConfigError(_invalid(schema, error)) from None
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise ConfigError(f"schema: not a JSON schema: {error}") from None


def _invalid(schema: Any, error: jsonschema_rs.ValidationError) -> str:
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.instance_path)
    where = f"schema: at ${place}: " if place else "schema: "
    for step in error.instance_path:
        schema = schema[step]
    shown = f"{schema!r:.80}"
    outside = re.search(r"Resource '([^']*)' is not present", error.message)
    if outside:
        return f"{where}$ref {outside[1]!r} leads out of the schema, and nothing is fetched"
    if error.message.endswith('is not a "regex"'):
        return (
            f"{where}{shown} is no regular expression that runs in linear time "
            "(look-around and back-references do not)"
        )
    if error.instance_path[-1:] == ["type"]:
        return f"{where}{shown} is no JSON type: {nearest(str(schema), _TYPES)}"
    return f"{where}{error.message.replace(_MASK, shown)[:300]}"


def _closed(schema: object) -> bool:
    """Whether every object says what it has and has nothing else: what ``strict`` requires."""
    if isinstance(schema, list):
        return all(_closed(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        named = set(schema.get("properties", ()))
        if schema.get("additionalProperties") is not False:
            return False
        if named != set(schema.get("required", ())):
            return False
    return all(_closed(value) for key, value in schema.items() if key not in ("enum", "const"))
