"""Money in whole nano-dollars, so that sums are exact and no limit is passed by a rounding."""

from __future__ import annotations

from math import ceil, floor
from typing import Final

NANO: Final = 1_000_000_000
"""Nano-dollars in a dollar; a model at $0.15 per million tokens costs 150 of them a token."""

MOST: Final = 1_000_000 * NANO
"""More than any one attempt costs; the sum of billions of them still fits SQLite's integers."""

# Digits kept before rounding to whole nano-dollars. A product of floats like 0.1 * 3 is off by some
# 1e-16 of itself, which must not become a whole nano-dollar; up to $1,000, it does not.
_DIGITS = 3


def at_least(usd: float) -> int:
    """Nano-dollars, rounded down."""
    return floor(_nanos(usd))


def at_most(usd: float) -> int:
    """Nano-dollars, rounded up."""
    return ceil(_nanos(usd))


def _nanos(usd: float) -> float:
    return round(min(usd * NANO, float(MOST)), _DIGITS)


def in_usd(nanos: int) -> float:
    """Nano-dollars in dollars."""
    return nanos / NANO


def shown(nanos: int) -> str:
    """An amount for people: to the cent, or to as many digits as a small one needs."""
    digits = 2
    while digits < 9 and nanos % 10 ** (9 - digits) and abs(nanos) < 10 ** (13 - digits):
        digits += 1
    return f"${nanos / NANO:,.{digits}f}"
