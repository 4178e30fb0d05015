"""Tails against sums of exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_policies.tuning.binomial import at_least, at_most, interval, rows_needed


def exact(count: int, of: int, share: float) -> float:
    p = Fraction(share)
    return float(sum((comb(of, k) * p**k * (1 - p) ** (of - k) for k in range(count, of + 1)),
                     Fraction(0)))  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.0, 1.0))
def test_a_tail_is_its_sum_and_never_below_it(count: int, of: int, share: float) -> None:
    wanted = exact(count, of, share)
    assert wanted <= at_least(count, of, share) * (1 + 1e-12) + 1e-300
    assert at_least(count, of, share) <= wanted * (1 + 1e-8) + 1e-12
    assert at_most(of - count, of, 1.0 - share) == pytest.approx(
        exact(count, of, 1.0 - (1.0 - share)), rel=1e-8, abs=1e-12
    )


@pytest.mark.parametrize(("count", "of", "share"), [
    (1980, 2000, 0.98), (950, 1000, 0.92), (2990, 3000, 0.99), (0, 10, 0.5), (11, 10, 0.5),
])  # fmt: skip
def test_a_tail_of_many_rows(count: int, of: int, share: float) -> None:
    assert at_least(count, of, share) == pytest.approx(exact(count, of, share), rel=2e-9)


def test_an_interval_leaves_half_the_risk_on_either_side() -> None:
    low, high = interval(90, 100, 0.95)
    assert at_least(90, 100, low) == pytest.approx(0.025, rel=1e-6)
    assert at_most(90, 100, high) == pytest.approx(0.025, rel=1e-6)
    assert interval(0, 0, 0.95) == (0.0, 1.0)
    assert interval(0, 20, 0.95)[0] == 0.0
    assert interval(20, 20, 0.95)[1] == 1.0


@given(st.floats(0.001, 0.9), st.floats(0.001, 0.5))
def test_as_many_rows_as_are_needed_are_enough_and_one_fewer_is_not(
    margin: float, risk: float
) -> None:
    rows = rows_needed(margin, risk)
    assert (1 - margin) ** rows <= risk * (1 + 1e-6)
    assert rows == 1 or (1 - margin) ** (rows - 1) > risk * (1 - 1e-6)
