"""Stops calling a model whose provider is unwell, and finds out when it is well again."""

from __future__ import annotations

from collections import deque
from math import inf
from random import Random

from cascade.errors import ConfigError

MOST = 500  # attempts that the window holds: a bound on its memory


class CircuitBreaker:
    """One (provider, model): closed, open, or half-open with one probe at a time.

    It opens when, of at least ``minimum`` attempts that ended in the last ``window`` seconds (the
    last 500, if more), a share of ``rate`` or more had failed. Open, it admits nobody for a random
    time between half and all of ``first`` seconds. Then it is half-open and admits one attempt, a
    probe: if that succeeds, the breaker closes with a clean slate; if it fails, it opens for twice
    the bound, up to ``longest``; if it is cancelled, or silent for ``longest``, the next is one.

    Every admitted attempt is told of once, with its ticket. News of attempts admitted before the
    breaker last opened or closed is old, and changes nothing. For one thread. The pattern is
    Nygard's ("Release It!", 2007); Polly and resilience4j go by the same share of a window.
    """

    def __init__(
        self,
        random: Random,
        *,
        rate: float = 0.5,
        minimum: int = 10,
        window: float = 30.0,
        first: float = 5.0,
        longest: float = 60.0,
    ) -> None:
        if not (0 < rate <= 1 <= minimum <= MOST and window > 0 and 0 < first <= longest < inf):
            raise ConfigError(
                f"circuit breaker: {rate=}, {minimum=}, {window=}, {first=}, {longest=}: needs "
                f"rate in (0, 1], minimum in 1..{MOST}, window above 0, 0 < first <= longest < inf"
            )
        self._random = random
        self._rate, self._minimum, self._window = rate, minimum, window
        self._first, self._longest = first, longest
        self._until: float | None = None  # when the next probe may start; None: closed
        self._ended: deque[tuple[float, int]] = deque()  # of (when, 1 if failed), oldest first
        self._bound, self._failures, self._ticket = first, 0, 0

    def admit(self, now: float) -> int | None:
        """A ticket for an attempt that starts now, or None when none may: not before `wait`."""
        if self._until is None:
            return self._ticket
        if now < self._until:
            return None
        # The probe's lease: others wait for its end, so a probe that hangs locks nobody out.
        self._until = now + self._longest
        self._ticket += 1
        return self._ticket

    def stale(self, ticket: int) -> bool:
        """Whether the breaker has opened or closed since it gave that ticket."""
        return ticket != self._ticket

    def wait(self, now: float) -> float:
        """Seconds until an attempt may be admitted; a probe that is out may shorten them."""
        return 0.0 if self._until is None else max(0.0, self._until - now)

    def succeeded(self, ticket: int, now: float) -> None:
        """The provider answered, be it to say that the request is wrong."""
        if ticket == self._ticket and self._until is None:
            self._count(now, 0)
        elif ticket == self._ticket:
            self._close()

    def failed(self, ticket: int, now: float) -> None:
        """The attempt failed, and the provider is `unwell` (cascade/health.py)."""
        if ticket == self._ticket:
            if self._until is None and not self._count(now, 1):
                return
            self._ticket += 1
            self._until = now + self._bound * self._random.uniform(0.5, 1.0)
            self._bound = min(self._longest, self._bound * 2.0)

    def cancelled(self, ticket: int, now: float) -> None:
        """The attempt was given up before it said anything of the provider."""
        if ticket == self._ticket and self._until is not None:
            self._until = now

    def _close(self) -> None:
        self._ticket += 1
        self._until, self._bound, self._failures = None, self._first, 0
        self._ended.clear()

    def _count(self, now: float, failed: int) -> bool:
        """Whether too many have failed."""
        ended = self._ended
        ended.append((now, failed))
        self._failures += failed
        while ended[0][0] <= now - self._window or len(ended) > MOST:
            self._failures -= ended.popleft()[1]
        return len(ended) >= self._minimum and self._failures >= self._rate * len(ended)
