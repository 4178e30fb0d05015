"""Why a document does not fit its schema, in sentences that a model can act on.

jsonschema writes them, held to bounds that it does not have itself: a schema like
``anyOf: [{$ref: #}, {$ref: #}]`` takes it exponential time, a pattern is matched by Python's
backtracking engine, and every message has the whole value in it. So the number of keywords
evaluated is limited, regular expressions go to jsonschema-rs, values print short, and what
jsonschema-rs alone can check in bounded time (formats, unevaluated properties) it also explains.
That the document is refused has been decided by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import jsonschema_rs

MAX_REASON = 500
_MAX_SENTENCE = 200
_MAX_VALUE = 60
_MAX_SENTENCES = 3
_MAX_ERRORS = 20
_LONG_BITS = 200

Keyword = Callable[[Any, Any, Any, Any], Iterable[Any] | None]

_steps_left: ContextVar[list[int]] = ContextVar("json_explain_steps")


@dataclass(frozen=True, slots=True)
class Explanation:
    """The sentences, and the code of the first."""

    reason: str
    code: str


_UNEXPLAINED = Explanation("the JSON does not fit its schema", "json.schema")


class _TooManyStepsError(Exception):
    """The explanation takes too long: whatever was found until now has to do."""


def load_explainer() -> None:
    """Import jsonschema (50 ms) now, and not while an event loop waits for the first reason."""
    import_module("jsonschema")


def explain(
    schema: dict[str, Any], decider: jsonschema_rs.Validator, value: Any, *, steps: int
) -> Explanation:
    """Why ``value``, which ``decider`` found not to fit ``schema``, does not fit it.

    ``steps`` is how many keywords may be evaluated for it, each some microseconds.
    """
    best_match = import_module("jsonschema").exceptions.best_match
    left = [steps]
    token = _steps_left.set(left)
    try:
        errors = _first_errors(schema, _printing_short(value))
        causes = [best_match([error]) for error in errors[:_MAX_SENTENCES]]
    except Exception:  # noqa: BLE001  # the verdict stands; at worst it has no details
        return _UNEXPLAINED
    finally:
        _steps_left.reset(token)
    if not causes or causes[0].validator is None:
        # jsonschema does not say where a `false` stands. And where it takes too long, so may the
        # error report of jsonschema-rs.
        return _UNEXPLAINED if left[0] < 0 else _explained_by(decider, value)
    sentences = dict.fromkeys(_sentence(cause) for cause in causes)
    reason = "; ".join(sentences)
    if len(errors) > _MAX_SENTENCES:
        reason += "; and more"
    return Explanation(_shorten(reason, MAX_REASON), f"json.{causes[0].validator}")


def _explained_by(decider: jsonschema_rs.Validator, value: Any) -> Explanation:
    try:
        decider.validate(value)
    except jsonschema_rs.ValidationError as error:
        path = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in error.instance_path)
        message = _shorten(error.message, _MAX_SENTENCE)
        reason = f"{_shorten(f'${path}', _MAX_VALUE)}: {message}" if path else message
        return Explanation(reason, f"json.{error.kind.name}")
    return _UNEXPLAINED


def _first_errors(schema: dict[str, Any], value: Any) -> list[Any]:
    jsonschema = import_module("jsonschema")
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    # A registry of its own: the default one would fetch what is missing.
    registry = import_module("jsonschema_specifications").REGISTRY
    errors: list[Any] = []
    try:
        for error in _bounded(kind)(schema, registry=registry).iter_errors(value):
            errors.append(error)
            if len(errors) == _MAX_ERRORS:
                break
    except _TooManyStepsError:
        pass
    return sorted(errors, key=lambda error: len(error.path))


@cache
def _bounded(kind: Any) -> Any:
    replaced: dict[str, Keyword] = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
        "format": _left_to_the_decider,
        "unevaluatedProperties": _left_to_the_decider,
        "unevaluatedItems": _left_to_the_decider,
    }
    known: dict[str, Keyword] = dict(kind.VALIDATORS)
    keywords = {name: _counted(replaced.get(name, keyword)) for name, keyword in known.items()}
    return import_module("jsonschema").validators.extend(kind, keywords)


def _counted(keyword: Keyword) -> Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[Any] | None:
        left = _steps_left.get()
        left[0] -= 1
        if left[0] < 0:
            raise _TooManyStepsError
        return keyword(validator, value, instance, schema)

    return counted


def _error(message: str) -> Any:
    return import_module("jsonschema").ValidationError(message)


@cache
def _regex(pattern: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        {"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions()
    )


def _matches(pattern: str, text: str) -> bool:
    return _regex(pattern).is_valid(str(text))


def _left_to_the_decider(_validator: Any, _value: Any, _instance: Any, _schema: Any) -> None:
    return None


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield _error(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], instance: Any, _schema: Any
) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    for pattern, schema in patterns.items():
        for key, value in instance.items():
            if _matches(pattern, key):
                yield from validator.descend(value, schema, path=key, schema_path=pattern)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: Any
) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extras = [
        key for key in instance if key not in known and not any(_matches(p, key) for p in patterns)
    ]
    if allowed is not False:
        for key in extras:
            yield from validator.descend(instance[key], allowed, path=key)
    elif extras:
        shown = ", ".join(repr(_Text(key)) for key in extras[:5])
        more = f" and {len(extras) - 5} more" if len(extras) > 5 else ""
        yield _error(f"additional properties are not allowed: {shown}{more}")


def _unique_items(_validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    # jsonschema compares each pair of objects.
    fits = not wanted or not isinstance(instance, _Array)
    if not fits and not jsonschema_rs.is_valid({"uniqueItems": True}, instance.plain):
        yield _error("the array has the same item twice")


class _Text(str):
    """A string that prints short."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _shorten(str.__repr__(str(self)), _MAX_VALUE)


class _Object(dict[str, Any]):
    def __repr__(self) -> str:
        return "the object" if self else "{}"


class _Array(list[Any]):
    def __init__(self, plain: list[Any]) -> None:
        super().__init__(_printing_short(item) for item in plain)
        self.plain = plain

    def __repr__(self) -> str:
        return "the array" if self else "[]"


class _Number(int):
    """A number whose digits would take quadratic time to print."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "the number"


def _printing_short(value: Any) -> Any:
    if isinstance(value, str):
        return _Text(value)
    if isinstance(value, dict):
        return _Object((key, _printing_short(item)) for key, item in value.items())
    if isinstance(value, list):
        return _Array(value)
    if isinstance(value, int) and value.bit_length() >= _LONG_BITS:
        return _Number(value)
    return value


def _sentence(error: Any) -> str:
    message = _shorten(error.message, _MAX_SENTENCE)
    place = error.json_path
    return message if place == "$" else f"{_shorten(place, _MAX_VALUE)}: {message}"


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
