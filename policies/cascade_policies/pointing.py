"""Making what a file describes, with errors that point into the file."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from cascade.cost import Price
from cascade.errors import ConfigError, PolicyFileError
from cascade_policies.document import Document, show_value
from cascade_policies.lines import KeyPath
from cascade_policies.tables import NONE, UNKNOWN, given

Made = TypeVar("Made")

_KEY = re.compile(r"(?:price )?([a-z_]+)=")
_HIDDEN_KEY = re.compile(r"([a-z_]+): ")


def read_price(document: Document, path: KeyPath, table: Any) -> Any:
    """A `Price`, or ``"unknown"``.

    Raises:
        PolicyFileError: a number is impossible.
    """
    return table if table == UNKNOWN else made_at(document, path, Price, **given(table))


def made_at(document: Document, path: KeyPath, kind: Callable[..., Made], /, *args: Any,
            **values: Any) -> Made:  # fmt: skip
    """``kind(*args, **values)``, its errors pointing into the file.

    Raises:
        PolicyFileError: `ConfigError`, at its key below ``path``.
    """
    try:
        return kind(*args, **values)
    except PolicyFileError:
        raise
    except ConfigError as error:
        raise _pointed(document, path, error.message, values) from error


def _pointed(
    document: Document, path: KeyPath, message: str, values: dict[str, Any]
) -> PolicyFileError:
    """The message of a `ConfigError` begins with ``key=value:``; the file knows both better.

    Or with ``key:`` alone, where the value must not be shown.
    """
    hidden = _HIDDEN_KEY.match(message)
    if hidden is not None and document.get((*path, hidden[1])) is not None:
        return document.error((*path, hidden[1]), message[hidden.end() :])
    found = _KEY.match(message)
    if found is None:
        return document.error(path, message)
    key = found[1]
    wanted = message.removeprefix(f"{found[0]}{values.get(key)!r}: ")
    for name in (key, f"{key}_file"):
        value = document.get((*path, name))
        if value is not None:
            wanted = wanted.replace("None", f'"{NONE}"')
            return document.error((*path, name), f"got {show_value(value)}: {wanted}")
    return document.error(path, message)
