"""Plain functions as models: the code tier that needs no model."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, TypeVar, get_type_hints

import anyio.to_thread

from cascade.errors import ConfigError, FunctionError, ProviderError, UnknownModelError, nearest
from cascade.provider import Call, ProviderContext
from cascade.types import Answer, Request

F = TypeVar("F", bound=Callable[..., Any])

_QUICK = "__cascade_nonblocking__"


def nonblocking(function: F) -> F:
    """Mark a sync function as one that never blocks: it runs on the event loop, not in a thread.

    Saves the hop to a thread (about 0.1 ms) where the function takes less than that.
    """
    setattr(function, _QUICK, True)
    return function


class PlainFunction:
    """A function as a model: ``function(prompt)``, sync or async.

    It is given the prompt's text, or the `Request` if its parameter is annotated so. It returns
    text, an `Answer`, or a dict or list (which becomes JSON); None means "not mine: escalate". A
    sync function runs in a worker thread, unless it is marked `nonblocking`; a thread cannot be
    stopped, so when its attempt is cancelled the function runs on and its result is dropped.
    """

    free = True
    guarded = False

    def __init__(self, function: Callable[..., Any], *, name: str | None = None) -> None:
        self.name = name or f"function:{getattr(function, '__name__', type(function).__name__)}"
        self._function = function
        self._takes_request = _takes_request(function)
        call = function if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004
        self._asynchronous = inspect.iscoroutinefunction(call)
        self._inline = self._asynchronous or getattr(function, _QUICK, False)

    def check(self, model: str, params: Mapping[str, Any]) -> None:
        """Refuse parameters: a function has none."""
        del model
        if params:
            raise ConfigError(f"params.{next(iter(params))}: does nothing for a function")

    async def complete(self, call: Call, /) -> Answer | None:
        """The function's answer, or None."""
        given = call.request if self._takes_request else call.request.text
        try:
            if self._inline:
                value = self._function(given)
                if inspect.isawaitable(value):
                    value = await value
            else:
                value = await anyio.to_thread.run_sync(
                    partial(self._function, given), abandon_on_cancel=True
                )
            return _answer(value, self.name)
        except ProviderError:
            raise
        except Exception as error:
            raise FunctionError(f"{self.name} raised {type(error).__name__}: {error}") from error


class FunctionProvider:
    """Functions by name: ``function:package.module:attribute``."""

    free = True
    guarded = False

    def __init__(self, context: ProviderContext) -> None:
        del context
        self._functions: dict[str, PlainFunction] = {}

    def check(self, model: str, params: Mapping[str, Any]) -> None:
        """Import the function, so that a wrong name shows at load."""
        self._find(model).check(model, params)

    async def complete(self, call: Call, /) -> Answer | None:
        """The function's answer, or None."""
        return await self._find(call.model).complete(call)

    def _find(self, name: str) -> PlainFunction:
        if name not in self._functions:
            self._functions[name] = PlainFunction(_import(name), name=f"function:{name}")
        return self._functions[name]


def _import(name: str) -> Callable[..., Any]:
    module_name, _, attribute = name.partition(":")
    if not attribute:
        raise UnknownModelError(f"function {name!r}: write 'function:package.module:attribute'")
    try:
        found: Any = import_module(module_name)
    except ImportError as error:
        raise UnknownModelError(f"function {name!r}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = [key for key in vars(found) if not key.startswith("_")]
            raise UnknownModelError(f"function {name!r}: no {part!r}; {nearest(part, known)}")
        found = getattr(found, part)
    if not callable(found):
        raise UnknownModelError(f"function {name!r}: it is a {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


def _takes_request(function: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters)
        hints = get_type_hints(function)
    except (ValueError, TypeError, NameError):  # a builtin, or hints that cannot be resolved
        return False
    return bool(parameters) and hints.get(parameters[0]) is Request


def _answer(value: Any, name: str) -> Answer | None:
    if value is None or isinstance(value, Answer):
        return value
    if isinstance(value, str):
        return Answer(value, model=name, finish_reason="stop")
    if isinstance(value, dict | list):
        return Answer(json.dumps(value, ensure_ascii=False), model=name, finish_reason="stop")
    raise TypeError(
        f"a function tier returns text, an Answer, a dict, a list or None; "
        f"got {type(value).__name__}"
    )
