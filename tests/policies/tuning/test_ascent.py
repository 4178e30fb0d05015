"""Thresholds: the best there are, by trying all."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_policies.tuning.ascent import Rung, climb, rung, threshold

scores = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.9, 1.0, -np.inf, np.inf])


@st.composite
def rungs(draw: st.DrawFn, tiers: int) -> list[Rung]:
    rows = draw(st.integers(1, 8))

    def array(values: Any) -> Any:
        return np.array(draw(st.lists(values, min_size=rows, max_size=rows)), float)

    found: list[Rung] = []
    for tier in range(tiers):
        made = rung(array(st.sampled_from([0.0, 0.5, 1.0])), array(st.just(4.0**tier / 16)),
                    array(scores))  # fmt: skip
        if made is None:
            made = rung(np.zeros(rows), np.zeros(rows), np.full(rows, 0.5))
            assert made is not None
        found.append(made)
    return found


def worth(found: list[Rung], ranks: tuple[int, ...], price: float) -> float:
    total = 0.0
    for row in range(len(found[0].quality)):
        for each, rank in zip(found, (*ranks, None), strict=True):
            total -= price * float(each.spent[row])
            if rank is None or row in each.order[:rank]:
                total += float(each.quality[row])
                break
    return total


@settings(max_examples=150, deadline=None)
@given(rungs(2), st.sampled_from([0.0, 0.25, 1.0, 4.0]))
def test_one_threshold_is_the_best_of_all(found: list[Rung], price: float) -> None:
    best = max(worth(found, (int(rank),), price) for rank in found[0].ends)
    assert abs(worth(found, climb(found, price), price) - best) < 1e-9


@settings(max_examples=100, deadline=None)
@given(rungs(3), st.sampled_from([0.0, 0.25, 1.0]))
def test_no_single_change_of_two_thresholds_is_better(found: list[Rung], price: float) -> None:
    ranks = climb(found, price)
    reached = worth(found, ranks, price)
    for rank in found[0].ends:
        assert worth(found, (int(rank), ranks[1]), price) <= reached + 1e-9
    for rank in found[1].ends:
        assert worth(found, (ranks[0], int(rank)), price) <= reached + 1e-9
    every = max(worth(found, (int(a), int(b)), price)
                for a, b in product(found[0].ends, found[1].ends))  # fmt: skip
    assert reached <= every + 1e-9


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30))
def test_a_threshold_accepts_as_many_as_its_rank_says(values: list[float]) -> None:
    score = np.array(values)
    made = rung(np.ones(len(score)), np.ones(len(score)), score)
    if made is None:
        assert (score == 0.0).all()
        return
    for rank in made.ends.tolist():
        chosen = threshold(made, rank)
        assert 0.0 < chosen <= 1.0
        assert int((score >= chosen).sum()) == rank


def test_thresholds_are_short() -> None:
    made = rung(np.ones(2), np.ones(2), np.array([0.8123456789, 0.3]))
    assert made is not None
    assert made.values.tolist() == [0.6, 0.2]


def test_where_nothing_can_be_told_there_is_no_threshold() -> None:
    assert rung(np.ones(3), np.ones(3), np.zeros(3)) is None
    assert rung(np.ones(2), np.ones(2), np.array([-np.inf, np.inf])) is None
