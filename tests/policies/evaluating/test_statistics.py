"""Intervals that hold, and paired tests that are exact."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cascade_policies.evaluating import interval
from cascade_policies.evaluating.paired import compare, holm, mcnemar

units = st.floats(0, 1)


def test_zeros_and_ones_have_wilsons_interval() -> None:
    found = interval(np.array([1.0] * 8 + [0.0] * 2))
    # Wilson (1927) for 8 of 10, as in R's prop.test(8, 10, correct=FALSE).
    assert found.method == "wilson"
    assert (round(found.low, 4), round(found.high, 4)) == (0.4902, 0.9433)


@given(st.lists(units | st.sampled_from([0.0, 1.0]), max_size=40))
@example([])
@example([0.5])
@example([1.0])
@example([0.25] * 40)
def test_an_interval_is_around_its_mean(values: list[float]) -> None:
    found = interval(np.array(values))
    assert 0 <= found.low <= found.high <= 1
    assert not values or found.low - 1e-12 <= found.mean <= found.high + 1e-12
    assert found.high - found.low > 0


def test_graded_intervals_hold_as_often_as_they_say() -> None:
    random = np.random.default_rng(7)
    truth, missed = 0.9, 0
    for _ in range(1000):
        low, high = interval(random.beta(9, 1, 200))[1:3]
        missed += not low <= truth <= high
    assert missed <= 50  # it is wider than it would have to be


def test_graded_intervals_of_equal_values_have_a_width() -> None:
    found = interval(np.full(100, 0.5))
    assert found.low < 0.5 < found.high


@pytest.mark.parametrize(
    ("better", "worse", "p"), [(0, 0, 1), (3, 3, 1), (0, 5, 2 / 32), (1, 8, 20 / 512), (0, 1, 1)]
)
def test_mcnemar_is_exact(better: int, worse: int, p: float) -> None:
    assert mcnemar(better, worse) == p


def test_mcnemar_takes_any_number_of_rows() -> None:
    assert mcnemar(0, 5000) == 0.0
    assert 0 < mcnemar(2400, 2600) < 0.01


@given(st.lists(st.tuples(units, units), min_size=1, max_size=7))
def test_flipped_signs_are_all_tried(pairs: list[tuple[float, float]]) -> None:
    now, before = (np.array(side) for side in zip(*pairs, strict=True))
    found = compare(now, before)
    if found.test != "sign-flip":
        return
    differences = [d for d in (now - before).tolist() if d != 0]
    sums = [abs(math.fsum(s * d for s, d in zip(signs, differences, strict=True)))
            for signs in product((1, -1), repeat=len(differences))]  # fmt: skip
    seen, slack = abs(math.fsum(differences)), 1e-9 * sum(map(abs, differences))
    least = sum(one >= seen + slack for one in sums) / len(sums)
    most = sum(one >= seen - 2 * slack for one in sums) / len(sums)
    assert least <= found.p <= most


def test_many_differences_are_drawn_and_never_zero() -> None:
    random = np.random.default_rng(1)
    before = random.uniform(0.1, 0.5, 400)
    worse = compare(before - 0.05, before)
    assert (worse.worse, worse.test) == (400, "sign-flip")
    assert 0 < worse.p < 0.001
    shuffled = compare(random.uniform(0.1, 0.5, 400), before)
    assert shuffled.p > 0.001
    assert compare(before, before).p == 1


def test_of_many_comparisons_only_the_sure_ones_count() -> None:
    assert holm({"a": 0.04, "b": 0.04}) == set()
    assert holm({"a": 0.02, "b": 0.04}) == {"a", "b"}
    assert holm({"a": 0.03, "b": 0.9}) == set()
    assert holm({}) == set()
