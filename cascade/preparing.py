"""From what the caller asks to a call ready to run: which policy, changed how, begun where."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from msgspec import Struct
from msgspec.structs import replace

from cascade.bind import check_quantiles, make_plan
from cascade.budget import Budget
from cascade.cost import Cost, total
from cascade.errors import ConfigError, PromptError
from cascade.finding import PolicyLike
from cascade.live import LiveCall
from cascade.overrides import Changed, Overrides, apply
from cascade.policy import Policy
from cascade.purse import Purse
from cascade.records import Observer
from cascade.routing import Entry, Route, as_router, decide
from cascade.types import Prompt, Request

_NONE: Mapping[str, str] = {}

if TYPE_CHECKING:
    from cascade.engine import Engine


async def prepare(
    engine: Engine,
    policy: PolicyLike,
    prompt: Prompt,
    start: str | int | None,
    variables: Mapping[str, str] | None,
    overrides: Overrides,
) -> LiveCall:
    """A call that is ready for `Engine.carry_out`; the router, if there is one, has been asked.

    Raises:
        ConfigError, PromptError: the call cannot be made; no tier was called.
    """
    if not isinstance(policy, Policy):
        policy = engine.find(policy)
    entry: Entry | None = None
    began: float | None = None
    route: Route | None = None
    if isinstance(policy, Entry):
        entry, began = policy, engine.backend().clock()
        policy, route = await _enter(engine, entry, Request.of(prompt))
    try:
        asked = _Asked(Request.of(prompt), start, variables or _NONE, overrides, began, route)
        if engine.budget is not None and (thrifty := engine.budget.adapt(policy)) is not policy:
            with suppress(ConfigError):  # where it has no place for what the caller wants, it goes
                return await _ready(engine, thrifty, asked, whole=policy)
        call = await _ready(engine, policy, asked, whole=policy)
    except (ConfigError, PromptError) as error:
        error.policy = error.policy or policy.name
        raise
    if entry is not None and isinstance(entry.router, Observer):
        call.routers.append(entry.router)
    return call


class _Asked(Struct):
    """What the caller asks for.

    Attributes:
        began: when the entry's router was asked, if one was; ``route`` is what it said.
    """

    request: Request
    start: str | int | None
    variables: Mapping[str, str]
    overrides: Overrides
    began: float | None
    route: Route | None


async def _ready(engine: Engine, policy: Policy, asked: _Asked, *, whole: Policy) -> LiveCall:
    """The call under this policy, which may be a thriftier variant of the ``whole`` one."""
    bound, request, route = engine.bind(policy), asked.request, asked.route
    changed = apply(policy, asked.overrides) if asked.overrides else Changed(policy)
    if changed.policy is not policy:
        check_quantiles(changed.policy, bound.tiers)
    purse = None
    if engine.budget is not None or changed.max_cost is not None:
        purse = _purse(policy.name, engine.budget, changed.max_cost)
    start = changed.start if asked.start is None else asked.start
    routed = start is None and policy.router is not None
    first = 0 if start is None else position(policy, start)
    if bound.templated or asked.variables or policy is not whole:
        # Of all its tiers: whichever run, a call that fits today fits when money is short.
        full = bound if policy is whole else engine.bind(whole)
        full.check_variables(asked.variables, first=first if policy is whole else 0)
    began = asked.began
    if routed:
        began = engine.backend().clock() if began is None else began
        chosen = await _route(engine, changed.policy, request, purse)
        route = _together(route, chosen)
        first = 0 if chosen.start is None else policy.index(chosen.start)
    plan = bound.plan
    if first or plan is None or changed.policy is not policy:
        plan = make_plan(changed.policy, bound.tiers, first=first)
    call = LiveCall.of(engine, policy.name, bound.tiers, plan, request, asked.variables, began)
    call.best = changed.policy.exhausted == "best"
    call.purse, call.route, call.variant = purse, route, changed.variant
    if policy is not whole:
        call.variant = f"{changed.variant}, budget" if changed.variant else "budget"
    if routed and isinstance(policy.router, Observer):
        call.routers.append(policy.router)
    return call


def position(policy: Policy, start: str | int) -> int:
    """The tier to begin at, from its name or position.

    Raises:
        ConfigError: there is no such tier.
    """
    if isinstance(start, str):
        return policy.index(start)
    if isinstance(start, bool) or not isinstance(start, int):
        raise ConfigError(
            f"start={start!r}: needs the name or the position of a tier", policy=policy.name
        )
    if not 0 <= start < len(policy.tiers):
        raise ConfigError(
            f"start={start}: the policy has tiers 0 to {len(policy.tiers) - 1}", policy=policy.name
        )
    return start


def _purse(policy: str, budget: Budget | None, max_cost: float | None) -> Purse:
    limits = (max_cost, None if budget is None else budget.per_call(policy))
    return Purse(policy, budget, min((each for each in limits if each is not None), default=None))


async def _enter(engine: Engine, entry: Entry, request: Request) -> tuple[Policy, Route]:
    """The policy that the entry's router picks; its first one where it has no opinion."""
    names = tuple(entry.policies)
    router = as_router(entry.router)
    route = await decide(router, request, names, engine=engine, policy=entry.name)
    name = names[0] if route.start is None else route.start
    policy = engine.find(entry.policies[name])
    if isinstance(policy, Entry):
        raise ConfigError(
            f"{name!r} is a router over policies too: one is enough", policy=entry.name
        )
    return policy, route


async def _route(engine: Engine, policy: Policy, request: Request, purse: Purse | None) -> Route:
    """Where the policy's router begins, as far as it says so before the call's deadline."""
    assert policy.router is not None
    names = [tier.name for tier in policy.tiers]
    clock, spent = engine.backend().clock, list[Cost]()
    began = clock()
    with anyio.move_on_after(policy.deadline):
        return await decide(
            as_router(policy.router),
            request,
            names,
            engine=engine,
            policy=policy.name,
            spent=spent,
            purse=purse,
        )
    return Route(
        reason="the call's deadline passed first", cost=total(spent), latency=clock() - began
    )


def _together(entry: Route | None, route: Route) -> Route:
    """One record of two routers: the second's word, and what both have cost."""
    if entry is None:
        return route
    return replace(
        route,
        label=" / ".join(filter(None, (entry.label, route.label))),
        reason="; ".join(filter(None, (entry.reason, route.reason))),
        cost=entry.cost + route.cost,
        latency=entry.latency + route.latency,
    )
