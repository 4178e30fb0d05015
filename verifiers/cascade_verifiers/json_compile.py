"""Making a schema ready: its draft, its validity, its validator."""

from __future__ import annotations

import re
from typing import Any, Literal

import jsonschema_rs

from cascade.errors import ConfigError, nearest

Draft = Literal["4", "6", "7", "2019-09", "2020-12"]

_DRAFTS = {
    "4": "http://json-schema.org/draft-04/schema#",
    "6": "http://json-schema.org/draft-06/schema#",
    "7": "http://json-schema.org/draft-07/schema#",
    "2019-09": "https://json-schema.org/draft/2019-09/schema",
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
}
_MASK = "the value"
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


def with_draft(schema: dict[str, Any], draft: Draft | None) -> dict[str, Any]:
    """The schema with its draft written in it.

    Raises:
        ConfigError: there is no such draft, or the schema says another.
    """
    if draft is None:
        return schema
    if draft not in _DRAFTS:
        raise ConfigError(f"draft={draft!r}: {nearest(str(draft), _DRAFTS)}")
    said = schema.get("$schema")
    if said is not None and str(said).rstrip("#") != _DRAFTS[draft].rstrip("#"):
        raise ConfigError(f"draft={draft!r}: the schema itself says {said!r}")
    return {"$schema": _DRAFTS[draft], **schema}


def compile_schema(schema: dict[str, Any], *, formats: bool) -> jsonschema_rs.Validator:
    """What decides whether a value fits ``schema``.

    Raises:
        ConfigError: it is no schema; the message has the place in it.
    """
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


def closed(schema: object) -> bool:
    """Whether every object says what it has and has nothing else: what ``strict`` requires."""
    if isinstance(schema, list):
        return all(closed(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        named = set(schema.get("properties", ()))
        if schema.get("additionalProperties") is not False:
            return False
        if named != set(schema.get("required", ())):
            return False
    return all(closed(value) for key, value in schema.items() if key not in ("enum", "const"))
