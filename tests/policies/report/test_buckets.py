"""Quantiles are right to the stated error, and attempts that were cut short count as longer."""

from __future__ import annotations

from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_policies.report.buckets import ERROR, HIGHEST, LOWEST, Buckets, bucket, edge

seconds = st.floats(1e-6, 1e6)


def filled(durations: list[float], *, cut: bool = False) -> Buckets:
    buckets = Buckets()
    for duration in durations:
        buckets.add(bucket(duration), 1, int(cut))
    return buckets


@given(seconds)
def test_a_duration_is_within_its_bucket(duration: float) -> None:
    index = bucket(duration)
    assert LOWEST <= index <= HIGHEST
    assert edge(index - 1) * (1 - 1e-9) < duration <= edge(index) * (1 + 1e-9) or index == LOWEST


@pytest.mark.parametrize(
    ("duration", "index"),
    [(0.0, LOWEST), (-1.0, LOWEST), (nan, LOWEST), (inf, HIGHEST), (1e9, HIGHEST), (1.0, 0)],
)
def test_what_is_no_duration_has_a_bucket_all_the_same(duration: float, index: int) -> None:
    assert bucket(duration) == index


@given(st.lists(st.floats(1e-5, 1e5), min_size=100, max_size=300))
def test_quantiles_are_within_the_error_of_the_exact_ones(durations: list[float]) -> None:
    buckets, ordered = filled(durations), sorted(durations)
    for q in (0.5, 0.95, 0.99):
        # The least duration that a share q does not exceed.
        exact = next(
            one
            for one in ordered
            if sum(other <= one for other in ordered) >= q * len(ordered) - 1e-9
        )
        found = buckets.quantile(q)
        assert found is not None
        assert abs(found / exact - 1) <= ERROR + 1e-9


@pytest.mark.parametrize(("q", "least"), [(0.5, 2), (0.95, 20), (0.99, 100)])
def test_too_few_have_no_quantile(q: float, least: int) -> None:
    assert filled([1.0] * (least - 1)).quantile(q) is None
    assert filled([1.0] * least).quantile(q) is not None


def test_nothing_has_no_quantile() -> None:
    assert Buckets().quantile(0.5) is None
    assert not isnan(Buckets().whole)


def test_those_cut_short_would_have_taken_longer() -> None:
    # 60 took a second; 40 were cut before that: of these, nobody knows that they were quicker.
    buckets = filled([1.0] * 60)
    for _ in range(40):
        buckets.add(bucket(0.1), 1, 1)
    median = buckets.quantile(0.5)
    assert median is not None
    assert abs(median - 1.0) <= ERROR + 1e-9
    # 60 quick ones, 40 cut later: p95 is beyond all that is known.
    quick = filled([0.1] * 60)
    for _ in range(40):
        quick.add(bucket(1.0), 1, 1)
    assert quick.quantile(0.5) is not None
    assert quick.quantile(0.95) is None


def test_longer_counts_whole_durations_in_later_buckets() -> None:
    buckets = filled([0.1, 0.2, 5.0])
    buckets.add(bucket(9.0), 1, 1)
    assert buckets.longer(0.2) == (1, 3)
