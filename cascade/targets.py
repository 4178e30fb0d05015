"""Which model is called, and how: from a name to a provider with its gate and price."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from random import Random
from typing import Any
from weakref import WeakKeyDictionary, ref

from msgspec import Struct

from cascade.cost import Price
from cascade.errors import ConfigError, MissingAPIKeyError
from cascade.gate import Gate, Turnstile
from cascade.latency import ModelLatency
from cascade.model import Limits, ModelSpec
from cascade.policy import Model, Tier
from cascade.prices import published_price
from cascade.provider import Provider, ProviderContext, find_provider, split_model
from cascade.quota import Quota

_Called = Provider | Callable[..., Any]


class Target(Struct, frozen=True):
    """A model ready to be called.

    Attributes:
        name: for records.
        model: what its provider calls it.
        ready: to be awaited before each call.
        gate: its breaker and its provider's limit; None where nothing can be overloaded.
        quota: keeps its calls within the limits that anybody states of it.
        limits: those that are stated here; None where nothing is said.
        context_window: tokens that it takes, if its user says so.
    """

    name: str
    model: str
    provider: Provider
    price: Price | None
    free: bool
    ready: Callable[[str], Awaitable[None]] | None
    gate: Gate | None
    quota: Quota
    limits: Limits | None = None
    cancel_stops_billing: bool | None = None
    context_window: int | None = None


class Providers:
    """The provider instances of one engine: one for each name and its options."""

    def __init__(self, context: ProviderContext, random: Random | None = None) -> None:
        self._context = context
        self._random = random or Random()  # noqa: S311  (jitter, no secret)
        self._learnt: dict[str, ModelLatency] = {}
        self.turnstiles: WeakKeyDictionary[_Called, Turnstile] = WeakKeyDictionary()
        self._by_id: dict[int, tuple[ref[_Called], Turnstile]] = {}
        self._made: dict[tuple[str, str | None, str | None], Provider] = {}

    def target(self, model: Model, tier: Tier | None = None) -> Target:
        """The model a tier names, or (without a tier) one that a verifier names.

        Raises:
            ConfigError: no such provider or model, or an option that does nothing.
        """
        spec, params = _spec(model, tier), {} if tier is None else tier.params
        if isinstance(spec.model, str):
            name, rest = split_model(spec.model)
            provider = self._get(name, spec)
            try:
                _check(provider, rest, params)
            except MissingAPIKeyError:  # not kept, so that a key set after all is found
                self._made = {key: made for key, made in self._made.items() if made is not provider}
                raise
            price = spec.price
            if price is None and not getattr(provider, "free", False):
                price = published_price(name, rest)
            return self._target(f"{name}:{rest}", rest, provider, price, spec)
        for option in ("base_url", "api_key"):
            if getattr(spec, option) is not None:
                raise ConfigError(f"{option}: does nothing for a model given as an object")
        provider, shown = _as_provider(spec.model)
        _check(provider, shown, params)
        return self._target(shown, shown, provider, spec.price, spec)

    def _target(
        self, name: str, model: str, provider: Provider, price: Price | None, spec: ModelSpec
    ) -> Target:
        # A function is wrapped anew each time, and is the same model all the same.
        turnstile = self._turnstile(provider if isinstance(spec.model, str) else spec.model)
        gate, quota = None, turnstile.quota(name)
        if spec.limits:
            quota.suggest(spec.limits)
        if getattr(provider, "guarded", True):
            fresh = name not in turnstile.gates
            gate = turnstile.gate(name, self._random)
            if fresh and name in self._learnt:
                gate.latency.merge(self._learnt[name])
        return Target(
            name,
            model,
            provider,
            price,
            free=bool(getattr(provider, "free", False)) and price is None,
            ready=getattr(provider, "ready", None),
            gate=gate,
            quota=quota,
            limits=spec.limits or None,
            cancel_stops_billing=_stops(provider, price, spec),
            context_window=spec.context_window,
        )

    def latencies(self) -> dict[str, ModelLatency]:
        """How long each model takes, by its name; models of one name are taken together."""
        found: dict[str, ModelLatency] = {}
        for gate in self._gates():
            again = gate.name in found
            found.setdefault(gate.name, ModelLatency()).merge(gate.latency)
            if again and gate.name in self._learnt:
                found[gate.name].remove(self._learnt[gate.name])  # each of them had been given it
        return {**self._learnt, **found}

    def learn(self, name: str, latency: ModelLatency) -> None:
        """Add to what is known of the models of that name, now or as soon as there is one."""
        held = self._learnt.setdefault(name, ModelLatency())
        held.merge(latency)
        for gate in self._gates():
            if gate.name == name:
                gate.latency.merge(latency)

    def _turnstile(self, called: _Called) -> Turnstile:
        try:
            return self.turnstiles.setdefault(called, Turnstile())
        except TypeError:  # a user's own that is no key, as a dataclass
            return self._turnstile_by_id(called)

    def _turnstile_by_id(self, called: _Called) -> Turnstile:
        key, forget = id(called), self._by_id.pop
        if key not in self._by_id:
            try:
                until = ref(called, lambda _: forget(key))
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

    def _get(self, name: str, spec: ModelSpec) -> Provider:
        key = (name, spec.base_url, spec.api_key)
        if key not in self._made:
            factory = find_provider(name)
            options = {"base_url": spec.base_url, "api_key": spec.api_key}
            given = {option: value for option, value in options.items() if value is not None}
            known = inspect.signature(factory).parameters
            for option in given:
                if option not in known:
                    raise ConfigError(f"{option}: does nothing for the provider {name!r}")
            self._made[key] = factory(self._context, **given)
        return self._made[key]


def _spec(model: Model, tier: Tier | None) -> ModelSpec:
    """The model with its settings: its own, or the tier's."""
    if isinstance(model, ModelSpec):
        return model
    if tier is None:
        return ModelSpec(model)
    return ModelSpec(
        model,
        base_url=tier.base_url,
        api_key=tier.api_key,
        price=tier.price,
        cancel_stops_billing=tier.cancel_stops_billing,
    )


def _stops(provider: Provider, price: Price | None, spec: ModelSpec) -> bool | None:
    """Whether a cancelled call is billed no further, as its user or else the provider says."""
    said = spec.cancel_stops_billing
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
