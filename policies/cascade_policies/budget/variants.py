"""Thriftier variants of a policy, by the changes of a step."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from msgspec import structs

from cascade.model import ModelSpec
from cascade.policy import Effort, Model, Policy, Tier
from cascade.provider import Provider
from cascade.routing import Route, Router, as_router
from cascade.types import Request
from cascade_policies.budget.settings import Step

_OVERLAP = ("start_after", "prefer", "grace")


def make_variant(policy: Policy, step: Step) -> Policy:
    """The policy as the step has it; itself when the step changes nothing of it.

    The name, and the models that are left, stay the same. What an ``effort`` of the caller's says
    is changed alike, or it would undo the step.
    """
    varied = policy
    if step.only == "cheapest":
        varied = _only_cheapest(varied)
    if not step.hedges:
        varied = _without_hedges(varied)
    if step.start == "lower":
        varied = _lower(varied)
    return varied


def _only_cheapest(policy: Policy) -> Policy:
    """Up to the first tier that calls a model: functions before it cost nothing."""
    calls = [any(_is_model(model) for model in tier.models) for tier in policy.tiers]
    count = 1 + (calls.index(True) if True in calls else 0)
    if count == len(policy.tiers):
        return policy
    tiers, delays = policy.tiers[:count], list(policy.delays[:count])
    overlap = any(delay is not None for delay in delays)
    waits = overlap and policy.preference == "cheapest"
    return replace(
        policy,
        tiers=tiers,
        start_after=delays if overlap else None,
        grace=policy.grace if waits else None,
        router=None,  # it names tiers that are gone
        variables=None,  # some may have been theirs alone
        efforts=_efforts(policy, without=(*_OVERLAP, "start")),
    )


def _without_hedges(policy: Policy) -> Policy:
    tiers = tuple(map(_without_replica, policy.tiers))
    if policy.start_after is not None or tiers != policy.tiers:
        policy = replace(policy, tiers=tiers, start_after=None, grace=None)
    efforts = _efforts(policy, without=_OVERLAP)
    if len(tiers) == 1 or efforts == policy.efforts:
        return policy
    return replace(policy, efforts=efforts)


def _without_replica(tier: Tier) -> Tier:
    return tier if tier.replica_after is None else replace(tier, replica_after=None)


def _lower(policy: Policy) -> Policy:
    """A tier below what the router says, and what an effort says; else it begins at the first."""
    changes: dict[str, Any] = {}
    if policy.router is not None:
        changes["router"] = LowerRouter(as_router(policy.router))
    efforts: dict[Effort, dict[str, Any]] = {
        name: dict(own) for name, own in policy.efforts.items()
    }
    if len(policy.tiers) > 1:
        efforts.setdefault("best", {"start": len(policy.tiers) - 1})
    for own in efforts.values():
        if (start := own.get("start")) is not None:
            at = policy.index(start) if isinstance(start, str) else start
            own["start"] = max(0, at - 1)
    if efforts != policy.efforts:
        changes["efforts"] = efforts
    return replace(policy, **changes) if changes else policy


def _efforts(policy: Policy, *, without: Sequence[str]) -> Mapping[Effort, Mapping[str, Any]]:
    """The policy's tables of efforts without these keys; empty ones instead of the defaults."""
    usual: dict[Effort, Mapping[str, Any]] = {"fast": {}}
    if "start" in without:
        usual["best"] = {}
    own: dict[Effort, Mapping[str, Any]] = {
        name: {key: value for key, value in table.items() if key not in without}
        for name, table in policy.efforts.items()
    }
    return {**usual, **own}


def _is_model(model: Model) -> bool:
    """A function costs nothing, with settings or without."""
    bare = model.model if isinstance(model, ModelSpec) else model
    return isinstance(bare, str | Provider)


class LowerRouter:
    """A router whose choice is taken one tier lower."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def __getattr__(self, name: str) -> Any:
        # What else a router may have: a check, a name, an ear for finished calls.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._router, name)

    def route(self, request: Request, choices: Sequence[str], /) -> Route | Awaitable[Route]:
        """One tier below what the router says."""
        found = self._router.route(request, choices)
        if inspect.isawaitable(found):
            return self._later(found, choices)
        lower: Route = _one_lower(found, choices)
        return lower

    async def _later(self, found: Awaitable[Route], choices: Sequence[str]) -> Route:
        lower: Route = _one_lower(await found, choices)
        return lower


def _one_lower(route: Any, choices: Sequence[str]) -> Any:
    if not isinstance(route, Route) or route.start not in choices[1:]:
        return route  # at the first already, or for the engine to refuse
    lower = choices[choices.index(route.start) - 1]
    reason = f"{route.reason}; one lower while money is short".removeprefix("; ")
    return structs.replace(route, start=lower, reason=reason)
