"""How long to wait before a retry."""

from __future__ import annotations

from random import Random

FIRST = 0.5
LONGEST = 8.0
PATIENCE = 60.0
"""A server that asks for a longer wait than these seconds is not waited for: its tier fails on."""


def full_jitter(random: Random, tries: int, retry_after: float | None) -> float:
    """Seconds to wait after the ``tries``-th failure (from 1) of one model.

    Uniform between 0 and an exponentially growing bound, which spreads retries best (Brooker,
    "Exponential Backoff and Jitter", AWS Architecture Blog, 2015), on top of what the server
    asked for.
    """
    bound = min(LONGEST, FIRST * 2.0 ** min(tries - 1, 16))
    return (retry_after or 0.0) + random.uniform(0.0, bound)
