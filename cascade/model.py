"""A model with settings of its own, and what its provider allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cascade.address import fault_of_any
from cascade.cost import Price
from cascade.errors import ConfigError
from cascade.provider import Provider

MOST_IN_A_TOKEN = 128
"""Characters: what tokenizers have of such length are rows of one character; words are shorter."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Limits:
    """What a provider allows of one model; None for no limit.

    Attempts that would exceed one wait their turn, in the order in which they came.

    Attributes:
        requests_per_minute: calls begun in any minute.
        tokens_per_minute: tokens read and written in any minute.
        concurrency: calls in flight.

    Raises:
        ConfigError: a limit is no whole number of 1 or more.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        for key in ("requests_per_minute", "tokens_per_minute", "concurrency"):
            value = getattr(self, key)
            if value is not None and not _whole(value):
                raise ConfigError(f"{key}={value!r}: needs a whole number, 1 or more, or None")

    def __bool__(self) -> bool:
        return self != Limits()


@dataclass(frozen=True, slots=True, eq=False)
class ModelSpec:
    """A model with its own address, key, price and limits: given where a model is given.

    A tier's own ``base_url``, ``api_key``, ``price`` and ``cancel_stops_billing`` are for models
    given as text; here they are the model's. So a tier and its stand-ins may each have their own.

    Attributes:
        model: ``"provider:model"``, a plain function or a `Provider`.
        base_url: as in `Tier`.
        api_key: as in `Tier`.
        price: as in `Tier`.
        cancel_stops_billing: as in `Tier`.
        context_window: tokens that it takes; an attempt whose prompt is surely longer fails before
            it is sent. Surely: it has more words, parted by blanks (no usual tokenizer makes one
            token of two), or more than `MOST_IN_A_TOKEN` characters a token. Often it takes the
            provider to find a prompt too long.
        limits: what its provider allows; all that call the model, at the same address and with the
            same key, share them, and those of the policy that was made ready last hold.

    Raises:
        ConfigError: a value is impossible.
    """

    model: str | Provider | Callable[..., Any]
    base_url: str | None = field(default=None, kw_only=True)
    api_key: str | None = field(default=None, kw_only=True, repr=False)
    price: Price | None = field(default=None, kw_only=True)
    cancel_stops_billing: bool | None = field(default=None, kw_only=True)
    context_window: int | None = field(default=None, kw_only=True)
    limits: Limits = field(default_factory=Limits, kw_only=True)

    def __post_init__(self) -> None:
        named = isinstance(self.model, str) and self.model != ""
        if not (named or callable(self.model) or isinstance(self.model, Provider)):
            raise ConfigError(
                f"a model is 'provider:model', a function or a Provider; got {self.model!r}"
            )
        for key in ("base_url", "api_key"):
            if not isinstance(getattr(self, key), str | None):
                raise ConfigError(f"{key}: needs text, or None")  # and what it is may be secret
        check_address(self.base_url)
        self._require("price", isinstance(self.price, Price | None), "a Price, or None")
        stops = isinstance(self.cancel_stops_billing, bool | None)
        self._require("cancel_stops_billing", stops, "True, False or None")
        limits = isinstance(self.limits, Limits)
        self._require("limits", limits, "Limits, such as Limits(concurrency=4)")
        window = self.context_window
        if window is not None and not _whole(window):
            raise ConfigError(f"context_window={window!r}: needs tokens, 1 or more, or None")

    def _require(self, key: str, fits: bool, wanted: str) -> None:
        if not fits:
            raise ConfigError(f"{key}={getattr(self, key)!r}: needs {wanted}")

    @property
    def name(self) -> str:
        """What to call it."""
        if isinstance(self.model, str):
            return self.model
        name = getattr(self.model, "name", None) or getattr(self.model, "__name__", None)
        return str(name or type(self.model).__name__)


def check_address(base_url: str | None) -> None:
    """Refuse a secret in an address: whatever shows a model or a tier shows its address.

    Raises:
        ConfigError: there is one; it is not repeated.
    """
    if base_url is not None and (secret := fault_of_any(base_url)):
        raise ConfigError(f"base_url: {secret}")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
