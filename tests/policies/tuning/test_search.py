"""What is found, certified and refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade_policies.replaying import UNCHECKED, Evaluator, Settings
from cascade_policies.tuning import Goal, Ladder, LatencyLimit, Split, mix, tune
from cascade_policies.tuning.candidates import find_candidates
from cascade_policies.tuning.ladder import Player
from tests.policies.tuning.worlds import table, world

DROP = Goal(max_drop=0.05)


def by_chance(rows: int) -> Split:
    """For rows that were drawn independently."""
    return Split(np.arange(rows // 4), np.arange(rows // 4, rows), rows, "")


def test_it_saves_most_of_the_cost_and_stays_within_the_drop() -> None:
    known, truth = world(3000, 1), world(40_000, 2)
    found = tune(known, DROP, rows=by_chance(3000))
    player = Player(truth, DROP)
    chosen, top = player.play(found.chosen.settings), player.play(Ladder.of(truth).top)
    assert found.certified
    assert found.improves
    assert chosen.cost.mean() < 0.35 * top.cost.mean()
    assert chosen.quality.mean() > top.quality.mean() - 0.05


def test_the_same_search_finds_the_same() -> None:
    known = world(600, 3)
    one, two = (tune(known, DROP) for _ in range(2))
    assert one.chosen.settings == two.chosen.settings
    assert [test.p for test in one.tests] == [test.p for test in two.tests]


def test_every_test_before_the_last_has_passed_and_the_chosen_is_the_cheapest_of_them() -> None:
    found = tune(world(1000, 4), DROP, rows=by_chance(1000))
    passed = [test for test in found.tests if test.p <= found.risk]
    assert passed in (list(found.tests), list(found.tests[:-1]))
    assert found.chosen == min(passed, key=lambda test: test.cost)


def test_too_few_rows_are_said_to_be() -> None:
    found = tune(world(100), Goal(max_drop=0.01), rows=by_chance(100))
    assert found.too_few
    assert found.needed == 299  # 0.99 ** 299 is below 5%
    assert found.rows_needed == 399
    assert not found.improves
    assert found.tests == ()
    assert found.chosen.settings == Settings((2,), (UNCHECKED,), on_abstain=("escalate",))


def test_an_accuracy_that_nothing_has_is_not_certified() -> None:
    found = tune(world(2000), Goal(min_accuracy=0.97), rows=by_chance(2000))
    assert not found.certified
    assert not found.improves


def test_an_accuracy_that_most_have_is() -> None:
    found = tune(world(2000), Goal(min_accuracy=0.85), rows=by_chance(2000))
    assert found.improves
    assert found.chosen.quality > 0.85
    assert found.chosen.cost < 0.01


def test_cost_and_latency_are_kept() -> None:
    known = world(2000, 5, timed=True)
    goal = Goal(max_drop=0.08, max_cost=0.012, max_latency=LatencyLimit(0.9, 4.0))
    found = tune(known, goal, rows=by_chance(2000))
    truth = Evaluator(world(20_000, 6, timed=True)).evaluate(found.chosen.settings)
    assert found.improves
    assert truth.cost_high.mean() <= 0.012
    assert (truth.latency <= 4.0).mean() >= 0.9


def test_time_is_bought_with_start_delays() -> None:
    known = world(2000, 8, timed=True)
    goal = Goal(max_drop=0.06, max_cost=0.025, minimise="latency")
    hedged, plain = (
        tune(known, goal, ladder=Ladder.of(known, delays=delays), rows=by_chance(2000)).chosen
        for delays in (True, False)
    )
    assert any(delay is not None for delay in hedged.settings.start_after)
    assert hedged.latency < 0.95 * plain.latency
    assert hedged.cost <= 0.025


def test_a_mixture_costs_the_budget() -> None:
    slow, fast = Settings((0, 1), (0.5, UNCHECKED)), Settings((0, 1), (0.5, UNCHECKED), (None, 0.0))
    found = mix(slow, fast, (0.25, 0.75), (4.0, 2.0), 0.375)
    assert (found.share, found.cost, found.latency) == (0.25, 0.375, 3.5)
    with pytest.raises(ConfigError, match="not between"):
        mix(slow, fast, (0.25, 0.75), (4.0, 2.0), 1.0)


def test_many_tiers_are_searched_too() -> None:
    random = np.random.default_rng(0)
    right = np.linspace(0.5, 0.95, 9)
    quality = (random.random((600, 9)) < right).astype(float)
    score = np.clip(0.5 * quality + random.random((600, 9)) / 2, 0.0, 1.0)
    known = table(quality, score, 0.001 * 2.0 ** np.arange(9))
    found = tune(known, Goal(max_drop=0.08), rows=by_chance(600))
    assert found.improves
    assert found.chosen.cost < 0.1


def test_the_quick_way_is_the_evaluator_to_the_last_bit() -> None:
    known = world(200, 8)
    evaluator, player = Evaluator(known), Player(known, DROP)
    for one in find_candidates(Ladder.of(known), player, DROP):
        quick, whole = player.play(one.settings), evaluator.evaluate(one.settings)
        assert quick.quality.tolist() == whole.quality.tolist()
        assert quick.cost.tolist() == whole.cost_high.tolist()
        assert quick.escalated.tolist() == (whole.escalations > 0).tolist()


def test_failures_and_abstentions_go_on_to_the_next_tier() -> None:
    known = world(1000, 9)
    score = known.score.copy()
    score[::3, 0] = np.nan
    failed = np.zeros(score.shape, bool)
    failed[1::3, 1] = True
    harmed = table(known.quality, score, [0.001, 0.006, 0.03], failed=failed)
    player, evaluator = Player(harmed, DROP), Evaluator(harmed)
    found = find_candidates(Ladder.of(harmed), player, DROP)
    assert len(found) > 5
    for one in found:
        whole = evaluator.evaluate(one.settings)
        assert player.play(one.settings).quality.tolist() == whole.quality.tolist()


@pytest.mark.parametrize(("column", "value", "words"), [
    ("quality", np.nan, "no quality in 1 of 40 rows"),
    ("quality", 1.5, r"outside \[0, 1\]"),
    ("cost_high", np.nan, "no known cost"),
])  # fmt: skip
def test_what_is_missing_is_named(column: str, value: float, words: str) -> None:
    known = world(40)
    getattr(known, column)[3, 1] = value
    with pytest.raises(ConfigError, match=f"(?s)'tier 1'.*{words}.*'row 3'"):
        tune(known, DROP)


def test_a_latency_that_is_not_known_is_refused_where_it_counts() -> None:
    known = world(40, timed=True)
    known.latency[3, 1] = np.nan
    with pytest.raises(ConfigError, match="no latency"):
        tune(known, Goal(max_drop=0.1, minimise="latency"))


def test_no_rows_are_no_recording() -> None:
    with pytest.raises(ConfigError, match="no rows"):
        tune(world(0), DROP)


def array(draw: Any, rows: int, values: st.SearchStrategy[float]) -> Any:
    count = 2 * rows
    return np.array(draw(st.lists(values, min_size=count, max_size=count)), float).reshape(rows, 2)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 60), st.sampled_from(["drop", "accuracy", "cost", "all"]))
def test_anything_has_an_answer_and_nothing_bad_a_certificate(
    data: st.DataObject, rows: int, kind: str
) -> None:
    """Ties, equal scores, missing scores, constant costs, one class only, one row."""
    some = st.sampled_from([[0.0], [1.0], [0.0, 1.0], [0.0, 0.5, 1.0]])
    quality = array(data.draw, rows, st.sampled_from(data.draw(some)))
    score = array(data.draw, rows, st.sampled_from([0.0, 0.5, 0.5, 1.0, np.nan]))
    cost = data.draw(st.sampled_from([[0.0, 0.0], [1.0, 1.0], [1.0, 8.0], [8.0, 1.0]]))
    failed = array(data.draw, rows, st.sampled_from([0.0, 0.0, 1.0])) == 1.0
    known = table(quality, score, cost, failed=failed)
    goal = {
        "drop": Goal(max_drop=0.1),
        "accuracy": Goal(min_accuracy=0.9),
        "cost": Goal(max_drop=0.2, max_cost=2.0),
        "all": Goal(min_accuracy=0.8, max_drop=0.2, max_cost=9.0),
    }[kind]
    found = tune(known, goal, rows=by_chance(rows))
    assert found.tests == () or found.certifying >= found.needed
    player = Player(known.take(np.arange(rows // 4, rows)), goal)
    if not found.improves:
        return
    # A certificate is only given to what is good enough on the rows it was given on.
    chosen, top = player.play(found.chosen.settings), player.play(Ladder.of(known).top)
    if goal.max_drop is not None:
        assert chosen.quality.mean() >= top.quality.mean() - goal.max_drop
    if goal.min_accuracy is not None:
        assert chosen.quality.mean() >= goal.min_accuracy
    if goal.max_cost is not None:
        assert chosen.cost.mean() <= goal.max_cost


def test_a_worse_tier_is_seldom_certified() -> None:
    """A cheap tier that is just too bad, with a score that says nothing: 5% at most pass."""
    passed = 0
    for seed in range(150):
        random = np.random.default_rng(seed)
        quality = (random.random((400, 2)) < [0.8, 0.9]).astype(float)
        known = table(quality, np.full((400, 2), 0.5), [1.0, 10.0])
        passed += tune(known, Goal(max_drop=0.1), rows=by_chance(400)).improves
    assert passed <= 150 * (0.05 + 2 * (0.05 * 0.95 / 150) ** 0.5)


@pytest.mark.parametrize(("options", "words"), [
    ({}, "--min-accuracy or --max-drop"),
    ({"max_drop": 0.0}, "max_drop"),
    ({"min_accuracy": 1.0}, "min_accuracy"),
    ({"max_drop": 0.1, "confidence": 1.0}, "confidence"),
    ({"max_drop": 0.1, "max_cost": float("inf")}, "max_cost"),
    ({"max_drop": float("nan")}, "max_drop"),
])  # fmt: skip
def test_goals_that_are_none(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Goal(**options)


def test_a_latency_limit_is_read() -> None:
    assert LatencyLimit.parse("p95=2s") == LatencyLimit(0.95, 2.0)
    assert LatencyLimit.parse("p99.5 = 800ms") == LatencyLimit(0.995, 0.8)
    for text in ("95=2s", "p95", "p0=2s", "p95=0s", "p95=-1s"):
        with pytest.raises(ConfigError, match="p95=2s"):
            LatencyLimit.parse(text)
