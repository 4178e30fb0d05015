"""The test of a mean: it is valid whatever the rows are, and has the power it should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_policies.tuning.betting import mean_test
from cascade_policies.tuning.binomial import rows_needed

RISK = 0.05


def passes(worse: float, better: float, rows: int, drop: float, trials: int) -> float:
    """How often a difference of this kind is certified to be no worse than ``drop``."""
    random = np.random.default_rng(5)
    chances = [worse, 1 - worse - better, better]
    found = 0
    for _ in range(trials):
        drawn = random.choice([-1.0, 0.0, 1.0], p=chances, size=rows + rows // 3)
        p = mean_test(drawn[rows // 3 :], -drop, low=-1.0, risk=RISK, before=drawn[: rows // 3])
        found += p <= RISK
    return found / trials


@pytest.mark.parametrize(("better", "drop", "rows"), [(0.0, 0.05, 300), (0.03, 0.02, 600)])
def test_what_is_just_too_bad_seldom_passes(better: float, drop: float, rows: int) -> None:
    assert passes(better + drop, better, rows, drop, 300) <= RISK + 2 * (RISK * 0.95 / 300) ** 0.5


def test_what_is_good_enough_by_three_standard_errors_passes() -> None:
    # The z-test passes it in 91% of the trials.
    error = (0.08 / 750) ** 0.5
    assert passes(0.04 + 0.05 - 3 * error, 0.04, 750, 0.05, 200) > 0.7


@given(st.floats(0.005, 0.3), st.floats(0.005, 0.2))
def test_the_fewest_rows_without_a_bad_one_are_enough(drop: float, risk: float) -> None:
    rows = rows_needed(drop, risk)
    assert mean_test(np.zeros(rows), -drop, low=-1.0, risk=risk) <= risk * (1 + 1e-6)
    if rows > 1:
        assert mean_test(np.zeros(rows - 1), -drop, low=-1.0, risk=risk) > risk * (1 - 1e-6)


@settings(max_examples=200)
@given(
    st.lists(st.floats(-1.0, 1.0), max_size=60),
    st.floats(-0.9, 0.9),
    st.lists(st.floats(-1.0, 1.0), max_size=10),
)
def test_any_rows_have_a_p_value(rows: list[float], least: float, before: list[float]) -> None:
    p = mean_test(np.array(rows), least, low=-1.0, risk=RISK, before=np.array(before))
    assert 0.0 <= p <= 1.0


def test_rows_that_never_exceed_the_mean_are_no_evidence() -> None:
    assert mean_test(np.full(500, -0.1), -0.1, low=-1.0, risk=RISK) == 1.0
    assert mean_test(np.zeros(0), -0.1, low=-1.0, risk=RISK) == 1.0


def test_the_expected_wealth_is_at_most_one() -> None:
    """Exactly, over every outcome of a few rows: what makes the p-value valid."""
    share, rows = 0.3, 7
    total = 0.0
    for outcome in range(2**rows):
        bits = np.array([(outcome >> at) & 1 for at in range(rows)], float)
        chance = float(np.prod(np.where(bits == 1, share, 1 - share)))
        total += chance * (mean_test(bits, share, low=0.0, risk=RISK) <= RISK)
    assert total <= RISK


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.5])
def test_values_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        mean_test(np.array([0.0, bad]), -0.1, low=-1.0, risk=RISK)
