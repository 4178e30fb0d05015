"""The e-detector: what it may not do by chance, and what it must find."""

from __future__ import annotations

from itertools import product
from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import ConfigError
from cascade_policies.drift.baseline import Baseline, cap_of
from cascade_policies.drift.detector import SHIFTS, Detector
from cascade_policies.report.chance import wilson

RATES = st.floats(0.001, 0.999)


def evidence(baseline: Baseline, values: list[float]) -> float:
    detector = Detector(baseline)
    found = 0.0
    for value in values:
        found = detector.take(value)
    return found


def test_the_shares_are_one_dollar() -> None:
    assert sum(share for _, share in SHIFTS) == pytest.approx(1.0)


@given(mean=RATES, inside=st.floats(0, 1))
def test_one_call_is_worth_no_more_than_its_dollar_on_average(mean: float, inside: float) -> None:
    """For any mean within the interval: that is what the guarantee rests on."""
    low, high = mean * 0.9, mean + (1 - mean) * 0.1
    baseline = Baseline(mean, low, high)
    true = low + inside * (high - low)
    expected = true * evidence(baseline, [1.0]) + (1 - true) * evidence(baseline, [0.0])
    assert expected <= 1 + 1e-9


def test_several_calls_are_worth_no_more_than_their_number() -> None:
    """Exactly, over all ways that six calls can go: an e-detector's mean is at most its age."""
    rate, count = 0.3, 6
    baseline = Baseline(rate, rate, rate)
    expected = 0.0
    for ways in product((0.0, 1.0), repeat=count):
        chance = rate ** sum(ways) * (1 - rate) ** (count - sum(ways))
        expected += chance * evidence(baseline, list(ways))
    assert 0.5 < expected <= count


@given(values=st.lists(st.floats(0, 1e6), max_size=200), mean=RATES)
def test_any_values_leave_finite_evidence(values: list[float], mean: float) -> None:
    assert 0 < evidence(Baseline(mean, mean, mean), [0.0, *values]) < float("inf")


def test_a_value_above_the_cap_counts_as_the_cap() -> None:
    baseline = Baseline.cost(0.01)
    assert evidence(baseline, [0.1]) == evidence(baseline, [50.0])


@pytest.mark.parametrize(("rate", "after"), [(0.25, 0.45), (0.25, 0.1), (0.002, 0.05)])
def test_a_change_is_found_and_dated(rate: float, after: float) -> None:
    random = Random(5)
    delays, misdated, means = [], [], []
    for _ in range(41):
        detector = Detector(Baseline.rate(rate))
        for _ in range(400):
            assert detector.take(float(random.random() < rate)) < 1e4
        calls = 1
        while detector.take(float(random.random() < after)) < 1e4:
            calls += 1
        since, now = detector.since_change()
        delays.append(calls)
        misdated.append(abs(since - calls))
        means.append(now)
    assert median(delays) < 160
    assert median(misdated) < 25
    assert 0.5 < median(means) / after < 2


def test_saved_and_restored_it_goes_on_as_before() -> None:
    random = Random(1)
    values = [random.random() for _ in range(400)]
    baseline = Baseline(0.4, 0.38, 0.42)
    detector = Detector(baseline)
    for value in values[:200]:
        detector.take(value)
    other = Detector.from_dict(detector.to_dict(), baseline)
    assert [other.take(v) for v in values[200:]] == [detector.take(v) for v in values[200:]]
    assert other.since_change() == detector.since_change()


@given(count=st.integers(1, 500), of=st.integers(1, 500))
def test_a_learned_rate_has_the_interval_of_a_share(count: int, of: int) -> None:
    count = min(count, of)
    baseline = Baseline.of([1.0] * count + [0.0] * (of - count), cap=1.0)
    low, high = wilson(count, of)
    assert baseline.mean == pytest.approx(count / of, abs=1e-8)
    assert (baseline.low, baseline.high) == pytest.approx((low, high), abs=1e-8)


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=300))
def test_any_costs_make_a_baseline(costs: list[float]) -> None:
    baseline = Baseline.of(costs)
    assert 0 <= baseline.low <= baseline.mean <= baseline.high < baseline.cap
    assert baseline.cap >= min(2 * sorted(costs)[len(costs) // 2], cap_of(costs))


@pytest.mark.parametrize(
    "numbers", [(0.5, 0.6, 0.7), (0.5, 0.4, 1.0), (-0.1, -0.2, 0.3), (float("nan"), 0.1, 0.2)]
)
def test_impossible_baselines_are_refused(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="0 <= low <= mean <= high < cap"):
        Baseline(*numbers)
