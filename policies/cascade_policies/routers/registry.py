"""Names of routers: registered by decorator, by entry point, or ``package.module:Object``.

The built-in routers come in by the entry-point group, the same door as anyone's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, TypeVar, cast, overload

from cascade.errors import ConfigError, nearest
from cascade.plugins import entry_points_of
from cascade.routing import FunctionRouter, Router, as_router
from cascade_verifiers.making import (
    check_arguments,
    check_types,
    construct,
    find_named,
    require_method,
)

ENTRY_POINTS = "cascade.routers"

_METHOD, _TAKES = "route", "request, choices"

T = TypeVar("T", bound=Router)

_registered: dict[str, Any] = {}


class _Decorator:
    """Registers a class as it is, and a function as a `FunctionRouter`."""

    def __init__(self, name: str) -> None:
        self._name = name

    # A class is a callable too; the first overload that fits is the one meant.
    @overload
    def __call__(self, made: type[T]) -> type[T]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(self, made: Callable[..., Any]) -> FunctionRouter: ...
    def __call__(self, made: Any) -> Any:
        if isinstance(made, type):
            require_method(made, _METHOD, _TAKES)
        elif callable(made):
            made = FunctionRouter(made, name=self._name)
        else:
            raise ConfigError(f"@router is for classes and functions; got {made!r}")
        if self._name in router_names():
            raise ConfigError(f"router {self._name!r} is registered already")
        _registered[self._name] = made
        return made


def router(name: str) -> _Decorator:
    """Register a class or a function under ``name``, for this process.

    Keyword-only arguments of a function are its settings.

    Raises:
        ConfigError: the name is taken, or is no name.
    """
    if not name.replace("-", "_").isidentifier():
        raise ConfigError(f"router name {name!r}: use letters, digits, '-' and '_'")
    return _Decorator(name)


def router_names() -> list[str]:
    """Every name that is registered, sorted."""
    return sorted({*_registered, *entry_points_of(ENTRY_POINTS)})


def find_router(name: str) -> Any:
    """What stands under ``name``: a class, a function, or any ``package.module:Object``.

    Raises:
        ConfigError: nothing does, and the message has the nearest right name; or
            ``package.module:Object`` cannot be imported.
    """
    found = find_named(name, _registered, entry_points_of(ENTRY_POINTS))
    if found is not None:
        return found
    raise ConfigError(f"router {name!r}: {nearest(name, router_names())}")


def make_router(name: str, options: Mapping[str, Any] | None = None) -> Router:
    """A router by name and options, as a policy file gives them.

    Raises:
        ConfigError: no router of that name, or an option is unknown, missing or unfit; the
            message begins with the option's name.
    """
    target = find_router(name)
    given = dict(options or {})
    if isinstance(target, type):
        return cast("Router", construct(target, given, _METHOD, _TAKES))
    if isinstance(target, Router) and not isinstance(target, FunctionRouter):
        check_arguments(given, [], name)
        return target
    if not callable(target):
        raise ConfigError(f"{name} is no router: it is of type {type(target).__name__}")
    function = target if isinstance(target, FunctionRouter) else FunctionRouter(target)
    parameters = signature(function.function).parameters.values()
    settings = [setting for setting in parameters if setting.kind is setting.KEYWORD_ONLY]
    check_arguments(given, [setting.name for setting in settings], name)
    check_types(given, settings)
    return as_router(function.bind(**given) if given else function)
