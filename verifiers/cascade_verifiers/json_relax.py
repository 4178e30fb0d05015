"""What of a schema the beginning of a document must fit, too.

The beginning of a document, its open brackets closed and what is not finished left out, is a
document itself. `relaxed` gives a schema that every such beginning of a valid document fits: what
more text may put right (``required``, ``minItems``, ``not``, …) is left out of it, what it cannot
(a type, an unknown key, a maximum) stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cascade.errors import ConfigError

MARK = "\ufdd0"
"""Begins the string that was being written when the text ended. A character that Unicode keeps
free for such uses; a finished string that begins with it is held to less, never to more."""

_MOST_LETTERS, _LONGEST = 5_000, 200
_BEGUN: dict[str, Any] = {"type": "string", "pattern": f"^{MARK}"}

_KEPT = frozenset(
    ("$schema", "$id", "id", "$anchor", "$ref", "$dynamicRef", "$dynamicAnchor", "$recursiveRef",
     "$recursiveAnchor", "type", "maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum",
     "multipleOf", "maxItems", "maxProperties")
)  # fmt: skip
_PLACES = frozenset(("$id", "id", "$ref", "$dynamicRef", "$recursiveRef"))
_META = "json-schema.org"
_SCHEMA = frozenset(("additionalProperties", "additionalItems", "items", "propertyNames"))
_SCHEMAS = frozenset(("allOf", "anyOf", "prefixItems", "items"))
_NAMED = frozenset(("$defs", "definitions", "properties", "patternProperties"))
_OF_STRINGS = ("minLength", "maxLength", "pattern", "format")


def relaxed(schema: Any, *, marked: bool) -> Any:
    """The schema of beginnings. ``marked``: of those whose last string may begin with `MARK`.

    Places in it stay where they were, as far as they stay, so that references still lead there.

    Raises:
        ConfigError: there is none for this schema.
    """
    return _Relaxer(marked).relax(schema)


@dataclass(frozen=True, slots=True)
class _Relaxer:
    marked: bool
    has_const: bool = True

    def relax(self, schema: Any) -> Any:
        if not isinstance(schema, dict):
            return schema
        if self.has_const and "draft-04" in str(schema.get("$schema")):
            return _Relaxer(self.marked, has_const=False).relax(schema)
        found: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _PLACES and _META in str(value):
                if key in ("$id", "id"):
                    raise ConfigError("a schema in the place of a meta-schema")
                # A meta-schema comes with the validator, whole: it is not asked of beginnings.
            elif key in _KEPT:
                found[key] = value
            elif key in _NAMED and isinstance(value, dict):
                found[key] = {name: self.relax(inner) for name, inner in value.items()}
            elif key in _SCHEMAS and isinstance(value, list):
                found[key] = [self.relax(inner) for inner in value]
            elif key in _SCHEMA:
                found[key] = self.relax(value)
        further = self._further(schema)
        if further:
            found["allOf"] = [*found.get("allOf", ()), *further]
        return found

    def _further(self, schema: dict[str, Any]) -> list[Any]:
        """What the keywords ask that cannot stay as they are."""
        further: list[Any] = []
        if isinstance(schema.get("oneOf"), list):
            # Which one it is may show later.
            further.append({"anyOf": [self.relax(inner) for inner in schema["oneOf"]]})
        if "const" in schema and self.has_const:
            further.append(self._one_of([schema["const"]]))
        if isinstance(schema.get("enum"), list):
            further.append(self._one_of(schema["enum"]))
        of_strings = {key: schema[key] for key in _OF_STRINGS if key in schema}
        if of_strings and self.marked:
            begun = dict(_BEGUN)
            if "maxLength" in schema:
                begun["maxLength"] = schema["maxLength"] + len(MARK)
            further.append({"anyOf": [of_strings, begun]})
        elif of_strings:
            further.append(of_strings)
        return further

    def _one_of(self, values: list[Any]) -> Any:
        whole = [value for value in values if not isinstance(value, dict | list)]
        if not self.marked and len(whole) == len(values):
            return {"enum": values}
        choices: list[Any] = [{"enum": whole}] if whole else []
        choices.extend(
            {"type": name}
            for kind, name in ((dict, "object"), (list, "array"))
            if any(isinstance(value, kind) for value in values)
        )
        strings = [value for value in whole if isinstance(value, str)]
        if self.marked and strings:
            # All that each may begin with: a pattern would be compiled to much more.
            if sum(map(len, strings)) > _MOST_LETTERS or max(map(len, strings)) > _LONGEST:
                choices.append(_BEGUN)
            else:
                begun = {MARK + text[:end] for text in strings for end in range(len(text) + 1)}
                choices.append({"enum": sorted(begun)})
        return {"anyOf": choices} if choices else False
