"""`same_result`: rows as often as they come, numbers nearly, order where it counts."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade_verifiers.sql_results import same_result

cells = st.one_of(
    st.none(), st.integers(-3, 3), st.sampled_from([0.5, -1.25, 1e9, math.inf, math.nan]),
    st.text("ab1", max_size=2), st.binary(max_size=1), st.sampled_from([Decimal("0.5")]),
)  # fmt: skip
tables = st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[cells] * width), max_size=8))


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ([], [], True),
        ([(1,)], [], False),
        ([(1,)], [(1.0,)], True),
        ([(True,)], [(1,)], True),
        ([(1,)], [("1",)], False),
        ([(None,)], [(None,)], True),
        ([(None,)], [(0,)], False),
        ([(0.1 + 0.2,)], [(0.3,)], True),
        ([(Decimal("0.3"),)], [(0.3,)], True),
        ([(1_000_000,)], [(1_000_001,)], False),
        ([(1_000_000.0,)], [(1_000_000.5,)], True),
        ([(math.nan,)], [(math.nan,)], True),
        ([(math.inf,)], [(-math.inf,)], False),
        ([(10**400,)], [(10**400,)], True),
        ([(b"a",)], [("a",)], False),
        ([(1,), (1,), (2,)], [(1,), (2,), (2,)], False),
        ([(1,), (2,)], [(2,), (1,)], True),
        ([(1, 2)], [(2, 1)], False),
        ([(1, 2)], [(1,)], False),
        ([(1, 2), (1,)], [(1,), (1, 2)], False),
    ],
)
def test_same(a: list[Any], b: list[Any], same: bool) -> None:
    assert same_result(a, b) is same
    assert same_result(b, a) is same


def test_order_counts_when_it_is_said_to() -> None:
    assert not same_result([(1,), (2,)], [(2,), (1,)], ordered=True)
    assert same_result([(1,), (2,)], [(1.0,), (2,)], ordered=True)


def test_columns_in_any_order_only_when_it_is_said() -> None:
    a, b = [(1, "x", 2), (3, "y", 4)], [(2, 1, "x"), (4, 3, "y")]
    assert not same_result(a, b)
    assert same_result(a, b, columns="any")
    # Each column fits, and no order of them makes the rows the same.
    assert not same_result([(1, 1), (2, 2)], [(1, 2), (2, 1)], columns="any")


def test_roundings_that_sort_apart_are_paired() -> None:
    a = [(1.0 + 1e-12, 5.0), (1.0, 7.0)]
    b = [(1.0, 5.0), (1.0 + 1e-12, 7.0)]
    assert same_result(a, b)
    assert not same_result(a, b, tolerance=0)


def test_many_columns_alike_end_soon() -> None:
    row = tuple([1] * 12)
    other = [tuple([1] * 11 + [2]), tuple([2] + [1] * 11), row]
    assert not same_result([row] * 3, other, columns="any")


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"^tolerance=-1"):
        same_result([], [], tolerance=-1)
    with pytest.raises(ConfigError, match=r"^tolerance=nan"):
        same_result([], [], tolerance=math.nan)
    with pytest.raises(ConfigError, match=r"^columns='all'"):
        same_result([], [], columns="all")  # type: ignore[arg-type]


@given(tables, st.randoms(use_true_random=False))
def test_any_order_of_rows_is_the_same(rows: list[Any], chance: random.Random) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert same_result(rows, shuffled)
    assert same_result(rows, rows, ordered=True)


@given(tables, st.randoms(use_true_random=False))
def test_any_order_of_columns_is_the_same(rows: list[Any], chance: random.Random) -> None:
    if rows:
        order = list(range(len(rows[0])))
        chance.shuffle(order)
        moved = [[row[n] for n in order] for row in rows]
        assert same_result(rows, moved, columns="any")


@given(tables, tables)
def test_it_is_symmetric(a: list[Any], b: list[Any]) -> None:
    assert same_result(a, b) == same_result(b, a)


@given(tables)
def test_a_row_more_is_another_result(rows: list[Any]) -> None:
    if rows:
        assert not same_result(rows, [*rows, rows[0]])
