"""Intervals that hold what they promise."""

from __future__ import annotations

from math import comb
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_policies.report.chance import means_differ, shares_differ, wilson


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_as_published(count: int, of: int, low: float, high: float) -> None:
    assert wilson(count, of) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_an_interval_holds_its_share(count: int, of: int) -> None:
    count = min(count, of)
    low, high = wilson(count, of)
    assert 0.0 <= low <= count / of <= high <= 1.0


def test_of_nothing_anything_is_possible() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("share", [0.02, 0.25, 0.5])
def test_an_interval_covers_the_truth_in_about_95_of_100(share: float) -> None:
    of = 200
    chances = [comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(of + 1)]
    covered = sum(p for k, p in enumerate(chances) if wilson(k, of)[0] <= share <= wilson(k, of)[1])
    assert 0.93 <= covered <= 0.98


def test_the_same_share_twice_is_chance() -> None:
    random = Random(3)
    differ = 0
    for _ in range(1000):
        one, other = (sum(random.random() < 0.25 for _ in range(300)) for _ in range(2))
        differ += bool(shares_differ(one, 300, other, 300))
    assert differ <= 25  # 10 expected


def test_a_change_from_25_to_45_percent_is_none() -> None:
    assert shares_differ(135, 300, 75, 300) is True
    assert shares_differ(75, 300, 135, 300) is True
    assert shares_differ(0, 0, 75, 300) is None


def test_means() -> None:
    def of(values: list[float]) -> tuple[int, float, float]:
        return len(values), sum(values), sum(value * value for value in values)

    random = Random(5)
    ones = [random.expovariate(1.0) for _ in range(400)]
    assert means_differ(of(ones), of([2.0 * one for one in ones])) is True
    assert means_differ(of(ones), of(ones[::-1])) is False
    assert means_differ(of([0.1] * 1000), of([0.1] * 77)) is False  # no spread, and no digits lost
    assert means_differ(of(ones[:29]), of(ones)) is None
