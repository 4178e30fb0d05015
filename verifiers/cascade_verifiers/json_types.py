"""Where a JSON schema comes from: a dict, a file, or a type to which answers are converted."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, is_typeddict

from cascade.errors import ConfigError
from cascade_verifiers.making import import_object

_OBJECT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


class ConversionError(ValueError):
    """The JSON fits the schema and still makes no value of the type."""


@dataclass(frozen=True, slots=True)
class Source:
    """A schema, its name, and what turns JSON text into the type it came from, if any."""

    schema: dict[str, Any]
    name: str
    convert: Callable[[str], Any] | None = None


def read_source(schema: object) -> Source:
    """The schema that a user's ``schema`` argument stands for.

    Raises:
        ConfigError: it stands for none.
    """
    if isinstance(schema, str) and _OBJECT_PATH.fullmatch(schema):
        schema = import_object(schema)
    if isinstance(schema, bool):
        return Source({} if schema else {"not": {}}, "answer")
    if isinstance(schema, Mapping):
        return Source(dict(schema), _name(schema.get("title"), "answer"))
    if isinstance(schema, str | Path):
        return _from_file(Path(schema))
    if isinstance(schema, type):
        if callable(getattr(schema, "model_json_schema", None)):
            return _from_pydantic(schema)
        if hasattr(schema, "__struct_fields__") or dataclasses.is_dataclass(schema):
            return _from_msgspec(schema)
        if is_typeddict(schema):
            return _from_msgspec(schema)
    raise ConfigError(
        "schema: give a dict, the path of a .json file, 'package.module:Type', or a pydantic "
        f"model, dataclass, TypedDict or msgspec.Struct; got {_shown(schema)}"
    )


def _from_file(path: Path) -> Source:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"schema: cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"schema: {path} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"schema: {path} has no JSON object in it")
    stem = path.name.removesuffix(".json").removesuffix(".schema")
    return Source(found, _name(found.get("title"), stem))


def _from_pydantic(model: Any) -> Source:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        schema = cast("dict[str, Any]", model.model_json_schema())
    except PydanticUserError as error:
        raise ConfigError(f"schema: {model.__name__} has no JSON schema: {error}") from error
    validate = TypeAdapter(model).validate_json

    def convert(text: str) -> Any:
        from pydantic import ValidationError

        try:
            return validate(text)
        except ValidationError as error:
            # Without the input: the reason goes back to the model, which knows what it wrote.
            found = error.errors(include_url=False, include_context=False, include_input=False)
            sentences = (f"{_path(item['loc'])}{item['msg']}" for item in found[:3])
            raise ConversionError("; ".join(sentences)) from None

    return Source(_inline_root(schema), _name(model.__name__, "answer"), convert)


def _from_msgspec(kind: Any) -> Source:
    import msgspec

    try:
        schema = msgspec.json.schema(kind)
        decode = msgspec.json.Decoder(kind).decode
    except TypeError as error:
        raise ConfigError(f"schema: {kind.__name__} has no JSON schema: {error}") from error

    def convert(text: str) -> Any:
        try:
            return decode(text)
        except msgspec.MsgspecError as error:
            raise ConversionError(str(error)) from None

    return Source(_inline_root(schema), _name(kind.__name__, "answer"), convert)


def _inline_root(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its root where providers that decode under one want it: at the top."""
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    root = schema.get("$defs", {}).get(name)
    if root is None:
        return schema
    rest = {key: value for key, value in schema.items() if key != "$ref"}
    return {**root, **rest}


def _name(title: object, default: str) -> str:
    # The alphabet and length that OpenAI allows for the name of a response format.
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", str(title or default)).strip("_")
    return name[:64] or "answer"


def _path(location: tuple[int | str, ...]) -> str:
    if not location:
        return ""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return f"${''.join(steps)}: "


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else type(value).__name__
