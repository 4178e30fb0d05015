"""How many extra attempts a process may make, so that an outage cannot multiply load."""

from __future__ import annotations

from math import exp, isfinite
from threading import Lock

from cascade.errors import ConfigError

FRACTION = 0.2
RESERVE = 10.0
MEMORY = 60.0


class RetryBudget:
    """One purse for retries, hedges and repairs; every call pays in, every extra attempt takes out.

    A call pays in ``fraction`` of a token; an extra attempt takes one token or is not made. What
    lies in the purse drifts towards ``reserve``, by a factor e nearer in ``memory`` seconds: the
    credit of busy times is forgotten, and a process that makes few calls can retry all the same.
    So in any T seconds, with n calls, at most
    ``fraction * n + reserve * (1 + T / memory)`` extra attempts are made, on top of what was
    left of the calls before.

    Extra are: a retry, a repair, a replica, and a tier started by a delay above 0 while an
    earlier one is undecided. When the purse is empty, the retry is not made and the tier fails
    on to its stand-ins or is out; the repair is not made and the tier is out; the hedge is not
    started until the earlier tiers are out. Never asked for and never refused are a call's first
    attempt, an escalation, a stand-in, the members of an ensemble, and the tiers of a race
    (delay 0), which is no reaction to trouble but what the policy says each call is.

    The share is Finagle's ``RetryBudget`` (20% of requests on top of 10 a second, credit expires
    after 10 s; finagle.github.io/blog/2016/02/08/retry-budgets) and Envoy's ``retry_budget``
    (20% of active requests, never under 3 at a time). Our floor is lower and the memory longer,
    for calls that take seconds and cost money. Drifting does in two numbers what expiring credit
    does in a window of them.

    Thread-safe: engines in several threads share one. Times are seconds on one clock for all,
    such as ``time.monotonic()``; one that goes back counts as standing still.

    Args:
        fraction: extra attempts a call, 0 or more.
        reserve: tokens in the purse at rest: 0 for none, else 2 or more.
        memory: seconds, above 0.

    Attributes:
        refused: how many extra attempts were not made.
    """

    __slots__ = ("_at", "_balance", "_fraction", "_lock", "_memory", "_reserve", "refused")

    def __init__(
        self, *, fraction: float = FRACTION, reserve: float = RESERVE, memory: float = MEMORY
    ) -> None:
        _require("fraction", fraction, fraction >= 0, "a number, 0 or more")
        # From empty, a reserve of 1 or less would never again be a whole token.
        _require("reserve", reserve, reserve == 0 or reserve >= 2, "0, or a number of 2 or more")
        _require("memory", memory, memory > 0, "seconds above 0")
        self.refused = 0
        self._fraction = fraction
        self._reserve = reserve
        self._memory = memory
        self._balance = reserve
        self._at = float("-inf")
        self._lock = Lock()

    def deposit(self, now: float) -> None:
        """Pay in for a call that begins."""
        with self._lock:
            self._drift(now)
            self._balance += self._fraction

    def withdraw(self, now: float) -> bool:
        """Take a token for an extra attempt; False when it must not be made."""
        with self._lock:
            self._drift(now)
            if self._balance < 1.0:
                self.refused += 1
                return False
            self._balance -= 1.0
            return True

    def _drift(self, now: float) -> None:
        elapsed = now - self._at
        if elapsed > 0.0:
            self._at = now
            gap = self._balance - self._reserve
            self._balance = self._reserve + gap * exp(-elapsed / self._memory)


def _require(key: str, value: float, holds: bool, wanted: str) -> None:
    if not (holds and isfinite(value)):
        raise ConfigError(f"retry budget: {key}={value!r}: needs {wanted}")


_shared = RetryBudget()


def shared_budget() -> RetryBudget:
    """The one budget of the process."""
    return _shared
