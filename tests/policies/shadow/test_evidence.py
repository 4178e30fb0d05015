"""E-processes: never too sure by chance, and sure in the end."""

from __future__ import annotations

import json
from collections import Counter
from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import ConfigError
from cascade_policies.report.chance import wilson
from cascade_policies.shadow.evidence import Evidence, confidence_sequence
from cascade_policies.shadow.tally import Tally
from cascade_policies.shadow.trial import ARMS, Trial

MEANS = st.floats(0.001, 0.999)


@given(mean=MEANS, part=st.floats(0, 1))
def test_the_expectation_is_at_most_one_dollar(mean: float, part: float) -> None:
    """Exactly, over all ways that six values can go, for any mean that is allowed."""
    true, expected = mean * part, 0.0
    for ways in product((0.0, 1.0), repeat=6):
        evidence = Evidence(mean)
        for value in ways:
            evidence.take(value)
        chance = true ** sum(ways) * (1 - true) ** (6 - sum(ways))
        expected += chance * evidence.value
    assert expected <= 1 + 1e-9
    if part == 1:
        assert expected == pytest.approx(1)


@given(mean=MEANS, values=st.lists(st.floats(0, 1), max_size=60))
def test_it_is_positive_and_a_larger_value_tells_more(mean: float, values: list[float]) -> None:
    evidence = Evidence(mean)
    for value in values:
        assert evidence.take(value) > 0
    less, more = (Evidence.from_dict(evidence.to_dict(), mean) for _ in range(2))
    assert less.take(0.25) <= more.take(0.75)


def test_a_loss_after_a_long_good_time_is_found() -> None:
    evidence, calls = Evidence(0.02), 0
    for number in range(100_000):
        evidence.take(float(number % 100 == 0))
    assert evidence.value < 1
    while evidence.value < 100:
        calls += 1
        evidence.take(float(calls % 10 == 0))
    assert calls < 400


def test_what_is_certain_stays_a_number() -> None:
    evidence = Evidence(0.001)
    for _ in range(1000):
        evidence.take(1.0)
    assert evidence.value < float("inf")


def crossings(runs: int, calls: int, rate: float, mean: float) -> int:
    random = Random(5)
    found = 0
    for _ in range(runs):
        evidence = Evidence(mean)
        found += any(evidence.take(float(random.random() < rate)) >= 20 for _ in range(calls))
    return found


def test_false_alarms_of_many_looks_are_bounded() -> None:
    """At each of 1,000 values somebody looks, and the chance is 5% all the same."""
    found = crossings(400, 1000, 0.05, 0.05)
    assert wilson(found, 400)[0] <= 0.05
    assert found > 0  # or the bound would say nothing of the test's power
    assert crossings(50, 1000, 0.1, 0.05) >= 45


@pytest.mark.parametrize("rate", [0.02, 0.5])
def test_a_confidence_sequence_has_the_mean_at_all_times(rate: float) -> None:
    random, missed = Random(7), 0
    for _ in range(60):
        seen: Counter[tuple[float, float]] = Counter()
        for number in range(1, 301):
            seen[float(random.random() < rate), 1.0] += 1
            if number % 10 == 0:
                low, high = confidence_sequence(seen, 0.1)
                if not low <= rate <= high:
                    missed += 1
                    break
    assert wilson(missed, 60)[0] <= 0.1


@given(wrong=st.integers(0, 300), right=st.integers(0, 300), alpha=st.floats(0.001, 0.5))
def test_a_confidence_sequence_is_an_interval_around_what_was_seen(
    wrong: int, right: int, alpha: float
) -> None:
    seen = {(1.0, 1.0): wrong, (0.0, 1.0): right}
    low, high = confidence_sequence(seen, alpha)
    share = wrong / (wrong + right) if wrong + right else 0.5
    assert 0 <= low <= share + 1e-6
    assert share - 1e-6 <= high <= 1
    more = confidence_sequence({key: 4 * count for key, count in seen.items()}, alpha)
    assert more[0] >= low - 1e-9
    assert more[1] <= high + 1e-9


def test_weights_make_the_estimate_that_of_all_answers() -> None:
    """Doubtful answers are wrong in one of five, and audited ten times as often as the others."""
    random = Random(2)
    tally, plain, wrong = Tally(0.5, 0.05), [0, 0], 0
    for _ in range(40_000):
        doubtful = random.random() < 0.1
        probability = 0.5 if doubtful else 0.05
        error = float(random.random() < (0.2 if doubtful else 0.01))
        wrong += int(error)
        if random.random() < probability:
            tally.take(error, probability)
            plain[0] += int(error)
            plain[1] += 1
    truth = wrong / 40_000
    assert tally.error == pytest.approx(truth, rel=0.15)
    assert plain[0] / plain[1] > 3 * truth
    low, high = tally.interval(0.05)
    assert low < truth < high


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_no_weight_makes_a_false_alarm_likelier(share: float) -> None:
    """Each answer that may be audited is worth at most its dollar, exactly."""
    for probability in (share, (share + 1) / 2, 1.0):
        tally, other = Tally(0.1, share), Tally(0.1, share)
        bet = 0.1 * tally.take(1.0, probability) + 0.9 * other.take(0.0, probability)
        assert bet <= 1 + 1e-12


def test_false_rollbacks_are_bounded() -> None:
    random, found = Random(11), 0
    for _ in range(200):
        trial = Trial(0.0)
        for _ in range(1500):
            arm = ARMS[random.random() < 0.3]
            if trial.take(arm, float(random.random() < 0.8)) >= 20:
                found += 1
                break
    assert wilson(found, 200)[0] <= 0.05


def test_an_hour_in_which_all_are_worse_says_nothing() -> None:
    trial = Trial(0.0)
    for number in range(4000):
        bad = number >= 2000
        for arm in (ARMS[0],) * 9 + (ARMS[1],):
            trial.take(arm, 0.0 if bad else 1.0)
    assert trial.evidence == pytest.approx(1)


def test_a_drop_is_found() -> None:
    trial = Trial(0.01)
    calls = 0
    while trial.evidence < 100:
        calls += 1
        for _ in range(9):
            trial.take("control", 1.0)
        trial.take("candidate", float(calls % 2))
    assert calls < 60
    assert trial.mean("candidate") == pytest.approx(0.5, abs=0.02)


VALUES = st.lists(st.tuples(st.sampled_from(ARMS), st.floats(0, 1)), max_size=80)


@given(values=VALUES, split=st.integers(0, 80))
def test_saved_as_json_and_restored_it_goes_on_as_before(
    values: list[tuple[Any, float]], split: int
) -> None:
    whole, first = Trial(0.1), Trial(0.1)
    for arm, value in values:
        whole.take(arm, value)
    for arm, value in values[:split]:
        first.take(arm, value)
    second = Trial.from_dict(json.loads(json.dumps(first.to_dict())), 0.1)
    for arm, value in values[split:]:
        second.take(arm, value)
    assert second.to_dict() == whole.to_dict()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


def again_trial(data: dict[str, Any]) -> float:
    return Trial.from_dict(data, 0.1).take("candidate", 1.0)


def again_tally(data: dict[str, Any]) -> float:
    return Tally.from_dict(data, 0.1, 0.5).take(1.0, 0.5)


@settings(max_examples=200)
@given(state=JSON, name=st.sampled_from(["evidence", "calls", "totals", "calls_then", "seen"]))
def test_any_other_state_is_refused(state: Any, name: str) -> None:
    trial, tally = Trial(0.1), Tally(0.1, 0.5)
    trial.take("control", 1.0)
    tally.take(1.0, 0.5)
    for whole, again in (
        (trial.to_dict(), again_trial),
        (tally.to_dict(), again_tally),
    ):
        try:
            again({**whole, name: state})
        except ConfigError:
            continue


@pytest.mark.parametrize("mean", [0.0, 1.0, -1.0, float("nan")])
def test_a_mean_without_odds_is_refused(mean: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Evidence(mean)
