"""Where a call starts: a router looks at the request before any tier does.

A wrong guess costs money, not quality: from the tier that a router names the cascade goes on as
ever, and every answer is checked.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from msgspec import Struct
from msgspec.structs import replace

from cascade.cancellation import being_cancelled
from cascade.context import Check, current_check
from cascade.cost import FREE, Cost, total
from cascade.errors import ConfigError, nearest
from cascade.types import Request

if TYPE_CHECKING:
    from cascade.engine import Engine
    from cascade.policy import Policy
    from cascade.purse import Purse


class Route(Struct, frozen=True):
    """What a router says of one request.

    Attributes:
        start: name of the tier to begin at; of the task, from a router over tasks. None for no
            opinion: the call begins at the first tier.
        label: what the router took the request for, like ``hard``; "" when it has no labels.
        reason: why, in a sentence.
        cost: what the router's own calls cost; filled in by the engine.
        latency: seconds it took; filled in by the engine.
    """

    start: str | None = None
    label: str = ""
    reason: str = ""
    cost: Cost = FREE
    latency: float = 0.0


@runtime_checkable
class Router(Protocol):
    """Picks the first tier of a call. May call models, by `cascade.context.call_model`.

    Where it has them, these are used too:

    ``check(choices)``
        when a policy is made: raises `ConfigError` if it does not fit these tiers;
    ``models``
        the models it calls, so that a policy whose router cannot call them is refused when bound;
    ``call_finished(record)``
        with the `cascade.records.CallRecord` of each call that it routed;
    ``evidence(request)``
        for ``cascade route explain``: what it sees in a request, as JSON values, without a call.
    """

    def route(self, request: Request, choices: Sequence[str], /) -> Route | Awaitable[Route]:
        """Where to begin.

        Args:
            request: what the caller asked.
            choices: names of the tiers, from the cheapest to the strongest; or of the tasks.
        """
        ...


RouterLike = Router | Callable[..., Any]
"""A `Router`, or a function of the request (or of its text) to a name, a `Route` or None."""

_TEXT = ("text", "prompt")


def as_router(router: RouterLike) -> Router:
    """``router`` as a `Router`: an object with ``route`` as it is, a plain function wrapped.

    The function takes ``(request)``, ``(request, choices)``, or the prompt's text in place of the
    request, when its parameter is named ``text`` or ``prompt`` or annotated as `str`. It is sync
    (and then quick) or async, and returns the name to begin at, a `Route`, or None for no opinion;
    anything else is a `TypeError` that names the function.

    Raises:
        ConfigError: ``router`` is neither, or takes other arguments.
    """
    if isinstance(router, str):
        raise ConfigError(
            f"router={router!r}: names are for policy files; here give the router, "
            f"as in cascade.policies.make_router({router!r}, {{}})"
        )
    if isinstance(router, type):
        raise ConfigError(f"{router.__name__} is a class: give an instance, {router.__name__}(...)")
    if isinstance(router, FunctionRouter):
        router.require_arguments()
    if callable(getattr(router, "route", None)):
        return router  # type: ignore[return-value]  # a callable `route` is the whole protocol
    if callable(router):
        wrapped = FunctionRouter(router)
        wrapped.require_arguments()
        return wrapped
    raise ConfigError(
        "a router is a function or has a method route(request, choices); "
        f"got {type(router).__name__}"
    )


def check_choices(router: RouterLike, choices: Sequence[str]) -> None:
    """Refuse a router that does not fit these tiers (or tasks), as far as it can tell.

    Raises:
        ConfigError: it says so.
    """
    check = getattr(router, "check", None)
    if callable(check):
        check(choices)


def router_name(router: object) -> str:
    """What to call a router in messages and logs."""
    return str(getattr(router, "name", None) or type(router).__name__.lower())


async def decide(
    router: Router,
    request: Request,
    choices: Sequence[str],
    *,
    engine: Engine,
    policy: str,
    spent: list[Cost] | None = None,
    purse: Purse | None = None,
) -> Route:
    """What the router says, with what it cost and how long it took.

    No failure of a router breaks a call. One that raises, returns no `Route` or names what is not
    among the choices has no opinion, with the failure as its reason; a warning is logged
    (``cascade.router_failed``). Cancellation passes.

    Args:
        router: what decides.
        request: what the caller asked.
        choices: the names it can give.
        engine: what calls the models it may ask, and has the clock.
        policy: for the log: whose router it is.
        spent: its costs are appended here as they arise, so that they are known too when it is
            cut short.
        purse: what pays for the models it asks; None without a budget.
    """
    clock = engine.backend().clock
    check = Check(engine, [] if spent is None else spent, purse=purse)
    before = len(check.spent)
    began = clock()
    token = current_check.set(check)
    try:
        found = router.route(request, choices)
        route = await found if inspect.isawaitable(found) else found
        _check_route(router, route, choices)
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and being_cancelled():
            raise
        route = Route(reason=_failed(router, error, policy))
    finally:
        current_check.reset(token)
    return replace(route, cost=total(check.spent[before:]), latency=clock() - began)


def _check_route(router: Router, route: object, choices: Sequence[str]) -> None:
    if not isinstance(route, Route):
        raise TypeError(f"{router_name(router)} returned {type(route).__name__}, not a Route")
    if route.start is not None and route.start not in choices:
        raise ValueError(f"starts at {route.start!r}: {nearest(str(route.start), choices)}")


def _failed(router: Router, error: BaseException, policy: str) -> str:
    from cascade.logs import warn  # logs know results, and results know routes

    reason = f"the router failed: {type(error).__name__}: {error}"[:300]
    name = router_name(router)
    warn("cascade.router_failed", policy=policy, router=name, reason=reason, exc_info=error)
    return reason


class FunctionRouter:
    """A plain function as a router. Made by `as_router`; keyword-only arguments are settings."""

    def __init__(self, function: Callable[..., Any], *, name: str | None = None) -> None:
        self.function = function
        self.name = name or _function_name(function)
        parameters = _parameters(function)
        positional = [
            p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        required = [p for p in positional if p.default is p.empty]
        if not positional or len(required) > 2:
            raise ConfigError(f"{self.name}: a router takes (request), (text) or (…, choices)")
        first = positional[0]
        self._of_text = first.name in _TEXT or first.annotation in (str, "str")
        self._of_choices = len(required) == 2 or [p.name for p in positional[1:2]] == ["choices"]
        self._missing = [
            p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty
        ]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def bind(self, **arguments: Any) -> FunctionRouter:
        """The same router with these keyword arguments set."""
        return FunctionRouter(partial(self.function, **arguments), name=self.name)

    def require_arguments(self) -> None:
        """Refuse a function that still waits for keyword arguments.

        Raises:
            ConfigError: it does; the message names the first.
        """
        if self._missing:
            raise ConfigError(f"router {self.name!r} needs the argument {self._missing[0]!r}")

    def route(self, request: Request, choices: Sequence[str], /) -> Route | Awaitable[Route]:
        """What the function returns, as a `Route`; awaitable only when the function is async."""
        asked = request.text if self._of_text else request
        found = self.function(asked, choices) if self._of_choices else self.function(asked)
        return self._later(found) if inspect.isawaitable(found) else self._route(found)

    async def _later(self, found: Awaitable[Any]) -> Route:
        return self._route(await found)

    def _route(self, found: object) -> Route:
        if isinstance(found, Route):
            return found
        if found is None:
            return Route(reason=f"{self.name} has no opinion")
        if isinstance(found, str):
            return Route(found, reason=f"{self.name} says so")
        raise TypeError(
            f"{self.name} returned {type(found).__name__}; a router returns a name, Route or None"
        )

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Entry:
    """A router over tasks: given where a policy is given, it picks the policy of each call.

    Attributes:
        name: for logs and errors.
        router: picks; a route's ``start`` is the name of a policy here.
        policies: each by the name that the router gives it: a `Policy`, or the path or the name
            of one. The first is taken when the router has no opinion.

    Raises:
        ConfigError: a name is empty, there are no policies, or the router does not fit them.
    """

    name: str
    router: RouterLike
    policies: Mapping[str, Policy | str | Path]

    def __post_init__(self) -> None:
        from cascade.policy import Policy  # a policy has a router, and an entry has policies

        if not self.name:
            raise ConfigError("an entry needs a name")
        given: object = self.policies
        if not isinstance(given, Mapping) or not given:
            raise ConfigError(
                "policies: needs one or more, as in {'billing': policy}", policy=self.name
            )
        for name, policy in given.items():
            if not isinstance(name, str) or not name:
                raise ConfigError(f"policies: {name!r} is no name", policy=self.name)
            if not isinstance(policy, Policy | str | Path) or policy == "":
                raise ConfigError(
                    f"policies: {name}: needs a Policy, or the path or name of one; "
                    f"got {type(policy).__name__}",
                    policy=self.name,
                )
        try:
            router = as_router(self.router)
            check_choices(router, tuple(self.policies))
        except ConfigError as error:
            error.policy = self.name
            raise
        object.__setattr__(self, "router", router)
        object.__setattr__(self, "policies", MappingProxyType(dict(self.policies)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled.
        return Entry, (self.name, self.router, dict(self.policies))


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise ConfigError(f"{_function_name(function)}: has no signature to call it by") from None


def _function_name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", None) or type(function).__name__)
