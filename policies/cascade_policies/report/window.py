"""The period that a report is of, in whole hours."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from math import inf
from typing import Final

from msgspec import Struct

from cascade.errors import ConfigError
from cascade_policies.report.rollups import DAY, HOUR

_UNITS: Final = {"h": HOUR, "d": DAY, "w": 7 * DAY}
_AGO: Final = re.compile(r"([0-9]{1,5})([hdw])")
_HOURLY: Final = 3 * DAY  # a plot of a shorter period has a step an hour
_LAST: Final = 253_370_764_800  # the year 9999, where dates end


class Window(Struct, frozen=True):
    """From ``since``, before ``until``: Unix seconds, both on the edge of an hour.

    ``now`` is within the last hour where that is not over yet.
    """

    since: int
    until: int
    now: float = inf

    @classmethod
    def parse(cls, text: str, now: float) -> Window:
        """From ``12h``, ``7d`` or ``4w`` before now, or from a date or time, until now.

        What is not on the edge of an hour begins at the one before; the hour that runs is in it.
        A time without a zone is UTC.

        Raises:
            ConfigError: it is none of these, or lies ahead.
        """
        match = _AGO.fullmatch(text)
        try:
            if match:
                since = now - int(match[1]) * _UNITS[match[2]]
            else:
                at = datetime.fromisoformat(text)
                since = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise ConfigError(
                f"--since {text!r}: give hours, days or weeks like 12h, 7d or 4w, "
                "or a date like 2026-01-31 or 2026-01-31T18:00"
            ) from None
        if since >= now:
            raise ConfigError(f"--since {text!r}: give a time that is over")
        return cls.around(since, now)

    @classmethod
    def around(cls, since: float, now: float) -> Window:
        """The hours that these two moments are in, and all between."""
        first, last = (int(max(0.0, min(at, _LAST)) // HOUR) * HOUR for at in (since, now))
        return cls(first, max(first, last) + HOUR, now)

    @property
    def before(self) -> Window:
        """The period of the same length just before."""
        return Window(2 * self.since - self.until, self.since)

    def hours(self, began: float | None) -> float:
        """How many hours of it are over; those before a ledger ``began`` do not count."""
        since = max(self.since, -inf if began is None else began)
        return max(1.0, (min(self.until, self.now) - since) / HOUR)

    @property
    def step(self) -> int:
        """Seconds of a step in a plot: an hour or a day."""
        return HOUR if self.until - self.since <= _HOURLY else DAY

    def parts(self, step: int = DAY) -> list[tuple[int, int, int]]:
        """The sums that cover this period: their span, from when, and until when.

        Whole days are read as such where a ``step`` of a day is enough; what is left at both ends
        by the hour.
        """
        first, last = -(-self.since // DAY) * DAY, self.until // DAY * DAY
        if step < DAY or first >= last:
            return [(HOUR, self.since, self.until)]
        parts = [(DAY, first, last), (HOUR, self.since, first), (HOUR, last, self.until)]
        return [part for part in parts if part[1] < part[2]]


def day_of(start: int, step: int = DAY) -> str:
    """The day of a Unix time, like ``2026-01-31``; with the hour where ``step`` is one."""
    return datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%d" if step == DAY else "%d %b %H:%M")


def moment(at: float) -> str:
    """A Unix time in UTC, to the minute."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
