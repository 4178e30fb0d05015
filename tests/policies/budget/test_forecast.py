"""What will have been spent at the end of a window."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random

import pytest

from cascade_policies.budget.forecast import Forecast, _student, forecast
from cascade_policies.budget.windows import QUARTER, window

MIDNIGHT = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
DAY = window("day", MIDNIGHT, UTC)
DOLLAR = 10**9


def test_nothing_is_foretold_in_the_first_minutes() -> None:
    assert forecast(DAY, MIDNIGHT + 299, DOLLAR, [DOLLAR]) is None


def test_an_even_rate_goes_on() -> None:
    quarters = [DOLLAR] * 24
    found = forecast(DAY, MIDNIGHT + 6 * 3600, 24 * DOLLAR, quarters)
    assert found == Forecast(96 * DOLLAR, 96 * DOLLAR, 96 * DOLLAR)


def test_few_quarters_give_no_interval() -> None:
    assert forecast(DAY, MIDNIGHT + 1800, DOLLAR, [0, DOLLAR]) == Forecast(48 * DOLLAR, None, None)
    assert forecast(DAY, MIDNIGHT + 6 * 3600, 0, [0] * 24) == Forecast(0, None, None)


def test_what_is_spent_does_not_come_back() -> None:
    quarters = [0] * 23 + [24 * DOLLAR]
    found = forecast(DAY, MIDNIGHT + 6 * 3600, 24 * DOLLAR, quarters)
    assert found is not None
    assert found.low == 24 * DOLLAR
    assert found.high is not None
    assert found.high > 96 * DOLLAR


@pytest.mark.parametrize(
    ("draw", "least"),
    [(lambda r: r.gauss(1e6, 2e5), 0.94), (lambda r: r.expovariate(1e-6), 0.9)],
    ids=["normal", "skewed"],
)
def test_the_interval_holds_the_sum_as_often_as_it_says(
    draw: Callable[[Random], float], least: float
) -> None:
    random, held, days = Random(7), 0, 2000
    for _ in range(days):
        day = [max(0, round(draw(random))) for _ in range(96)]
        passed = day[:32]
        found = forecast(DAY, MIDNIGHT + 32 * QUARTER, sum(passed), passed)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= sum(day) <= found.high
    assert least < held / days < 0.96


@pytest.mark.parametrize(("freedom", "t"), [(3, 3.1824), (10, 2.2281), (30, 2.0423)])
def test_student(freedom: int, t: float) -> None:
    assert abs(_student(freedom) - t) / t < 0.01  # from any table
