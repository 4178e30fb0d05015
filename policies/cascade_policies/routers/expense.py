"""Whether a router costs more than it can be worth: its share of what calls cost."""

from __future__ import annotations

from cascade.logs import warn
from cascade.records import CallRecord

SHARE = 0.1
"""The share of an average call's cost from which a router is called expensive."""

FEWEST = 20
"""Calls before the first warning: a few say little about an average."""

QUIET = 1_000
"""Calls between two warnings."""

_WEIGHT = 0.02
"""Of the newest call in the running averages, which so look back about 50 calls."""


class Expense:
    """Running averages of what a router and the calls it began cost; it logs a warning.

    ``cascade.router_expensive`` is logged when the router's average is above `SHARE` of the
    average call's (the router's part included), once in `QUIET` calls. Calls whose cost is not
    known do not count.

    Args:
        router: its name, for the log.
    """

    def __init__(self, router: str) -> None:
        self._router = router
        self._calls = 0
        self._next = FEWEST
        self._of_router = 0.0
        self._of_call = 0.0

    def call_finished(self, record: CallRecord, /) -> None:
        """Count a call, and warn if it is time to."""
        route = record.route
        if route is None or route.cost.high is None or record.cost.high is None:
            return
        self._calls += 1
        # Both begin at 0 and are too low alike, so that their ratio is right from the first call.
        self._of_router += _WEIGHT * (route.cost.high - self._of_router)
        self._of_call += _WEIGHT * (record.cost.high - self._of_call)
        if self._calls >= self._next and self._of_router > SHARE * self._of_call:
            self._next = self._calls + QUIET
            seen = 1 - (1 - _WEIGHT) ** self._calls
            warn(
                "cascade.router_expensive",
                policy=record.policy,
                router=self._router,
                share=round(self._of_router / self._of_call, 4),
                router_cost=self._of_router / seen,
                call_cost=self._of_call / seen,
                calls=self._calls,
            )
