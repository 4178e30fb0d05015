"""The arguments of a verifier or a router in a file: values, the content of files, models."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from cascade_policies.document import Document, show_value
from cascade_policies.lines import KeyPath
from cascade_policies.references import is_name
from cascade_policies.tables import check_json

Resolve = Callable[[KeyPath, str], Any]
"""From where the name of a project's model stands, and the name, to the model."""

FILE = "_file"
"""A key that ends so names a file whose content is the value of the key without the ending."""

_ARGUMENT = re.compile(r"([A-Za-z_]\w*)(?:=|: )")


def blamed(document: Document, path: KeyPath, message: str) -> KeyPath:
    """The key below ``path`` that the message of an error begins with, or ``path`` itself."""
    found = _ARGUMENT.match(message)
    if found:
        for key in (found[1], found[1] + FILE):
            if document.get((*path, key)) is not None:
                return (*path, key)
    return path


def read_arguments(
    document: Document, path: KeyPath, model: Resolve, *, but: str
) -> dict[str, Any]:
    """The keys of the table at ``path`` except ``but``: values, or the content of files.

    Models of the project are resolved where ``model``, ``models`` or ``judges`` name them.

    Raises:
        PolicyFileError: a value is no JSON, or a file cannot be read.
    """
    spec: Mapping[str, Any] = document.get(path)
    arguments = dict(_argument(document, spec, key, path) for key in spec if key != but)
    for key in ("model", "models", "judges"):
        value = arguments.get(key)
        if isinstance(value, list):
            places = (((*path, key, index), item) for index, item in enumerate(value))
            arguments[key] = [_resolved(place, item, model) for place, item in places]
        elif value is not None:
            arguments[key] = _resolved((*path, key), value, model)
    return arguments


def _resolved(path: KeyPath, value: Any, model: Resolve) -> Any:
    return model(path, value) if isinstance(value, str) and is_name(value) else value


def _argument(
    document: Document, spec: Mapping[str, Any], key: str, path: KeyPath
) -> tuple[str, Any]:
    if not key.endswith(FILE):
        check_json(document, (*path, key))
        return key, spec[key]
    argument = key.removesuffix(FILE)
    if argument in spec:
        raise document.error((*path, key), f"give this or {argument!r}, not both")
    return argument, read_value(document, spec[key], (*path, key))


def read_value(document: Document, reference: Any, path: KeyPath) -> Any:
    """The content of a referenced file: parsed when it is ``.json``, else its text.

    Raises:
        PolicyFileError: it cannot be read, or is no JSON.
    """
    if not isinstance(reference, str) or not reference:
        raise document.error(path, f"got {show_value(reference)}: needs the path of a file")
    text = document.read_text(reference, path)
    if not reference.endswith(".json"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise document.error(path, f"{reference} is not valid JSON: {error}") from error
