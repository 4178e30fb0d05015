"""Arrays and state machine: the same numbers, to the last bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_policies.replaying import UNCHECKED, Evaluator, Settings, Table
from cascade_policies.replaying.calls import replay_all
from cascade_policies.replaying.vectorised import Outcomes

OUTCOMES = ("accepted", "exhausted", "deadline")

# Few values, so that times and scores often tie; dyadic, so that no sum is rounded.
seconds = st.integers(0, 12).map(lambda n: n / 64)
dollars = st.integers(0, 8).map(lambda n: n / 64)
scores = st.sampled_from([0.0, 0.25, 0.5, 0.5, 0.75, 1.0, math.nan])
thresholds = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, UNCHECKED, None])
delays = st.sampled_from([None, 0.0, 1 / 64, 2 / 64, 5 / 64, 9 / 64])
limits = st.one_of(st.none(), st.integers(1, 30).map(lambda n: n / 64))


def maybe(values: st.SearchStrategy[float]) -> st.SearchStrategy[float]:
    return st.one_of(values, st.just(math.nan))


@st.composite
def tables(draw: st.DrawFn, *, timed: bool = True) -> Table:
    rows, tiers = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    if draw(st.integers(0, 9)) == 0:
        rows = 0

    def array(values: st.SearchStrategy[Any], kind: Any = float) -> Any:
        drawn = draw(st.lists(values, min_size=rows * tiers, max_size=rows * tiers))
        return np.array(drawn, kind).reshape(rows, tiers)

    latency, call = array(seconds if timed else maybe(seconds)), array(maybe(dollars))
    checking = array(dollars)
    prompt = array(maybe(st.sampled_from([0.0, 0.25, 0.5, 1.0]))) * call
    shares = array(maybe(st.sampled_from([0.0, 0.25, 0.5, 1.0])))
    return Table(
        ids=[f"row {row}" for row in range(rows)],
        tiers=[f"tier {tier}" for tier in range(tiers)],
        quality=array(st.sampled_from([0.0, 1.0, 0.5])),
        score=array(scores),
        cost_low=call + checking,
        cost_high=call * array(st.sampled_from([1.0, 2.0])) + checking,
        latency=latency,
        check_latency=array(st.sampled_from([0.0, 0.0, 1 / 64, 3 / 64])),
        failed=array(st.sampled_from([False, False, False, True]), bool),
        stops_billing=draw(
            st.lists(st.sampled_from([True, False, None]), min_size=tiers, max_size=tiers)
        ),
        accepted=array(st.booleans(), bool),
        first_token=latency * shares,
        prompt_cost=prompt,
        check_cost=checking,
    )


@st.composite
def candidates(draw: st.DrawFn, tiers: int, *, timed: bool = True) -> Settings:
    chosen = draw(st.permutations(range(tiers)))[: draw(st.integers(1, tiers))]
    count = len(chosen)

    def each(values: st.SearchStrategy[Any]) -> Any:
        return tuple(draw(st.lists(values, min_size=count, max_size=count)))

    return Settings(
        tiers=tuple(chosen),
        thresholds=each(thresholds),
        start_after=each(delays) if timed else (),
        prefer=draw(st.sampled_from(["cheapest", "fastest"])),
        grace=draw(st.one_of(st.none(), seconds)),
        deadline=draw(limits) if timed else None,
        exhausted=draw(st.sampled_from(["raise", "best"])),
        on_abstain=each(st.sampled_from(["escalate", "escalate", "accept"])),
    )


def shown(values: Any) -> list[Any]:
    """Comparable, NaN with NaN."""
    return [None if value != value else value for value in values]


def by_arrays(outcomes: Outcomes) -> list[list[Any]]:
    kinds = [OUTCOMES[kind] for kind in outcomes.outcome]
    columns = (outcomes.tier, outcomes.quality, outcomes.cost_low, outcomes.cost_high,
               outcomes.latency, outcomes.escalations, outcomes.started)  # fmt: skip
    return [kinds, *(shown(column.tolist()) for column in columns)]


def by_states(table: Table, chosen: Settings) -> list[list[Any]]:
    calls = replay_all(table, chosen)
    tiers = [-1 if call.tier is None else chosen.tiers[call.tier] for call in calls]
    return [
        [call.outcome for call in calls],
        tiers,
        shown(call.quality for call in calls),
        shown(call.low for call in calls),
        shown(call.high for call in calls),
        shown(call.latency for call in calls),
        [call.escalations for call in calls],
        [len(call.attempts) for call in calls],
    ]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_arrays_and_state_machine_agree(data: st.DataObject) -> None:
    table = data.draw(tables())
    chosen = data.draw(candidates(len(table.tiers)))
    assert by_arrays(Evaluator(table).evaluate(chosen)) == by_states(table, chosen)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_they_agree_where_no_time_was_recorded(data: st.DataObject) -> None:
    table = data.draw(tables(timed=False))
    chosen = data.draw(candidates(len(table.tiers), timed=False))
    assert by_arrays(Evaluator(table).evaluate(chosen)) == by_states(table, chosen)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_grid_is_its_candidates_one_by_one(data: st.DataObject) -> None:
    table = data.draw(tables())
    grid = data.draw(st.lists(candidates(len(table.tiers)), max_size=12))
    evaluator = Evaluator(table)
    one_by_one = [by_arrays(evaluator.evaluate(chosen)) for chosen in grid]
    together = {position: by_arrays(found) for position, found in evaluator.each(grid)}
    assert [together[position] for position in range(len(grid))] == one_by_one
