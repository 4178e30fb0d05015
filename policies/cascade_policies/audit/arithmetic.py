"""Arithmetic as models are asked for it: a bounded evaluator, and the usual formulas.

Nothing is evaluated as code. An expression is at most `MAX_CHARS` long and `MAX_TOKENS` tokens,
knows numbers, brackets, the four operations in their usual signs and ``%``, and is worked out with
decimals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Final

MAX_CHARS: Final = 200
MAX_TOKENS: Final = 64
_DEEPEST: Final = 16
_MOST_NUMBERS: Final = 12
_TEXT_READ: Final = 4_000

# Divisions by zero and overflows are errors; 28 digits are more than any bill has.
_CONTEXT: Final = Context(prec=28, Emin=-999, Emax=999)

NUMBER: Final = re.compile(
    r"(?<![\w.])[$€£]?\s?(-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d{1,15}(?:\.\d{1,9})?)(?![\w]|\.\d)"
)
_TIMES: Final = "\N{MULTIPLICATION SIGN}"
_MINUS: Final = "\N{MINUS SIGN}"
_OPERATORS: Final = f"+*/÷x%{_TIMES}{_MINUS}"
_EXPRESSION: Final = re.compile(rf"[(\d][\d\s.,()$€£\-{re.escape(_OPERATORS)}]{{2,198}}[\d)%]")
_TOKEN: Final = re.compile(r"\s*(\d[\d,]*(?:\.\d+)?|[()+\-*/%])")
_SIGNS: Final = str.maketrans(
    {_TIMES: "*", "÷": "/", _MINUS: "-", "x": "*", "$": None, "€": None, "£": None}
)


def evaluate(text: str) -> Decimal | None:
    """The value of an arithmetic expression, or None when it is none or has no value."""
    if len(text) > MAX_CHARS:
        return None
    text = text.translate(_SIGNS).strip()
    tokens: list[str] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or len(tokens) >= MAX_TOKENS:
            return None
        tokens.append(found[1])
        at = found.end()
    try:
        parser = _Parser(tokens)
        value = parser.sum(0)
        return value if parser.at == len(tokens) else None
    except (InvalidOperation, ArithmeticError, IndexError, ValueError):
        return None


class _Parser:
    """Recursive descent; every level of brackets is counted."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0

    def _next(self, *wanted: str) -> str | None:
        if self.at < len(self.tokens) and self.tokens[self.at] in wanted:
            self.at += 1
            return self.tokens[self.at - 1]
        return None

    def sum(self, depth: int) -> Decimal:
        value = self.product(depth)
        while sign := self._next("+", "-"):
            other = self.product(depth)
            value = _CONTEXT.add(value, other) if sign == "+" else _CONTEXT.subtract(value, other)
        return value

    def product(self, depth: int) -> Decimal:
        value = self.factor(depth)
        while sign := self._next("*", "/"):
            other = self.factor(depth)
            value = (
                _CONTEXT.multiply(value, other) if sign == "*" else _CONTEXT.divide(value, other)
            )
        return value

    def factor(self, depth: int) -> Decimal:
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        if self._next("-"):
            return -self.factor(depth + 1)
        if self._next("("):
            value = self.sum(depth + 1)
            if not self._next(")"):
                raise ValueError("a bracket is not closed")
        else:
            value = _decimal(self.tokens[self.at])
            self.at += 1
        return _CONTEXT.divide(value, Decimal(100)) if self._next("%") else value


def numbers(text: str) -> list[Decimal]:
    """The numbers of a text, at most twelve of them, thousands with commas too."""
    found = NUMBER.finditer(text[:_TEXT_READ])
    return [_decimal(one[1]) for one, _ in zip(found, range(_MOST_NUMBERS), strict=False)]


def _decimal(text: str) -> Decimal:
    return _CONTEXT.create_decimal(text.replace(",", ""))


def expression(values: Sequence[Decimal], text: str) -> Decimal | None:
    """The first expression that is written out in the text."""
    del values
    for found in _EXPRESSION.finditer(text[:_TEXT_READ]):
        if any(sign in found[0] for sign in f"-{_OPERATORS}"):
            value = evaluate(found[0])
            if value is not None:
                return value
    return None


def _paired(values: Sequence[Decimal], _: str) -> Decimal | None:
    if len(values) < 4 or len(values) % 2:
        return None
    pairs = zip(values[::2], values[1::2], strict=True)
    return sum((_CONTEXT.multiply(a, b) for a, b in pairs), Decimal(0))


def _product(values: Sequence[Decimal], _: str) -> Decimal | None:
    return _CONTEXT.multiply(values[0], values[1]) if len(values) == 2 else None


def _difference(values: Sequence[Decimal], _: str) -> Decimal | None:
    return values[0] - values[1] if len(values) == 2 else None


def _ratio(values: Sequence[Decimal], _: str) -> Decimal | None:
    return _CONTEXT.divide(values[0], values[1]) if len(values) == 2 and values[1] else None


def _percentage(values: Sequence[Decimal], _: str) -> Decimal | None:
    if len(values) != 2:
        return None
    return _CONTEXT.divide(_CONTEXT.multiply(values[0], values[1]), Decimal(100))


def _sum(values: Sequence[Decimal], _: str) -> Decimal | None:
    return sum(values, Decimal(0)) if len(values) >= 2 else None


def _mean(values: Sequence[Decimal], _: str) -> Decimal | None:
    return _CONTEXT.divide(sum(values), Decimal(len(values))) if len(values) >= 2 else None


Formula = Callable[[Sequence[Decimal], str], Decimal | None]

FORMULAS: Final[dict[str, Formula]] = {
    "the expression in the prompt": expression,
    "the sum of the numbers in the prompt": _sum,
    "the product of the two numbers in the prompt": _product,
    "the difference of the two numbers in the prompt": _difference,
    "the first number in the prompt over the second": _ratio,
    "the first number in the prompt, as percent of the second": _percentage,
    "the sum of the products of the pairs of numbers in the prompt": _paired,
    "the mean of the numbers in the prompt": _mean,
}


def compute(formula: str, text: str) -> Decimal | None:
    """A formula's value on the numbers of a text; None where it has none."""
    try:
        return FORMULAS[formula](numbers(text), text)
    except (InvalidOperation, ArithmeticError):
        return None


def agrees(value: Decimal, answer: str) -> bool:
    """Whether an answer is this number, rounded to as many places as it is written with."""
    shown = numbers(answer)
    if len(shown) != 1:
        return False
    places = Decimal(1).scaleb(int(shown[0].as_tuple().exponent))
    try:
        rounded = {_CONTEXT.quantize(value, places), value.quantize(places, ROUND_HALF_UP),
                   value.quantize(places, ROUND_HALF_EVEN)}  # fmt: skip
    except InvalidOperation:
        return False
    return shown[0] in rounded
