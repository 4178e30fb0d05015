"""From what the user wrote to what the engine runs: names resolved, templates taken apart.

Done once a tier and engine, so that the hot path only looks up, renders and calls.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import Any, Literal, cast
from weakref import WeakKeyDictionary, ref

from msgspec import Struct
from msgspec.structs import replace

from cascade.cost import Price
from cascade.errors import (
    CascadeError,
    ConfigError,
    MissingAPIKeyError,
    PromptError,
    nearest,
)
from cascade.events import Plan, TierPlan
from cascade.gate import Gate, Turnstile
from cascade.latency import ModelLatency, parse_quantile
from cascade.policy import Delay, Model, Policy, Tier
from cascade.prices import published_price
from cascade.provider import Provider, ProviderContext, find_provider, split_model
from cascade.template import Template, with_prompt, with_system
from cascade.types import Request
from cascade.verdict import Verifier
from cascade.verify import as_verifier

PROMPT = "prompt"


class Target(Struct, frozen=True):
    """A model ready to be called."""

    name: str
    model: str
    provider: Provider
    price: Price | None
    free: bool
    ready: Callable[[str], Awaitable[None]] | None
    gate: Gate | None
    cancel_stops_billing: bool | None = None


class Providers:
    """The provider instances of one engine: one for each name and its options."""

    def __init__(self, context: ProviderContext, random: Random | None = None) -> None:
        self._context = context
        self._random = random or Random()  # noqa: S311  (jitter, no secret)
        self._learnt: dict[str, ModelLatency] = {}
        self.turnstiles: WeakKeyDictionary[Provider, Turnstile] = WeakKeyDictionary()
        self._by_id: dict[int, tuple[ref[Provider], Turnstile]] = {}
        self._made: dict[tuple[str, str | None, str | None], Provider] = {}

    def target(self, model: Model, tier: Tier | None = None) -> Target:
        """The model a tier names, or (without a tier) one that a verifier names.

        Raises:
            ConfigError: no such provider or model, or an option that does nothing.
        """
        price = None if tier is None else tier.price
        if isinstance(model, str):
            name, rest = split_model(model)
            provider = self._get(name, tier)
            try:
                _check(provider, rest, {} if tier is None else tier.params)
            except MissingAPIKeyError:  # not kept, so that a key set after all is found
                self._made = {key: made for key, made in self._made.items() if made is not provider}
                raise
            free = bool(getattr(provider, "free", False))
            if price is None and not free:
                price = published_price(name, rest)
            return self._target(
                f"{name}:{rest}", rest, provider, price, _stops(provider, price, tier)
            )
        for option in ("base_url", "api_key"):
            if tier is not None and getattr(tier, option) is not None:
                raise ConfigError(f"{option}: does nothing for a model given as an object")
        provider, shown = _as_provider(model)
        _check(provider, shown, {} if tier is None else tier.params)
        return self._target(shown, shown, provider, price, _stops(provider, price, tier))

    def _target(
        self, name: str, model: str, provider: Provider, price: Price | None, stops: bool | None
    ) -> Target:
        free = bool(getattr(provider, "free", False)) and price is None
        ready = getattr(provider, "ready", None)
        gate = None
        if getattr(provider, "guarded", True):
            turnstile = self._turnstile(provider)
            fresh = name not in turnstile.gates
            gate = turnstile.gate(name, self._random)
            if fresh and name in self._learnt:
                gate.latency.merge(self._learnt[name])
        return Target(name, model, provider, price, free, ready, gate, stops)

    def latencies(self) -> dict[str, ModelLatency]:
        """How long each model takes, by its name; models of one name are taken together."""
        found: dict[str, ModelLatency] = {}
        for gate in self._gates():
            found.setdefault(gate.name, ModelLatency()).merge(gate.latency)
        return {**self._learnt, **found}

    def learn(self, name: str, latency: ModelLatency) -> None:
        """Add to what is known of the models of that name, now or as soon as there is one."""
        held = self._learnt.setdefault(name, ModelLatency())
        held.merge(latency)
        for gate in self._gates():
            if gate.name == name:
                gate.latency.merge(latency)

    def _turnstile(self, provider: Provider) -> Turnstile:
        try:
            return self.turnstiles.setdefault(provider, Turnstile())
        except TypeError:  # a user's own that is no key, as a dataclass
            return self._turnstile_by_id(provider)

    def _turnstile_by_id(self, provider: Provider) -> Turnstile:
        key, forget = id(provider), self._by_id.pop
        if key not in self._by_id:
            try:
                until = ref(provider, lambda _: forget(key))
            except TypeError:  # nor can it be referred to weakly: each tier has its own
                return Turnstile()
            self._by_id[key] = (until, Turnstile())
        return self._by_id[key][1]

    def _gates(self) -> list[Gate]:
        turnstiles = [*self.turnstiles.values(), *(held for _, held in self._by_id.values())]
        return [gate for turnstile in turnstiles for gate in turnstile.gates.values()]

    async def aclose(self) -> None:
        """Close every provider; an error of one does not keep the others open."""
        made, self._made = self._made, {}
        async with AsyncExitStack() as stack:
            for provider in made.values():
                close = getattr(provider, "aclose", None)
                if close is not None:
                    stack.push_async_callback(close)

    def _get(self, name: str, tier: Tier | None) -> Provider:
        base_url, api_key = (None, None) if tier is None else (tier.base_url, tier.api_key)
        key = (name, base_url, api_key)
        if key not in self._made:
            factory = find_provider(name)
            options = {"base_url": base_url, "api_key": api_key}
            given = {option: value for option, value in options.items() if value is not None}
            known = inspect.signature(factory).parameters
            for option in given:
                if option not in known:
                    raise ConfigError(f"{option}: does nothing for the provider {name!r}")
            self._made[key] = factory(self._context, **given)
        return self._made[key]


def _stops(provider: Provider, price: Price | None, tier: Tier | None) -> bool | None:
    """Whether a cancelled call is billed no further, as the tier or else the provider says."""
    said = None if tier is None else tier.cancel_stops_billing
    if said is None:
        stops: bool | None = getattr(provider, "cancel_stops_billing", None)
        return stops
    if price is None and getattr(provider, "free", False):
        raise ConfigError("cancel_stops_billing: does nothing for a model that costs nothing")
    return said


def _check(provider: Provider, model: str, params: Mapping[str, Any]) -> None:
    check = getattr(provider, "check", None)
    if check is not None:
        check(model, params)


def _as_provider(model: Provider | Callable[..., Any]) -> tuple[Provider, str]:
    if isinstance(model, Provider):
        return model, str(getattr(model, "name", None) or type(model).__name__)
    from cascade.providers.function import PlainFunction

    function = PlainFunction(model)
    return function, function.name


class BoundTier:
    """A tier ready to run.

    Attributes:
        tier: as the user wrote it.
        targets: for each member its own model and then the stand-ins.
        verifier: the check, with the tier's threshold set; None accepts every whole answer.
        plan: what the state machine needs to know.
        enough: the verifier's hook of that name, for an ensemble only; else None.
        group: likewise its ``verify_group``.
        plain: whether it sends the caller's request as it is.
        variables: names its templates need beside ``prompt``.
    """

    __slots__ = (
        "_params",
        "_prompt",
        "_system",
        "enough",
        "group",
        "plain",
        "plan",
        "prefix",
        "targets",
        "tier",
        "variables",
        "verifier",
    )

    def __init__(self, tier: Tier, providers: Providers, *, policy: str) -> None:
        self.tier = tier
        try:
            self.verifier = _bind_verifier(tier)
            self._params = _bind_params(tier, self.verifier)
            for model in getattr(self.verifier, "models", ()):
                providers.target(model)
            stand_ins = tuple(providers.target(model, tier) for model in tier.fallbacks)
            own = [providers.target(m, tier) for m in tier.models for _ in range(tier.samples)]
        except CascadeError as error:
            error.policy = error.policy or policy
            error.tier = error.tier or tier.name
            raise
        # An ensemble is judged together where its verifier can do that.
        self.enough = getattr(self.verifier, "enough", None) if tier.members > 1 else None
        self.group = getattr(self.verifier, "verify_group", None) if tier.members > 1 else None
        self.prefix = getattr(self.verifier, "prefix", None)
        self.targets = tuple((target, *stand_ins) for target in own)
        self._prompt = None if tier.prompt is None else Template(tier.prompt)
        self._system = None if tier.system is None else Template(tier.system)
        templates = [t for t in (self._prompt, self._system) if t is not None]
        self.variables = frozenset[str]().union(*(t.names for t in templates)) - {PROMPT}
        prepares = getattr(self.verifier, "prepare", None) is not None
        self.plain = not (templates or self._params or prepares)
        after = tier.replica_after
        self.plan = TierPlan(
            members=tier.members,
            judged=self.verifier is not None,
            timeout=tier.timeout,
            verify_timeout=tier.verify_timeout,
            retries=tier.retries,
            repairs=tier.repairs,
            replica_after=None if isinstance(after, str) else after,
            fallbacks=len(stand_ins),
            on_abstain=tier.on_abstain,
        )

    def plan_now(self) -> TierPlan:
        """What the state machine needs to know, with what a quantile is now."""
        after = self.tier.replica_after
        if not isinstance(after, str):
            return self.plan
        return replace(self.plan, replica_after=self.quantile("first_token", after))

    def quantile(self, what: Literal["total", "first_token"], spec: str) -> float | None:
        """The seconds that the slowest of its models takes at the quantile, if that is known."""
        q, now = parse_quantile(spec), time.time()
        gates = {target.gate for target, *_ in self.targets if target.gate is not None}
        known = [getattr(gate.latency, what).quantile(q, now) for gate in gates]
        return max((seconds for seconds in known if seconds is not None), default=None)

    def render(self, request: Request, variables: Mapping[str, str]) -> Request:
        """What this tier sends for the caller's request."""
        if self._prompt is not None or self._system is not None:
            values = {**variables, PROMPT: request.text}
            if self._prompt is not None:
                request = with_prompt(request, self._prompt.render(values))
            if self._system is not None:
                request = with_system(request, self._system.render(values))
        if self._params:
            request = request.with_params(**self._params)
        prepare = getattr(self.verifier, "prepare", None)
        if prepare is not None:
            prepared: Request = prepare(request)
            return prepared
        return request


def _bind_verifier(tier: Tier) -> Verifier | None:
    if tier.verify is None:
        return None
    verifier = as_verifier(tier.verify)
    if tier.threshold is None:
        return verifier
    set_threshold = getattr(verifier, "with_threshold", None)
    if set_threshold is None:
        raise ConfigError(
            f"threshold={tier.threshold}: does nothing, as {_shown(tier.verify)} gives no scores"
        )
    return cast("Verifier", set_threshold(tier.threshold))


def _bind_params(tier: Tier, verifier: Verifier | None) -> Mapping[str, Any]:
    if not tier.constrain:
        return tier.params
    response_format = getattr(verifier, "response_format", None)
    if response_format is None:
        raise ConfigError(
            f"constrain=true: {_shown(tier.verify)} has no form to constrain a model to; "
            "a JsonSchema has one"
        )
    if "response_format" in tier.params:
        raise ConfigError("constrain=true and params.response_format: keep one of them")
    return {**tier.params, "response_format": response_format()}


def _shown(verify: object) -> str:
    return str(getattr(verify, "__name__", type(verify).__name__))


class BoundPolicy(Struct, frozen=True):
    """A policy ready to run: its tiers, and the plan of a call that overrides nothing.

    ``plan`` is None where it depends on how long the models take of late.
    """

    tiers: tuple[BoundTier, ...]
    plan: Plan | None
    templated: bool

    @classmethod
    def of(cls, policy: Policy, providers: Providers) -> BoundPolicy:
        """Resolve everything the policy names.

        Raises:
            ConfigError: something cannot be resolved; it names the policy and the tier.
        """
        tiers = tuple(BoundTier(tier, providers, policy=policy.name) for tier in policy.tiers)
        check_quantiles(policy, tiers)
        learns = any(isinstance(after, str) for after in _delays(policy))
        plan = None if learns else make_plan(policy, tiers)
        return cls(tiers, plan, any(tier.variables for tier in tiers))

    def check_variables(self, given: Mapping[str, str], *, first: int) -> None:
        """Every variable a template needs is given, and none is given that no template needs.

        Raises:
            PromptError: naming the variable, and the tier that needs it.
        """
        for name, value in given.items():
            if not isinstance(value, str):
                raise PromptError(f"variable {name!r} is {type(value).__name__}: give text")
        for tier in self.tiers[first:]:
            for name in sorted(tier.variables - given.keys()):
                raise PromptError(
                    f"variable {name!r} is missing: pass variables={{{name!r}: …}}",
                    tier=tier.tier.name,
                )
        known = frozenset[str]().union(*(tier.variables for tier in self.tiers))
        for name in sorted(given.keys() - known):
            remedy = nearest(name, known) if known else "its templates have no variables"
            raise PromptError(f"variable {name!r} is used by no tier: {remedy}")


def _delays(policy: Policy) -> tuple[Delay, ...]:
    return (*policy.delays, *(tier.replica_after for tier in policy.tiers))


def check_quantiles(policy: Policy, tiers: tuple[BoundTier, ...]) -> None:
    """Refuse a quantile of what is not timed: functions are not.

    Raises:
        ConfigError: there is one; it names the policy and the tier.
    """
    timed = [any(target.gate is not None for target, *_ in tier.targets) for tier in tiers]
    for index, tier in enumerate(policy.tiers):
        for key, spec, of in (
            ("start_after", policy.delays[index], index - 1),
            ("replica_after", tier.replica_after, index),
        ):
            if isinstance(spec, str) and not timed[of]:
                raise ConfigError(
                    f"{key}={spec!r}: {policy.tiers[of].name} is a function, which is not timed: "
                    "give seconds",
                    policy=policy.name,
                    tier=tier.name,
                )


def make_plan(policy: Policy, tiers: tuple[BoundTier, ...], *, first: int = 0) -> Plan:
    """The policy as the state machine sees it, quantiles as they are now."""
    plans = tuple([tier.plan_now() for tier in tiers])
    delays = tuple(
        [
            tiers[index - 1].quantile("total", delay) if isinstance(delay, str) else delay
            for index, delay in enumerate(policy.delays)
        ]
    )
    return Plan(
        tiers=plans,
        delays=delays,
        prefer=policy.preference,
        grace=policy.grace,
        deadline=policy.deadline,
        first=first,
        overlaps=may_overlap(plans[first:], delays[first + 1 :]),
    )


def may_overlap(tiers: Sequence[TierPlan], delays: Sequence[float | None]) -> bool:
    """Whether an attempt may ever run beside another."""
    return any(delay is not None for delay in delays) or any(
        tier.members > 1 or tier.replica_after is not None for tier in tiers
    )
