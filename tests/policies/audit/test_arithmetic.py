"""Arithmetic without evaluating anything."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_policies.audit.arithmetic import (
    FORMULAS,
    MAX_CHARS,
    agrees,
    compute,
    evaluate,
    numbers,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("3 \N{MULTIPLICATION SIGN} 19.99", "59.97"),
        ("3 x 19.99 + 1 x 5", "64.97"),
        ("-2 - -3", "1"),
        ("10 \N{MINUS SIGN} 4 ÷ 2", "8"),
        ("1,234.50 + $5", "1239.50"),
        ("200 * 15%", "30"),
        ("7 / 2", "3.5"),
    ],
)
def test_values(text: str, value: str) -> None:
    assert evaluate(text) == Decimal(value)


@pytest.mark.parametrize(
    "text",
    [
        "", "1 +", "+", "(1", "1)", "1 2", "1 / 0", "abc", "1 ** 9999", "__import__('os')",
        "9e999", "(" * 60 + "1" + ")" * 60, "-" * 60 + "1", "1+" * MAX_CHARS + "1",
    ],
)  # fmt: skip
def test_what_is_none_has_no_value(text: str) -> None:
    assert evaluate(text) is None


@given(st.text(alphabet="0123456789+-*/().,%$ x", max_size=250))
def test_whatever_is_given_there_is_an_end(text: str) -> None:
    value = evaluate(text)
    assert value is None or isinstance(value, Decimal)
    for formula in FORMULAS:
        compute(formula, text)


@given(st.integers(-999, 999), st.integers(-999, 999), st.sampled_from("+-*"))
def test_it_is_what_python_says(a: int, b: int, sign: str) -> None:
    expected = {"+": a + b, "-": a - b, "*": a * b}[sign]
    assert evaluate(f"({a}) {sign} ({b})") == expected


def test_numbers_of_a_text() -> None:
    found = numbers("3 boxes at $1,299.50, order A17, v1.2.3, and -4")
    assert found == [Decimal(3), Decimal("1299.50"), Decimal(-4)]


@pytest.mark.parametrize(
    ("text", "formula", "value"),
    [
        ("12 and 30.5", "the sum of the numbers in the prompt", "42.5"),
        ("12 at 2.50", "the product of the two numbers in the prompt", "30"),
        ("2 at 3, 4 at 5", "the sum of the products of the pairs of numbers in the prompt", "26"),
        ("20 of 80", "the first number in the prompt, as percent of the second", "16"),
        ("no numbers", "the sum of the numbers in the prompt", None),
        ("5 by 0", "the first number in the prompt over the second", None),
    ],
)
def test_formulas(text: str, formula: str, value: str | None) -> None:
    assert compute(formula, text) == (None if value is None else Decimal(value))


@pytest.mark.parametrize(
    ("value", "answer", "same"),
    [
        ("2.5", "2.5", True),
        ("2.5", "2.50 euros", True),
        ("2.345", "2.34", True),
        ("2.345", "2.35", True),
        ("2.345", "2.36", False),
        ("1234.5", "$1,234.50", True),
        ("2", "2 or 3", False),
        ("2", "none", False),
    ],
)
def test_an_answer_may_be_rounded(value: str, answer: str, same: bool) -> None:
    assert agrees(Decimal(value), answer) is same
