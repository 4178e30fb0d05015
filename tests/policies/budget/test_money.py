"""Whole nano-dollars."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from cascade_policies.budget.money import MOST, NANO, at_least, at_most, in_usd, shown


@given(st.integers(0, MOST))
def test_whole_nano_dollars_come_back_as_they_are(nanos: int) -> None:
    if nanos < 2**43:  # as far as a float can tell them apart, with digits to spare
        assert at_most(in_usd(nanos)) == at_least(in_usd(nanos)) == nanos


@given(st.floats(0, 50), st.integers(1, 20))
def test_what_may_be_spent_is_never_rounded_down(usd: float, times: int) -> None:
    exact = Fraction(usd) * NANO
    assert at_most(usd) >= exact - Fraction(1, 1000)
    assert at_least(usd) <= exact + Fraction(1, 1000)
    assert at_most(usd) - at_least(usd) <= 1
    # A float product is off by a little, which must not become a nano-dollar.
    price = round(usd, 6)
    assert at_most(price * times) == at_least(price * times) == round(price * 10**6) * times * 1000


def test_an_absurd_amount_stays_within_the_database() -> None:
    assert at_most(1e300) == at_least(1e300) == MOST


def test_shown() -> None:
    assert shown(0) == "$0.00"
    assert shown(12_345_600_000_000) == "$12,345.60"
    assert shown(10_000_000) == "$0.01"
    assert shown(1_234_500) == "$0.0012345"
    assert shown(1) == "$0.000000001"
