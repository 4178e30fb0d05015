"""What an attempt costs: a price per token, and an interval where the truth is not known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from cascade.errors import ConfigError
from cascade.types import Usage

Basis = Literal["reported", "estimated", "cancelled"]

# From certain to uncertain: a sum is as uncertain as its most uncertain part.
_CERTAINTY: tuple[Basis, ...] = ("reported", "estimated", "cancelled")


class Cost(Struct, frozen=True):
    """US dollars: at least ``low``, at most ``high``; both None where no price is known.

    ``basis`` says where the numbers come from: ``reported`` (the provider's own token counts),
    ``estimated`` (tokens estimated from the text), ``cancelled`` (the call was cut short, so what
    the provider bills is not known).
    """

    low: float | None
    high: float | None
    basis: Basis = "reported"

    @classmethod
    def unknown(cls, basis: Basis = "reported") -> Cost:
        """No price is known. Never zero: an unknown cost must not look like a free call."""
        return cls(None, None, basis)

    def __add__(self, other: Cost) -> Cost:
        if other is FREE:
            return self
        basis = _CERTAINTY[max(_CERTAINTY.index(self.basis), _CERTAINTY.index(other.basis))]
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return Cost(None, None, basis)
        return Cost(self.low + other.low, self.high + other.high, basis)

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return "unknown"
        if self.low == self.high:
            return _dollars(self.low)
        return f"{_dollars(self.low)} to {_dollars(self.high)}"


FREE = Cost(0.0, 0.0)


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of the intervals; unknown as soon as one of them is."""
    result: Cost | None = None
    for cost in costs:
        result = cost if result is None else result + cost
    return FREE if result is None else result


class Price(Struct, frozen=True, kw_only=True):
    """US dollars per million tokens. ``cached_input`` is the price of input read from a cache."""

    input: float
    output: float
    cached_input: float | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached_input"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise ConfigError(
                    f"price {name}={value!r}: give US dollars per million tokens, 0 or more"
                )

    def of(self, usage: Usage) -> float | None:
        """Dollars for the tokens of ``usage``, or None when a count is missing."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        cached = 0
        if self.cached_input is not None and usage.cached_input_tokens is not None:
            cached = min(usage.cached_input_tokens, usage.input_tokens)
        dollars = (usage.input_tokens - cached) * self.input + usage.output_tokens * self.output
        return (dollars + cached * (self.cached_input or 0.0)) / 1_000_000


def _dollars(value: float) -> str:
    return "$0" if value == 0 else f"${value:.2g}" if value < 0.01 else f"${value:,.4f}"
