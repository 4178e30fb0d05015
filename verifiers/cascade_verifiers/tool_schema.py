"""One function that a model may call, and whether arguments fit it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cascade.errors import ConfigError, nearest
from cascade_verifiers.json_compile import compile_schema
from cascade_verifiers.json_explain import explain

_STEPS = 2_000
# The types of Python, Java and JavaScript that function definitions use; JSON's own by themselves.
# fmt: off
_TYPES: dict[str, str | None] = {
    "any": None, "arraylist": "array", "bool": "boolean", "byte": "integer", "char": "string",
    "dict": "object", "double": "number", "float": "number", "hashmap": "object",
    "hashtable": "object", "int": "integer", "list": "array", "long": "integer", "none": "null",
    "queue": "array", "set": "array", "short": "integer", "stack": "array", "str": "string",
    "tuple": "array",
    "array": "array", "boolean": "boolean", "integer": "integer", "null": "null",
    "number": "number", "object": "object", "string": "string",
}
# fmt: on
_ONE = ("additionalProperties", "items", "not", "contains", "propertyNames")
_MANY = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "patternProperties", "properties")


class ToolError(ValueError):
    """The arguments do not fit; ``code`` says in what way."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code


class Tool:
    """A function's definition, made ready.

    Raises:
        ConfigError: it has no name, or its parameters are no schema; the message has the place.
    """

    def __init__(self, definition: object, *, where: str) -> None:
        if isinstance(definition, Mapping) and isinstance(definition.get("function"), Mapping):
            definition = definition["function"]
        if not isinstance(definition, Mapping) or not isinstance(definition.get("name"), str):
            raise ConfigError(f"{where}: a definition needs a name, as in chat completions")
        self.name: str = definition["name"]
        parameters = definition.get("parameters", definition.get("input_schema")) or {}
        if not isinstance(parameters, Mapping):
            raise ConfigError(f"{where}: parameters: give a JSON schema")
        self.schema = _mapped(parameters)
        self._known = set(self.schema.get("properties", ()))
        self._open = "additionalProperties" in self.schema or "patternProperties" in self.schema
        self._required = [name for name in self.schema.get("required", ()) if name in self._known]
        try:
            self._validator = compile_schema(self.schema, formats=False)
        except ConfigError as error:
            raise ConfigError(f"{where}: {self.name}: parameters: {error}") from None

    def check(self, arguments: dict[str, Any]) -> None:
        """Refuse arguments that do not fit.

        Raises:
            ToolError: an argument is unknown, missing, or of another kind.
        """
        for name in () if self._open else arguments.keys() - self._known:
            hint = nearest(name[:80], sorted(self._known)) if self._known else "it takes none"
            raise ToolError(f"there is no argument {name[:80]!r}: {hint}", "unknown_argument")
        for name in self._required:
            if name not in arguments:
                raise ToolError(f"the argument {name!r} is missing", "missing_argument")
        if not self._validator.is_valid(arguments):
            why = explain(self.schema, self._validator, arguments, steps=_STEPS)
            raise ToolError(why.reason, why.code.removeprefix("json."))


def _mapped(schema: Any) -> Any:
    """The schema with its types in JSON's words, and without what is no keyword."""
    if not isinstance(schema, Mapping):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "type":
            kept = _type(value)
            if kept is not None:
                found[key] = kept
        elif key == "required" and not isinstance(value, list):
            continue  # ``required: true`` on the argument itself
        elif key in _NAMED and isinstance(value, Mapping):
            found[key] = {name: _mapped(inner) for name, inner in value.items()}
        elif key in _MANY and isinstance(value, list):
            found[key] = [_mapped(inner) for inner in value]
        elif key in _ONE:
            found[key] = _mapped(value)
        else:
            found[key] = value
    return found


def _type(value: Any) -> Any:
    if isinstance(value, list):
        names = [_type(name) for name in value]
        return None if None in names else list(dict.fromkeys(names))
    return _TYPES.get(value.lower(), value) if isinstance(value, str) else value
