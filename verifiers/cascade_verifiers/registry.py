"""Names of verifiers: registered by decorator, by entry point, or ``package.module:Object``.

The built-in verifiers come in by the entry-point group, the same door as anyone's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, TypeVar, cast, overload

from cascade.errors import ConfigError, UnknownVerifierError, nearest
from cascade.plugins import entry_points_of
from cascade.verdict import Verifier
from cascade.verify import FunctionVerifier
from cascade_verifiers.algebra import All, Composable

ENTRY_POINTS = "cascade.verifiers"

T = TypeVar("T", bound=Verifier)

_registered: dict[str, Any] = {}

_PLAIN: Mapping[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "text"),
}
"""Annotations that are checked before a verifier is made: "false" in quotes is true to Python."""


class PlainFunction(FunctionVerifier, Composable):
    """A function with a name: still callable, and a verifier with ``&``, ``|``, ``~``.

    Keyword-only arguments of the function are its settings, given by `bind`.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def bind(self, **arguments: Any) -> PlainFunction:
        """The same check with these keyword arguments set."""
        return PlainFunction(
            partial(self.function, **arguments), name=self.name, blocking=self.blocking
        )


class _Decorator:
    """Registers a class as it is, and a function as a `PlainFunction`."""

    def __init__(self, name: str, *, blocking: bool) -> None:
        self._name = name
        self._blocking = blocking

    # A class is a callable too; the first overload that fits is the one meant.
    @overload
    def __call__(self, check: type[T]) -> type[T]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(self, check: Callable[..., Any]) -> PlainFunction: ...
    def __call__(self, check: Any) -> Any:
        if isinstance(check, type):
            if not callable(getattr(check, "verify", None)):
                raise ConfigError(f"{check.__name__} has no method verify(request, answer)")
            if self._blocking:
                raise ConfigError("blocking= is for plain functions")
            made: Any = check
        elif callable(check):
            made = PlainFunction(check, name=self._name, blocking=self._blocking)
        else:
            raise ConfigError(f"@verifier is for classes and functions; got {check!r}")
        if self._name in verifier_names():
            raise ConfigError(f"verifier {self._name!r} is registered already")
        _registered[self._name] = made
        return made


def verifier(name: str, *, blocking: bool = False) -> _Decorator:
    """Register a class or a function under ``name``, for this process.

    ``blocking=True`` runs a sync function in a worker thread.

    Raises:
        ConfigError: the name is taken, or is no name.
    """
    if not name.replace("-", "_").isidentifier():
        raise ConfigError(f"verifier name {name!r}: use letters, digits, '-' and '_'")
    return _Decorator(name, blocking=blocking)


def verifier_names() -> list[str]:
    """Every name that is registered, sorted."""
    return sorted({*_registered, *entry_points_of(ENTRY_POINTS)})


def find_verifier(name: str) -> Any:
    """What stands under ``name``: a class, a `PlainFunction`, or any ``package.module:Object``.

    Raises:
        UnknownVerifierError: nothing does; the message has the nearest right name.
        ConfigError: ``package.module:Object`` cannot be imported.
    """
    if name in _registered:
        return _registered[name]
    point = entry_points_of(ENTRY_POINTS).get(name)
    if point is not None:
        return point.load()
    if ":" in name:
        return import_object(name)
    raise UnknownVerifierError(f"verifier {name!r}: {nearest(name, verifier_names())}")


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


def make(name: str, arguments: Mapping[str, Any] | None = None) -> Composable:
    """A verifier by name and arguments, as a policy file gives them.

    Raises:
        UnknownVerifierError: no verifier of that name.
        ConfigError: an argument is unknown, missing or unfit; the message begins with its name.
    """
    target = find_verifier(name)
    given = dict(arguments or {})
    if isinstance(target, type):
        found = _construct(target, given)
    elif callable(getattr(target, "verify", None)) and not isinstance(target, FunctionVerifier):
        _check_arguments(given, [], name)
        found = target
    elif callable(target):
        function = target if isinstance(target, PlainFunction) else PlainFunction(target)
        parameters = arguments_of(function)
        _check_arguments(given, [p.name for p in parameters], name)
        _check_types(given, parameters)
        found = function.bind(**given) if given else function
        found.require_arguments()
    else:
        raise ConfigError(f"{name} is no verifier: it is of type {type(target).__name__}")
    return found if isinstance(found, Composable) else All(found)


def arguments_of(found: Any) -> list[inspect.Parameter]:
    """The arguments that `make` takes for what `find_verifier` found."""
    if isinstance(found, type):
        return [
            parameter
            for parameter in inspect.signature(found).parameters.values()
            if parameter.kind is not parameter.VAR_KEYWORD
        ]
    if callable(getattr(found, "verify", None)) and not isinstance(found, FunctionVerifier):
        return []
    function = found.function if isinstance(found, FunctionVerifier) else found
    parameters = inspect.signature(function).parameters.values()
    return [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def _construct(target: type, given: dict[str, Any]) -> Verifier:
    if not callable(getattr(target, "verify", None)):
        raise ConfigError(f"{target.__name__} has no method verify(request, answer)")
    parameters = list(inspect.signature(target).parameters.values())
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        _check_arguments(given, [p.name for p in parameters], target.__name__)
    _check_types(given, parameters)
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
        return cast("Verifier", target(*spread, **given))
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{target.__name__}: {error}") from error


def _check_arguments(given: Mapping[str, Any], known: list[str], name: str) -> None:
    for argument in given:
        if argument not in known:
            hint = nearest(argument, known) if known else "it takes none"
            raise ConfigError(f"{argument}: {name} has no such argument; {hint}")


def _check_types(given: Mapping[str, Any], parameters: list[inspect.Parameter]) -> None:
    """Refuse a value of another kind than its argument's annotation, where that is a plain one."""
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
