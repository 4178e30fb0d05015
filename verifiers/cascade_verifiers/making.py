"""Making what a policy file names: objects by ``package.module:Object``, and their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cascade.errors import ConfigError, nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_PLAIN: Mapping[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "text"),
}
"""Annotations that are checked before a verifier is made: "false" in quotes is true to Python."""


def find_named(
    name: str, registered: Mapping[str, Any], points: Mapping[str, EntryPoint]
) -> Any | None:
    """What is registered under ``name``, or any ``package.module:Object``; None where nothing is.

    Raises:
        ConfigError: ``package.module:Object`` cannot be imported.
    """
    if name in registered:
        return registered[name]
    if name in points:
        return points[name].load()
    return import_object(name) if ":" in name else None


def import_object(path: str) -> Any:
    """The object at ``package.module:Object``.

    Raises:
        ConfigError: there is no such module, or no such object in it.
    """
    module_name, _, object_name = path.partition(":")
    try:
        found: Any = import_module(module_name)
    except Exception as error:  # importing runs anyone's code
        kind = "" if isinstance(error, ImportError | ValueError) else f"{type(error).__name__}: "
        raise ConfigError(f"{path}: cannot import {module_name!r}: {kind}{error}") from error
    for part in object_name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{path}: no {part!r} there: {nearest(part, _public(found))}")
        found = getattr(found, part)
    return found


def require_method(target: type, method: str, takes: str) -> None:
    """Refuse a class without the method that makes it what it is to be.

    Raises:
        ConfigError: it has none.
    """
    if not callable(getattr(target, method, None)):
        raise ConfigError(f"{target.__name__} has no method {method}({takes})")


def construct(target: type, given: dict[str, Any], method: str, takes: str) -> Any:
    """An object of the class, which must have the method, with the arguments given.

    Raises:
        ConfigError: it has no such method, or an argument is unknown, missing or unfit.
    """
    require_method(target, method, takes)
    parameters = list(inspect.signature(target).parameters.values())
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        check_arguments(given, [p.name for p in parameters], target.__name__)
    check_types(given, parameters)
    spread: list[Any] = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            values = given.pop(parameter.name, ())
            if not isinstance(values, Iterable):
                raise ConfigError(f"{parameter.name}={values!r}: needs a list")
            spread.extend([values] if isinstance(values, str | Mapping) else values)
        elif parameter.kind is parameter.VAR_KEYWORD:
            continue
        elif parameter.name not in given and parameter.default is parameter.empty:
            raise ConfigError(f"{parameter.name}: is missing, and has no default")
    try:
        return target(*spread, **given)
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{target.__name__}: {error}") from error


def check_arguments(given: Mapping[str, Any], known: list[str], name: str) -> None:
    """Refuse an argument that is not among the known ones.

    Raises:
        ConfigError: there is one; the message begins with it.
    """
    for argument in given:
        if argument not in known:
            hint = nearest(argument, known) if known else "it takes none"
            raise ConfigError(f"{argument}: {name} has no such argument; {hint}")


def check_types(given: Mapping[str, Any], parameters: list[inspect.Parameter]) -> None:
    """Refuse a value of another kind than its argument's annotation, where that is a plain one.

    Raises:
        ConfigError: there is one; the message begins with the argument.
    """
    for parameter in parameters:
        if parameter.name not in given or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        annotation = parameter.annotation
        words = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        kinds = [word.strip() for word in words.split("|")]
        plain = [kind for kind in kinds if kind != "None"]
        if not plain or not all(kind in _PLAIN for kind in plain):
            continue
        value = given[parameter.name]
        if value is None and "None" in kinds:
            continue
        fits = any(isinstance(value, _PLAIN[kind][0]) for kind in plain)
        # A bool is an int to Python, and to nobody else.
        if not fits or (isinstance(value, bool) and "bool" not in plain):
            wanted = " or ".join(_PLAIN[kind][1] for kind in plain)
            raise ConfigError(f"{parameter.name}={value!r}: needs {wanted}")


def _public(found: object) -> list[str]:
    return [name for name in dir(found) if not name.startswith("_")]
