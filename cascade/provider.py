"""What a provider is, and where its name leads.

A provider answers calls in one wire format (or in none: a function is a provider too). Its name
is the part of ``provider:model`` before the colon. Built-in and third-party providers come in by
the same door: the entry-point group ``cascade.providers``, or the `provider` decorator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

from msgspec import Struct

from cascade.errors import ConfigError, UnknownProviderError, nearest
from cascade.plugins import entry_points_of
from cascade.transport import Transport
from cascade.types import Answer, Request

ENTRY_POINTS = "cascade.providers"


class Call(Struct, frozen=True):
    """One call to one model.

    Attributes:
        model: the model's name without the provider.
        request: what to send; its params include the tier's.
        on_delta: to be called with each piece of the answer's text as it arrives. It is how the
            engine knows the time to the first token and what a cancelled call had produced.
    """

    model: str
    request: Request
    on_delta: Callable[[str], None] = lambda _text: None


@runtime_checkable
class Provider(Protocol):
    """Answers calls. Instances are shared by all calls of an engine.

    Optional, looked for by name:

    ``check(model, params) -> None``
        at load: raises `ConfigError` for a model or parameter that cannot work.
    ``async ready(model) -> None``
        before a call, not counted against its timeout: downloads or starts what is needed.
        Called each time, so it must be quick when there is nothing to do.
    ``async aclose() -> None``
        when the engine closes.
    ``free = True``
        calls cost nothing, so no price is looked up.
    ``cancel_stops_billing = True``
        a stream that is closed early is billed as far as it came; False when it is billed to its
        end, None (as without it) when nobody knows.
    ``guarded = False``
        nothing that can be overloaded or go down: no circuit breaker and no limit.
    """

    async def complete(self, call: Call, /) -> Answer | None:
        """The answer, or None for "not mine": the engine escalates.

        Raises:
            ProviderError: the call failed. Cancellation passes through, and by then the
                connection is closed.
        """
        ...


class ProviderContext(Protocol):
    """What an engine offers a provider that is being made."""

    @property
    def transport(self) -> Transport:
        """How the engine's calls are sent; what all wire formats here use. Ask on the loop."""
        ...

    @property
    def http(self) -> Any:
        """An HTTP client with httpx's interface (httpx2, or the one the user gave)."""
        ...


ProviderFactory = Callable[..., Provider]
"""Called as ``factory(context, **options)`` with the options that the tier sets
(``base_url``, ``api_key``); an option its signature lacks is refused at load."""

F = TypeVar("F", bound=ProviderFactory)

_registered: dict[str, ProviderFactory] = {}


def provider(name: str) -> Callable[[F], F]:
    """Register a provider factory under ``name``, for this process.

    Raises:
        ConfigError: the name is taken, or has a colon or slash in it.
    """
    if not name or any(c in name for c in ":/"):
        raise ConfigError(f"provider name {name!r}: use letters, digits, '-' and '_'")

    def register(factory: F) -> F:
        if _registered.setdefault(name, factory) is not factory:
            raise ConfigError(f"provider {name!r} is registered already")
        return factory

    return register


def provider_names() -> list[str]:
    """Every provider that can be named, sorted."""
    return sorted({*_registered, *entry_points_of(ENTRY_POINTS)})


def find_provider(name: str) -> ProviderFactory:
    """The factory registered under ``name``.

    Raises:
        UnknownProviderError: there is none; the message has the nearest right name.
    """
    if name in _registered:
        return _registered[name]
    point = entry_points_of(ENTRY_POINTS).get(name)
    if point is None:
        raise UnknownProviderError(f"provider {name!r}: {nearest(name.lower(), provider_names())}")
    factory: ProviderFactory = point.load()
    return factory


def split_model(reference: str) -> tuple[str, str]:
    """``provider:model`` or ``provider/model`` as a pair.

    The first colon or slash divides, so ``openai:org/model`` and ``local:/path/to.gguf`` work.

    Raises:
        UnknownProviderError: there is no provider part.
    """
    cut = min((i for i in (reference.find(":"), reference.find("/")) if i > 0), default=-1)
    if cut < 0 or cut == len(reference) - 1:
        raise UnknownProviderError(
            f"model {reference!r}: write 'provider:model', with one of the providers "
            f"{', '.join(provider_names())}"
        )
    return reference[:cut], reference[cut + 1 :]
