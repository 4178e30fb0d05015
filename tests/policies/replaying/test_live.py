"""The live engine on a virtual clock, the state machine's replay and the arrays: one result."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.replay_live import recorded_table, run_live
from cascade_policies.replaying import UNCHECKED, Evaluator, Settings, Table
from cascade_policies.replaying.calls import replay_all

OUTCOMES = ("accepted", "exhausted", "deadline")

quarters = st.integers(1, 8).map(lambda n: n / 4)
scores = st.sampled_from([0.0, 0.25, 0.5, 0.5, 0.75, 1.0, math.nan])


@st.composite
def tables(draw: st.DrawFn) -> Table:
    rows, tiers = draw(st.integers(1, 2)), draw(st.integers(1, 3))

    def array(values: st.SearchStrategy[Any]) -> Any:
        drawn = draw(st.lists(values, min_size=rows * tiers, max_size=rows * tiers))
        return np.array(drawn).reshape(rows, tiers)

    return recorded_table(
        latency=array(quarters),
        score=array(scores),
        quality=array(st.sampled_from([0.0, 1.0])),
        failed=array(st.sampled_from([False, False, False, True])),
        check_latency=array(st.sampled_from([0.0, 0.0, 0.25, 0.5])),
        stops=draw(st.lists(st.sampled_from([True, False, None]), min_size=tiers, max_size=tiers)),
    )


@st.composite
def candidates(draw: st.DrawFn, tiers: int) -> Settings:
    chosen = draw(st.permutations(range(tiers)))[: draw(st.integers(1, tiers))]
    count = len(chosen)

    def each(values: list[Any]) -> Any:
        return tuple(draw(st.lists(st.sampled_from(values), min_size=count, max_size=count)))

    return Settings(
        tiers=tuple(chosen),
        thresholds=each([0.0, 0.25, 0.5, 0.75, 1.0, UNCHECKED, None]),
        start_after=each([None, 0.0, 0.25, 0.5, 1.0]),
        prefer=draw(st.sampled_from(["cheapest", "fastest"])),
        grace=draw(st.sampled_from([None, None, 0.0, 0.25, 0.75])),
        deadline=draw(st.one_of(st.none(), st.integers(1, 16).map(lambda n: n / 4))),
        exhausted=draw(st.sampled_from(["raise", "best"])),
        on_abstain=each(["escalate", "escalate", "accept"]),
    )


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_live_states_and_arrays_agree(data: st.DataObject) -> None:
    table = data.draw(tables())
    chosen = data.draw(candidates(len(table.tiers)))
    (records,) = run_live(table, [chosen])
    replayed = replay_all(table, chosen)
    names = [table.tiers[column] for column in chosen.tiers]
    for record, call in zip(records, replayed, strict=True):
        live = [(names.index(a.tier), a.outcome, a.started, a.latency, a.cost.low, a.cost.high)
                for a in record.attempts]  # fmt: skip
        assert live == [
            (a.tier, a.outcome, a.started, a.latency, a.low, a.high) for a in call.attempts
        ]
        tier = None if record.result is None else names.index(record.result.tier)
        found = (record.outcome, tier, record.cost.low, record.cost.high, record.latency,
                 record.escalations)  # fmt: skip
        assert found == (
            call.outcome, call.tier, call.low, call.high, call.latency, call.escalations
        )  # fmt: skip
    arrays = Evaluator(table).evaluate(chosen)
    assert [OUTCOMES[kind] for kind in arrays.outcome] == [record.outcome for record in records]
    assert arrays.cost_low.tolist() == [record.cost.low for record in records]
    assert arrays.cost_high.tolist() == [record.cost.high for record in records]
    assert arrays.latency.tolist() == [record.latency for record in records]
    assert arrays.escalations.tolist() == [record.escalations for record in records]
    assert arrays.quality.tolist() == [call.quality for call in replayed]
