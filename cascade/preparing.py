"""From what the caller asks to a call ready to run: which policy, changed how, begun where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from msgspec import Struct
from msgspec.structs import replace

from cascade.bind import check_quantiles, make_plan, refuse_unused
from cascade.context import current_check
from cascade.cost import Cost, total
from cascade.errors import ConfigError, PromptError
from cascade.finding import PolicyLike
from cascade.live import LiveCall
from cascade.overrides import Changed, Overrides, apply, check_keys, position
from cascade.policy import Policy
from cascade.purse import Purse
from cascade.records import Observer
from cascade.routing import Entry, Route, RouterLike, as_router, decide
from cascade.types import Prompt, Request

_NONE: Mapping[str, str] = {}
_NO_MONEY = 1e-12  # dollars: a limit is above 0, and this pays for nothing

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
    try:
        if overrides:
            check_keys(overrides, policy.name)
        asked = _Asked(Request.of(prompt), start, variables or _NONE, overrides)
        if isinstance(policy, Entry):
            return await _enter(engine, policy, asked)
        return await _of_policy(engine, policy, asked)
    except (ConfigError, PromptError) as error:
        error.policy = error.policy or policy.name
        raise


class _Asked(Struct):
    """What the caller asks for.

    Attributes:
        began: when an entry's router was asked, if one was; ``route`` is what it said.
    """

    request: Request
    start: str | int | None
    variables: Mapping[str, str]
    overrides: Overrides
    began: float | None = None
    route: Route | None = None


async def _enter(engine: Engine, entry: Entry, asked: _Asked) -> LiveCall:
    """The call under the policy that the router picks; the first where it has no opinion."""
    names, clock = tuple(entry.policies), engine.backend().clock
    used = _used_by(engine, entry, asked.variables)
    asked.began = clock()
    deadline, limit = asked.overrides.get("deadline"), asked.overrides.get("max_cost")
    purse = _purse(engine, entry.name, limit)
    question = _Question(engine, entry.router, entry.name, names, asked.request, purse)
    asked.route = route = await question.ask(deadline)
    name = names[0] if route.start is None else route.start
    policy = _policy_of(engine, entry, name)
    asked.variables = {key: asked.variables[key] for key in used[name] & asked.variables.keys()}
    if limit is not None and route.cost.high is not None:
        left = max(limit - route.cost.high, _NO_MONEY)
        asked.overrides = Overrides(**{**asked.overrides, "max_cost": left})
    call = await _of_policy(engine, policy, asked)
    if isinstance(entry.router, Observer):
        call.routers.append(entry.router)
    return call


def _policy_of(engine: Engine, entry: Entry, name: str) -> Policy:
    policy = engine.find(entry.policies[name])
    if isinstance(policy, Entry):
        raise ConfigError(f"{name!r} is a router over policies too", policy=entry.name)
    return policy


def _used_by(
    engine: Engine, entry: Entry, given: Mapping[str, str]
) -> Mapping[str, frozenset[str]]:
    """The variables of each policy. All must be there, as nobody knows yet which will run."""
    used = {}
    for name in entry.policies:
        bound = engine.bind(_policy_of(engine, entry, name))
        used[name] = bound.variables
        bound.check_variables({key: given[key] for key in used[name] & given.keys()}, first=0)
    refuse_unused(given, frozenset[str]().union(*used.values()), "policy")
    return used


async def _of_policy(engine: Engine, policy: Policy, asked: _Asked) -> LiveCall:
    """The call under the policy, or under the thriftier variant that the budget has for it."""
    if engine.budget is not None and (thrifty := engine.budget.adapt(policy)) is not policy:
        with suppress(ConfigError):  # where it has no place for what the caller wants, it goes
            return await _ready(engine, thrifty, asked, whole=policy)
    return await _ready(engine, policy, asked, whole=policy)


async def _ready(engine: Engine, policy: Policy, asked: _Asked, *, whole: Policy) -> LiveCall:
    """The call under this policy, which may be a thriftier variant of the ``whole`` one."""
    bound, request, route = engine.bind(policy), asked.request, asked.route
    changed = apply(policy, asked.overrides) if asked.overrides else Changed(policy)
    if changed.policy is not policy:
        check_quantiles(changed.policy, bound.tiers)
    purse = _purse(engine, policy.name, changed.max_cost)
    start = changed.start
    if asked.start is not None:  # of the policy that the caller knows
        start = whole.tiers[position(whole, asked.start)].name
    routed = start is None and policy.router is not None
    first = 0 if start is None else position(policy, start)
    if bound.templated or asked.variables or policy is not whole:
        # Of all its tiers: whichever run, a call that fits today fits when money is short.
        full = bound if policy is whole else engine.bind(whole)
        full.check_variables(asked.variables, first=first if policy is whole else 0)
    began = asked.began
    if routed and policy.router is not None:
        clock = engine.backend().clock
        began = clock() if began is None else began
        left = changed.policy.deadline
        left = None if left is None else max(0.0, began + left - clock())
        names = tuple([tier.name for tier in policy.tiers])
        question = _Question(engine, policy.router, policy.name, names, request, purse)
        chosen = await question.ask(left)
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


def _purse(engine: Engine, policy: str, max_cost: float | None) -> Purse | None:
    """What pays for a call; for one that a verifier or a router makes, its own call pays too."""
    check, budget = current_check.get(), engine.budget
    outer = None if check is None else check.purse
    if budget is None and max_cost is None and outer is None:
        return None
    limits = (max_cost, None if budget is None else budget.per_call(policy))
    limit = min((each for each in limits if each is not None), default=None)
    return Purse(policy, budget, limit, outer)


class _Question(Struct):
    """A question to a router."""

    engine: Engine
    router: RouterLike
    policy: str
    choices: Sequence[str]
    request: Request
    purse: Purse | None

    async def ask(self, seconds: float | None) -> Route:
        """What the router says, as far as it says so in time; whatever it costs is told of."""
        clock, spent = self.engine.backend().clock, list[Cost]()
        began = clock()
        try:
            with anyio.move_on_after(seconds):
                return await decide(
                    as_router(self.router),
                    self.request,
                    self.choices,
                    engine=self.engine,
                    policy=self.policy,
                    spent=spent,
                    purse=self.purse,
                )
        except BaseException as error:
            route = Route(
                reason="given up while it was asked", cost=total(spent), latency=clock() - began
            )
            self.engine.give_up(self.policy, self.request, route, error)
            raise
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
