"""From when to when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import ConfigError
from cascade_policies.report.rollups import DAY, HOUR
from cascade_policies.report.window import Window
from tests.policies.report.conftest import NOW


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("1h", NOW - HOUR),
        ("7d", NOW - 7 * DAY),
        ("2w", NOW - 14 * DAY),
        ("2027-01-01", 1798761600),
        ("2027-01-01T06:30", 1798761600 + 6 * HOUR),  # the hour that 6:30 is in
        ("2027-01-01T06:30+02:00", 1798761600 + 4 * HOUR),
    ],
)
def test_since(text: str, since: int) -> None:
    window = Window.parse(text, NOW)
    assert (window.since, window.until) == (since, NOW + HOUR)


@pytest.mark.parametrize(
    "text", ["", "7", "7 d", "d", "-1d", "0d", "123456d", "tomorrow", "2027-13-01", "2030-01-01"]
)  # fmt: skip
def test_what_is_no_time_in_the_past_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--since"):
        Window.parse(text, NOW)


@given(st.text(max_size=20))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        window = Window.parse(text, NOW)
    except ConfigError:
        return
    assert window.since % HOUR == 0
    assert window.since < NOW < window.until + 1


@given(st.integers(0, 40 * 24), st.integers(1, 40 * 24), st.sampled_from([HOUR, DAY]))
def test_days_and_hours_cover_each_hour_once(first: int, count: int, step: int) -> None:
    window = Window(first * HOUR, (first + count) * HOUR)
    covered: list[int] = []
    for span, since, until in window.parts(step):
        assert since % span == until % span == 0
        covered += range(since, until, HOUR)
    assert sorted(covered) == list(range(window.since, window.until, HOUR))


def test_the_period_before_has_the_same_length() -> None:
    window = Window.parse("7d", NOW)
    assert window.before.until == window.since
    assert window.until - window.since == window.before.until - window.before.since


def test_hours_before_the_ledger_began_and_after_now_do_not_count() -> None:
    window = Window.around(NOW - 10 * HOUR, NOW + 1800)
    assert window.hours(None) == 10.5
    assert window.hours(NOW - 4 * HOUR) == 4.5
    assert window.hours(NOW) == 1.0
