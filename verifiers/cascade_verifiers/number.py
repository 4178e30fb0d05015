"""`Number`: the answer is a number, in a range."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import isfinite
from sys import float_info

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.composable import Composable

_LONGEST = 100
_AROUND = " \t\r\n\"'`*_\u2018\u2019\u201c\u201d"
_ALWAYS = ("$", "€", "£", "¥", "₹", "%")
_SAME = str.maketrans({"\u2212": "-", "\u00a0": " ", "\u202f": " ", "\u2019": "'"})
_NUMBER = re.compile(
    r"([+-]?)(\d{1,3}(?:([,' ])\d{3})(?:\3\d{3})*|\d+|(?=\.\d))(\.\d+)?([eE][+-]?\d{1,3})?",
    re.ASCII,
)


class Number(Composable):
    """Accepts an answer that is one number; ``parsed`` is the number, an int where it is whole.

    White space, quotes, asterisks and a final full stop around it do not count, nor do currency
    signs, ``%`` and the units you name. Thousands may be grouped (``1,234``, ``1 234``,
    ``1'234``). A number inside a sentence is not looked for.

    Args:
        min: the smallest number accepted.
        max: the largest number accepted.
        integer: whether it must be whole (``3.0`` is).
        units: what may stand before or after it, such as ``km``.
        decimal: what the decimal sign is, ``.`` or ``,``; the other one groups thousands.

    Raises:
        ConfigError: a limit is none, or no number could be within them.
    """

    def __init__(
        self,
        *,
        min: float | None = None,  # noqa: A002  (the words for it, in files too)
        max: float | None = None,  # noqa: A002
        integer: bool = False,
        units: str | Iterable[str] = (),
        decimal: str = ".",
    ) -> None:
        for name, limit in (("min", min), ("max", max)):
            given: object = limit
            fits = isinstance(given, int | float) and not isinstance(given, bool)
            if limit is not None and not (fits and abs(limit) <= float_info.max):
                raise ConfigError(f"{name}={limit!r}: needs a number")
        if min is not None and max is not None and min > max:
            raise ConfigError(f"min={min}: is more than max={max}")
        if decimal not in (".", ","):
            raise ConfigError(f"decimal={decimal!r}: needs '.' or ','")
        named: list[object] = [units] if isinstance(units, str) else list(units)
        folded = {unit.strip().casefold() for unit in named if isinstance(unit, str)}
        for unit in named:
            if not isinstance(unit, str) or not unit.strip() or unit.strip()[-1].isdigit():
                raise ConfigError(f"units: {unit!r} is no unit")
        self.min = min
        self.max = max
        self.integer = integer
        self.decimal = decimal
        # The longest first: "km/h" is not "km" with something behind it.
        self.units = tuple(sorted({*_ALWAYS, *folded}, key=len, reverse=True))

    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        """The verdict; its reason says what kind of number is wanted."""
        value = self._read(answer.text)
        if value is None:
            reason = "the answer must be one number and nothing else"
            return Verdict.reject(reason, code="number.none", repairable=True)
        if self.integer and not isinstance(value, int):
            return Verdict.reject(
                f"{value:.15g} is no whole number", code="number.not_whole", repairable=True
            )
        if (self.min is not None and value < self.min) or (
            self.max is not None and value > self.max
        ):
            shown = f"{value:.15g}" if abs(value) < 1e15 else "the number"
            reason = f"{shown} is not {self._range()}"
            return Verdict.reject(reason, code="number.out_of_range", repairable=True, parsed=value)
        return Verdict.accept(parsed=value)

    def _read(self, text: str) -> int | float | None:
        text = text.strip()
        if len(text) > _LONGEST + sum(map(len, self.units)):
            return None
        bare = self._without_units(text.translate(_SAME).strip(_AROUND).removesuffix("."))
        if self.decimal == ",":
            bare = bare.translate({ord(","): ".", ord("."): ","})
        found = _NUMBER.fullmatch(bare)
        if found is None:
            return None
        sign, whole, _, fraction, exponent = found.groups()
        whole = re.sub("[,' ]", "", whole) or "0"
        if not exponent and not (fraction or "").strip(".0"):
            return int(sign + whole)
        value = float(f"{sign}{whole}{fraction or ''}{exponent or ''}")
        if not isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value

    def _without_units(self, text: str) -> str:
        text = text.strip(_AROUND)
        sign = text[:1] if text[:1] in ("-", "+") else ""
        text = text[len(sign) :].strip()
        folded = text.casefold()
        if len(folded) == len(text):  # else a unit would be cut off at the wrong place
            for unit in self.units:
                if folded.startswith(unit):
                    text, folded = text[len(unit) :].strip(), folded[len(unit) :].strip()
                    break
            for unit in self.units:
                if folded.endswith(unit):
                    text = text[: len(text) - len(unit)].strip()
                    break
        return sign + text

    def _range(self) -> str:
        if self.min is None:
            return f"{self.max:.15g} or less"
        if self.max is None:
            return f"{self.min:.15g} or more"
        return f"from {self.min:.15g} to {self.max:.15g}"

    def __repr__(self) -> str:
        limits = {"min": self.min, "max": self.max, "integer": self.integer or None}
        return f"Number({', '.join(f'{k}={v}' for k, v in limits.items() if v is not None)})"
