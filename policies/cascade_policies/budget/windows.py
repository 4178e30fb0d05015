"""The windows of a budget: the hour, the day and the month that it is in a time zone.

They follow the zone's calendar, so a day on which the clocks change has 23 or 25 hours. Windows of
a kind follow each other without a gap. All begin at a full quarter of an hour in UTC, as every
zone's offset has been a multiple of that for fifty years; what is spent is kept by such quarters,
so that a change of the zone loses nothing.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cascade.errors import ConfigError, nearest

Kind = Literal["hour", "day", "month"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

QUARTER: Final = 900
"""Seconds."""


class Window(NamedTuple):
    """The Unix times, whole seconds, between which a window lies: began <= time < ended."""

    kind: Kind
    began: int
    ended: int

    def left(self, now: float) -> float:
        """The share of its time that is still to come."""
        return min(1.0, max(0.0, (self.ended - now) / (self.ended - self.began)))


def find_zone(name: str) -> tzinfo:
    """The time zone of that IANA name.

    Raises:
        ConfigError: there is none.
    """
    if name == "UTC":  # also where no time zones are installed
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = available_timezones()
        remedy = nearest(name, known) if known else "none is installed here: pip install tzdata"
        raise ConfigError(f"no time zone {name!r}: {_short(remedy)}") from None


def window(kind: Kind, now: float, zone: tzinfo) -> Window:
    """The window of that kind at the Unix time ``now``."""
    if kind == "hour":
        return _hour(now, zone)
    day = datetime.fromtimestamp(now, zone).date()
    day = day.replace(day=1) if kind == "month" else day
    # Where clocks go back over midnight, a date comes twice: its window is the first to the last.
    while now < (began := _instant(day, zone)):
        day = _step(day, kind, -1)
    while now >= (ended := _instant(_step(day, kind, 1), zone)):
        day = _step(day, kind, 1)
        began = ended
    return Window(kind, began, ended)


def _hour(now: float, zone: tzinfo) -> Window:
    began = int(now // QUARTER) * QUARTER
    ended = began + QUARTER
    while not _begins_hour(began, zone):
        began -= QUARTER
    while not _begins_hour(ended, zone):
        ended += QUARTER
    return Window("hour", began, ended)


def _begins_hour(at: int, zone: tzinfo) -> bool:
    """Whether another hour began in the quarter before: by the clock, or because it was set."""
    return _label(at, zone) != _label(at - QUARTER, zone)


def _label(at: int, zone: tzinfo) -> tuple[date, int, timedelta | None]:
    local = datetime.fromtimestamp(at, zone)
    return local.date(), local.hour, local.utcoffset()


def _instant(day: date, zone: tzinfo) -> int:
    """When the day begins; the moment the clocks were set, where they skip midnight."""
    at = datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
    return int(at // QUARTER) * QUARTER


def _step(day: date, kind: Kind, by: int) -> date:
    if kind == "day":
        return day + timedelta(days=by)
    return (day + timedelta(days=32 if by > 0 else -1)).replace(day=1)


def _short(remedy: str) -> str:
    return remedy if len(remedy) < 100 else "write an IANA name, like Europe/Berlin"
