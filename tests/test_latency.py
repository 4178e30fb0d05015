"""The latency histograms: right to 5%, fading, mergeable, and honest about what was cut off."""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import inf, nan
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade.histogram import HALF_LIFE, Histogram
from cascade.latency import ModelLatency, parse_quantile

NOW = 1.8e9
DAY = HALF_LIFE

durations = st.floats(1e-6, 1e6)
quantiles = st.sampled_from([0.05, 0.5, 0.9, 0.95])


def filled(values: Iterable[float], now: float = NOW, *, cut: bool = False) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value, now, cut=cut)
    return histogram


@given(values=st.lists(durations, min_size=20, max_size=200), q=quantiles)
def test_a_quantile_is_right_to_five_percent(values: list[float], q: float) -> None:
    estimate = filled(values).quantile(q, NOW)
    assert estimate is not None
    # Where q falls on the step between two values, rounding may choose either.
    low, high = np.quantile(values, [q - 1e-6, q + 1e-6], method="inverted_cdf")
    assert low * 0.95 <= estimate * (1 + 1e-9)
    assert estimate * (1 - 1e-9) <= high * 1.05


def test_a_quantile_is_right_to_five_percent_for_the_latencies_of_models() -> None:
    random = Random(1)
    values = [0.3 + random.lognormvariate(0.5, 1.2) for _ in range(20_000)]
    histogram = filled(values)
    for q in (0.5, 0.9, 0.95, 0.99, 0.999):
        exact = float(np.quantile(values, q, method="inverted_cdf"))
        estimate = histogram.quantile(q, NOW)
        assert estimate is not None
        assert exact * 0.95 <= estimate <= exact * 1.05


@pytest.mark.parametrize(
    ("q", "enough"), [(0.5, 20), (0.9, 20), (0.95, 20), (0.99, 100), (0.999, 1000)]
)
def test_with_too_few_samples_there_is_no_quantile(q: float, enough: int) -> None:
    histogram = filled([1.0] * (enough - 1))
    assert histogram.quantile(q, NOW) is None
    histogram.record(1.0, NOW)
    assert histogram.quantile(q, NOW) is not None


def test_a_quantile_that_is_asked_for_all_the_time_follows_the_samples() -> None:
    histogram = filled([1.0] * 100)
    for _ in range(105):
        assert histogram.quantile(0.5, NOW) is not None
        histogram.record(10.0, NOW)
    estimate = histogram.quantile(0.5, NOW)
    assert estimate is not None
    assert estimate > 9.0, "of 205 samples, 105 are 10"


@given(value=st.sampled_from([0.0, -1.0, 1e-9, 1e9, inf]))
def test_durations_beyond_the_range_count_at_its_ends(value: float) -> None:
    estimate = filled([value] * 20).quantile(0.5, NOW)
    assert estimate is not None
    assert 0.95e-6 <= estimate <= 1.05e6


def test_hostile_durations_take_bounded_memory() -> None:
    random = Random(1)
    histogram = filled(10 ** random.uniform(-9, 9) for _ in range(20_000))
    assert len(histogram.to_dict()["buckets"]) <= 278


# Fading


def test_a_sample_weighs_half_as_much_a_day_later() -> None:
    histogram = filled([1.0] * 32)
    assert [histogram.count(NOW + day * DAY) for day in range(4)] == [32.0, 16.0, 8.0, 4.0]
    assert histogram.quantile(0.5, NOW) is not None
    assert histogram.quantile(0.5, NOW + DAY) is None, "what it knew is too old"


def test_new_days_count_more_than_old_ones() -> None:
    histogram = filled([10.0] * 100, NOW)
    for _ in range(100):
        histogram.record(1.0, NOW + 7 * DAY)
    slow = histogram.quantile(0.95, NOW + 7 * DAY)
    assert slow is not None
    assert slow < 1.06


def test_years_and_clocks_that_jump_are_survived() -> None:
    histogram = filled([5.0] * 100, now=4e9)  # a clock that was wrong
    for value in [1.0] * 900:
        histogram.record(value, NOW)
    estimate = histogram.quantile(0.5, NOW)
    assert estimate is not None
    assert estimate < 1.06
    for year in range(1, 40):
        for _ in range(20):
            histogram.record(3.0, 4e9 + year * 365 * DAY)
        assert 20 <= histogram.count(4e9 + year * 365 * DAY) < 20.001


# Cut off


@given(
    values=st.lists(durations, min_size=20, max_size=100),
    limit=durations,
    q=quantiles,
)
def test_cutting_slow_ones_off_does_not_change_the_quantiles_below(
    values: list[float], limit: float, q: float
) -> None:
    whole = filled(values).quantile(q, NOW)
    assert whole is not None
    hedged = Histogram()
    for value in values:
        hedged.record(min(value, limit), NOW, cut=value > limit)
    estimate = hedged.quantile(q, NOW)
    if whole < limit * 0.9:  # in a bucket below the limit's
        assert estimate == whole
    elif estimate is not None:
        assert estimate <= whole


def test_losers_of_a_race_do_not_make_a_model_look_quicker() -> None:
    random = Random(3)
    seen, naive, values = Histogram(), Histogram(), []
    for _ in range(20_000):
        own, rival = random.lognormvariate(0, 1), random.lognormvariate(0, 1)
        values.append(own)
        seen.record(min(own, rival), NOW, cut=rival < own)
        if own <= rival:
            naive.record(own, NOW)
    exact = float(np.quantile(values, 0.9))
    estimate, biased = seen.quantile(0.9, NOW), naive.quantile(0.9, NOW)
    assert estimate is not None
    assert biased is not None
    assert exact * 0.9 < estimate < exact * 1.1
    assert biased < exact * 0.6


def test_when_the_quantile_is_beyond_all_that_ended_it_is_the_longest_of_those() -> None:
    histogram = filled([1.0] * 80 + [2.0] * 10)
    for _ in range(10):  # a tenth hangs, and is cut off later and later
        histogram.record(60.0, NOW, cut=True)
    estimate = histogram.quantile(0.95, NOW)
    assert estimate is not None
    assert 1.9 <= estimate <= 2.1
    assert filled([5.0] * 100, cut=True).quantile(0.95, NOW) is None


# Merging and keeping

# Whole days: weights are then powers of two, and sums of them exact.
samples = st.lists(
    st.tuples(durations, st.integers(0, 10).map(lambda day: NOW + day * DAY), st.booleans()),
    max_size=30,
)


def made(of: list[tuple[float, float, bool]]) -> Histogram:
    histogram = Histogram()
    for seconds, now, cut in sorted(of, key=lambda sample: sample[1]):
        histogram.record(seconds, now, cut=cut)
    return histogram


def merged(*histograms: Histogram) -> Histogram:
    first, *others = [Histogram.from_dict(histogram.to_dict()) for histogram in histograms]
    for other in others:
        first.merge(other)
    return first


def seen_at(histogram: Histogram, now: float) -> list[float | None]:
    return [histogram.count(now), *(histogram.quantile(q, now) for q in (0.1, 0.5, 0.9, 0.95))]


@given(a=samples, b=samples, c=samples)
def test_merging_is_associative_and_as_if_one_had_seen_it_all(
    a: list[tuple[float, float, bool]],
    b: list[tuple[float, float, bool]],
    c: list[tuple[float, float, bool]],
) -> None:
    now = NOW + 10 * DAY
    left = merged(merged(made(a), made(b)), made(c))
    right = merged(made(a), merged(made(b), made(c)))
    assert seen_at(left, now) == seen_at(right, now) == seen_at(made(a + b + c), now)


@given(a=samples, b=samples)
def test_what_was_merged_can_be_taken_back(
    a: list[tuple[float, float, bool]], b: list[tuple[float, float, bool]]
) -> None:
    now = NOW + 10 * DAY
    both = merged(made(a), made(b))
    both.remove(made(b))
    assert seen_at(both, now) == seen_at(made(a), now)
    both.remove(both)
    assert both.count(now) == 0.0


@given(a=st.lists(durations), b=st.lists(durations, max_size=9), ages=st.tuples(*[durations] * 2))
def test_taking_back_leaves_what_can_be_kept(
    a: list[float], b: list[float], ages: tuple[float, float]
) -> None:
    ours, theirs = filled(a, NOW - ages[0], cut=True), filled(b, NOW - ages[1], cut=True)
    both = merged(ours, theirs)
    both.remove(theirs)
    assert Histogram.from_dict(both.to_dict()).count(NOW) == pytest.approx(ours.count(NOW))


@given(of=samples)
def test_what_is_kept_as_json_comes_back_the_same(of: list[tuple[float, float, bool]]) -> None:
    latency = ModelLatency()
    for seconds, now, cut in of:
        latency.record(seconds, now, first_token=seconds / 4, tokens=9, cut=cut)
    data = latency.to_dict()
    back = ModelLatency.from_dict(json.loads(json.dumps(data)))
    assert back.to_dict() == data
    assert back.to_dict()["version"] == 1


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
histograms = st.fixed_dictionaries(
    {"at": junk | st.just(NOW), "buckets": junk | st.lists(st.lists(junk, max_size=4))}
)


@given(
    data=junk
    | st.fixed_dictionaries(
        {
            "version": st.just(1),
            "first_token": histograms,
            "per_token": histograms,
            "total": histograms,
        }
    )
)
def test_what_is_no_latencies_is_refused_or_harmless(data: Any) -> None:
    try:
        latency = ModelLatency.from_dict(data)
    except ConfigError:
        return
    latency.record(1.0, NOW)
    json.dumps(latency.to_dict(), allow_nan=False)
    for _ in range(20):
        latency.total.record(1.0, NOW)
    latency.total.quantile(0.95, NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"total": None},
        {"total": {"at": nan, "buckets": []}},
        {"total": {"at": 1e12, "buckets": []}},
        {"total": {"at": 0, "buckets": [[0, inf, 0]]}},
        {"total": {"at": 0, "buckets": [[0, 1.0, 2.0]]}},
        {"total": {"at": 0, "buckets": [[0, -1.0, -2.0]]}},
        {"total": {"at": 0, "buckets": [[1000, 1.0, 0.0]]}},
        {"total": {"at": 0, "buckets": [[0, 1.0]]}},
    ],
    ids=str,
)
def test_broken_latencies_are_refused(change: dict[str, Any]) -> None:
    data = ModelLatency().to_dict() | change
    with pytest.raises(ConfigError, match=r"no latencies|no latency histogram"):
        ModelLatency.from_dict(data)


# One model


def test_an_attempt_counts_for_what_is_known_of_it() -> None:
    latency = ModelLatency()
    latency.record(3.0, NOW, first_token=1.0, tokens=101)  # streamed
    latency.record(3.0, NOW, tokens=101)  # not streamed
    latency.record(3.0, NOW, first_token=1.0, tokens=1)  # nothing after the first
    latency.record(3.0, NOW, first_token=1.0, tokens=50, cut=True)  # cancelled on the way
    latency.record(3.0, NOW, cut=True)  # cancelled before anything came
    counts = [h.count(NOW) for h in (latency.total, latency.first_token, latency.per_token)]
    assert counts == [5.0, 4.0, 1.0]


def test_the_pace_of_a_model_is_seconds_a_token_after_the_first() -> None:
    latency = ModelLatency()
    for _ in range(20):
        latency.record(3.0, NOW, first_token=1.0, tokens=101)
    pace = latency.per_token.quantile(0.5, NOW)
    assert pace is not None
    assert 0.019 <= pace <= 0.021


def test_two_processes_can_put_together_what_they_saw() -> None:
    one, other = ModelLatency(), ModelLatency()
    for _ in range(15):
        one.record(1.0, NOW, first_token=0.1, tokens=11)
        other.record(1.0, NOW, first_token=0.1, tokens=11)
    assert one.total.quantile(0.5, NOW) is None
    one.merge(other)
    for histogram in (one.total, one.first_token, one.per_token):
        assert histogram.count(NOW) == 30.0
        assert histogram.quantile(0.5, NOW) is not None


@pytest.mark.parametrize(
    ("spec", "quantile"),
    [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999), ("p5", 0.05), ("p0.1", 0.001)],
)
def test_a_quantile_is_written_as_a_percentile(spec: str, quantile: float) -> None:
    assert parse_quantile(spec) == quantile


@pytest.mark.parametrize(
    "spec",
    ["", "p", "95", "P95", "p0", "p00.000", "p100", "p-5", "p95%", " p95", "p95\n", "p1e1", "pnan",
     "p\u0669\u0665", "p95.", "p.5", "p99.9999", "median", "p" + "9" * 10_000],
    ids=lambda spec: repr(spec[:10]),
)  # fmt: skip
def test_what_is_no_percentile_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match="like 'p95'") as caught:
        parse_quantile(spec)
    assert len(str(caught.value)) < 250
