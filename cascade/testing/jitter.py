"""Retries at known times."""

from __future__ import annotations

from random import Random


class NoJitter(Random):
    """A source of jitter that always draws the upper bound: ``Engine(random=NoJitter())``."""

    def uniform(self, a: float, b: float) -> float:
        """The upper bound."""
        del a
        return b
