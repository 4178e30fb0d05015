"""Hours, days and months of a time zone, also where its clocks are set."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade_policies.budget.windows import KINDS, QUARTER, Kind, find_zone, window

ZONES = sorted(available_timezones() - {"localtime", "Factory"})
TIMES = st.floats(
    datetime(1976, 1, 1, tzinfo=UTC).timestamp(), datetime(2090, 1, 1, tzinfo=UTC).timestamp()
)


def unix(text: str, zone: str = "UTC") -> float:
    """A local time as Unix time; the first of two."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def hours(kind: Kind, at: str, zone: str) -> float:
    """How long the window at a local time is."""
    _, began, ended = window(kind, unix(at, zone), ZoneInfo(zone))
    return (ended - began) / 3600


@given(st.sampled_from(KINDS), TIMES, st.sampled_from(ZONES))
@example("day", unix("2011-12-29T23:59:59", "Pacific/Apia"), "Pacific/Apia")
@example("hour", unix("2026-04-05T01:45", "Australia/Lord_Howe"), "Australia/Lord_Howe")
@example("day", unix("2010-11-07T00:00:30", "America/St_Johns"), "America/St_Johns")
def test_windows_follow_each_other_without_gap_or_overlap(
    kind: Kind, now: float, name: str
) -> None:
    zone = find_zone(name)
    found = window(kind, now, zone)
    assert found.began <= now < found.ended
    assert found.began % QUARTER == found.ended % QUARTER == 0
    assert window(kind, found.began, zone) == found
    assert window(kind, found.ended - 0.001, zone) == found
    assert window(kind, found.ended, zone).began == found.ended
    assert window(kind, found.began - 0.001, zone).ended == found.began


@given(TIMES, st.sampled_from(ZONES))
def test_a_day_begins_with_its_date_and_a_month_with_its_name(now: float, name: str) -> None:
    zone = ZoneInfo(name)
    forms: dict[Kind, str] = {"day": "%F", "month": "%Y-%m"}
    for kind, form in forms.items():
        found = window(kind, now, zone)
        first = datetime.fromtimestamp(found.began + QUARTER, zone)
        last = datetime.fromtimestamp(found.ended - QUARTER, zone)
        after = datetime.fromtimestamp(found.ended + QUARTER, zone)
        assert first.strftime(form) == last.strftime(form) != after.strftime(form)


def test_the_clocks_are_set() -> None:
    assert hours("day", "2026-03-29T12:00", "Europe/Berlin") == 23
    assert hours("day", "2026-10-25T12:00", "Europe/Berlin") == 25
    assert hours("day", "2026-10-26T12:00", "Europe/Berlin") == 24
    assert hours("month", "2026-03-01T00:00", "Europe/Berlin") == 31 * 24 - 1
    assert hours("day", "2026-10-04T12:00", "Australia/Lord_Howe") == 23.5


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    zone = ZoneInfo("Europe/Berlin")
    first = window("hour", unix("2026-10-25T02:30", "Europe/Berlin"), zone)
    second = window("hour", first.ended, zone)
    assert (first.ended - first.began, second.ended - second.began) == (3600, 3600)
    assert datetime.fromtimestamp(second.began, zone).hour == 2
    assert datetime.fromtimestamp(second.ended, zone).hour == 3


def test_hours_begin_at_the_full_hour_of_the_zone() -> None:
    found = window("hour", unix("2026-06-01T12:10", "Asia/Kathmandu"), ZoneInfo("Asia/Kathmandu"))
    assert found.began == unix("2026-06-01T06:15")
    assert found.ended == unix("2026-06-01T07:15")


def test_a_day_that_the_calendar_skipped_has_no_window() -> None:
    zone = ZoneInfo("Pacific/Apia")  # went from 29 to 31 December 2011
    before = window("day", unix("2011-12-29T12:00", "Pacific/Apia"), zone)
    after = window("day", before.ended, zone)
    assert datetime.fromtimestamp(after.began, zone).day == 31


def test_the_time_that_is_left() -> None:
    day = window("day", unix("2026-06-01T18:00"), UTC)
    assert day.left(unix("2026-06-01T18:00")) == 0.25
    assert day.left(unix("2026-05-01T18:00")) == 1.0
    assert day.left(unix("2026-07-01T18:00")) == 0.0


def test_a_zone_that_is_none_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no time zone 'Europe/Berln': did you mean 'Europe/Ber"):
        find_zone("Europe/Berln")
    for hostile in ("", "/etc/passwd", "../../etc/passwd", "a\0b", "x" * 5000):
        with pytest.raises(ConfigError, match="no time zone"):
            find_zone(hostile)
