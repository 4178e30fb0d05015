"""Tables, settings, and what the evaluator refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cascade.errors import ConfigError
from cascade_policies.replaying import UNCHECKED, Evaluator, Settings, Table, evaluate

NAN = math.nan


def table(rows: int = 3, count: int = 2, **more: Any) -> Table:
    shape = (rows, count)
    given: dict[str, Any] = {
        "ids": [f"row {row}" for row in range(rows)],
        "tiers": [f"t{tier}" for tier in range(count)],
        "quality": np.ones(shape),
        "score": np.full(shape, 0.5),
        "cost_low": np.ones(shape),
        "cost_high": np.ones(shape),
        "latency": np.ones(shape),
        "check_latency": np.zeros(shape),
        "failed": np.zeros(shape, bool),
        "stops_billing": [None] * count,
    }
    return Table(**{**given, **more})


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"latency": np.ones((3, 3))}, r"latency: needs the shape \(3, 2\)"),
        ({"score": np.full((3, 2), 1.5)}, r"score of 't0' in row 'row 0' is .*1.5.*\[0, 1\]"),
        ({"cost_low": np.full((3, 2), -1.0)}, "cost_low of 't0'.*0 or more"),
        ({"latency": np.full((3, 2), np.inf)}, "latency of 't0'.*finite"),
        ({"stops_billing": [True]}, "stops_billing: needs 2 values"),
        ({"tiers": []}, "at least one tier"),
    ],
)
def test_an_impossible_table_is_refused(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        table(**more)


def test_what_is_known_of_billing_may_come_as_an_array() -> None:
    given = table(count=3, stops_billing=np.array([1.0, 0.0, NAN]))
    assert given.stops_billing == (True, False, None)


def test_rows_are_taken_by_number_or_by_mask() -> None:
    given = table(quality=np.array([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]))
    assert given.take([2, 0, 2]).ids == ("row 2", "row 0", "row 2")
    assert given.take(np.array([True, False, True])).quality[:, 0].tolist() == [0.0, 1.0]
    assert len(given.take([])) == 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"tiers": ()}, "tiers: needs one or more"),
        ({"tiers": (0, 0)}, "none twice"),
        ({"thresholds": (0.5,)}, "thresholds: needs 2 values"),
        ({"thresholds": (0.5, NAN)}, "thresholds"),
        ({"start_after": (None, -1.0)}, "start_after: needs seconds"),
        ({"grace": -1.0}, "grace"),
        ({"deadline": 0.0}, "deadline"),
        ({"prefer": "best"}, "prefer"),
        ({"on_abstain": ("accept", "reject")}, "on_abstain"),
    ],
)
def test_impossible_settings_are_refused(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Settings(**{"tiers": (0, 1), "thresholds": (0.5, 0.5), **more})


def test_what_the_table_does_not_hold_is_named() -> None:
    with pytest.raises(ConfigError, match="no column 2"):
        evaluate(table(), Settings((2,), (0.5,)))
    with pytest.raises(ConfigError, match="t0: needs a threshold"):
        evaluate(table(), Settings((0,), (None,)))
    untimed = table(latency=np.array([[1.0, NAN], [1.0, 1.0], [1.0, NAN]]))
    cases: list[dict[str, Any]] = [{"start_after": (None, 1.0)}, {"deadline": 2.0}]
    for more in cases:
        with pytest.raises(ConfigError, match=r"t1: .* 2 rows have none"):
            evaluate(untimed, Settings((0, 1), (0.9, 0.0), **more))


def test_scores_that_are_all_equal_pass_together() -> None:
    at, above = (evaluate(table(), Settings((0, 1), (t, UNCHECKED))) for t in (0.5, 0.51))
    assert at.tier.tolist() == [0, 0, 0]
    assert above.tier.tolist() == [1, 1, 1]
    assert above.cost_low.tolist() == [2.0, 2.0, 2.0]


def test_an_unknown_cost_is_no_cost_of_zero() -> None:
    costs = np.array([[1.0, NAN]])
    given = table(1, cost_low=costs, cost_high=costs)
    means = Evaluator(given).means([Settings((0,), (0.0,)), Settings((0, 1), (0.9, 0.0))])
    assert means.cost_low[0] == 1.0
    assert math.isnan(means.cost_low[1])


def test_no_rows_have_no_outcomes() -> None:
    found = evaluate(table(0), Settings((0, 1), (0.5, 0.5)))
    assert found.tier.shape == (0,)


def test_means_are_those_of_each_candidate_in_order() -> None:
    random = np.random.default_rng(1)
    shape = (50, 2)
    given = table(
        50,
        quality=(random.random(shape) < 0.7) * 1.0,
        score=random.random(shape),
        latency=random.random(shape),
    )
    grid = [
        Settings(tiers, (threshold,) * len(tiers), exhausted=kind)
        for threshold in (0.2, 0.6, 0.9)
        for tiers in ((0,), (0, 1), (1, 0))
        for kind in ("raise", "best")
    ]  # fmt: skip
    means = Evaluator(given).means(grid)
    for at, settings in enumerate(grid):
        one = evaluate(given, settings)
        assert means.quality[at] == one.quality.mean()
        assert means.latency[at] == one.latency.mean()
        assert means.accepted[at] == (one.outcome == 0).mean()
