"""Names of verifiers: registered by decorator, by entry point, or ``package.module:Object``.

The built-in verifiers come in by the entry-point group, the same door as anyone's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar, cast, overload

from cascade.errors import ConfigError, UnknownVerifierError, nearest
from cascade.plugins import entry_points_of
from cascade.verdict import Verifier
from cascade.verify import FunctionVerifier
from cascade_verifiers.algebra import All, Composable
from cascade_verifiers.making import (
    check_arguments,
    check_types,
    construct,
    find_named,
    require_method,
)

ENTRY_POINTS = "cascade.verifiers"

_METHOD, _TAKES = "verify", "request, answer"

T = TypeVar("T", bound=Verifier)

_registered: dict[str, Any] = {}


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
            require_method(check, _METHOD, _TAKES)
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
    found = find_named(name, _registered, entry_points_of(ENTRY_POINTS))
    if found is not None:
        return found
    raise UnknownVerifierError(f"verifier {name!r}: {nearest(name, verifier_names())}")


def make(name: str, arguments: Mapping[str, Any] | None = None) -> Composable:
    """A verifier by name and arguments, as a policy file gives them.

    Raises:
        UnknownVerifierError: no verifier of that name.
        ConfigError: an argument is unknown, missing or unfit; the message begins with its name.
    """
    target = find_verifier(name)
    given = dict(arguments or {})
    if isinstance(target, type):
        found = cast("Verifier", construct(target, given, _METHOD, _TAKES))
    elif callable(getattr(target, "verify", None)) and not isinstance(target, FunctionVerifier):
        check_arguments(given, [], name)
        found = target
    elif callable(target):
        function = target if isinstance(target, PlainFunction) else PlainFunction(target)
        parameters = arguments_of(function)
        check_arguments(given, [p.name for p in parameters], name)
        check_types(given, parameters)
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
