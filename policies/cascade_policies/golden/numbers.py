"""`Numeric`: the answer has the right number in it."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, get_args

from cascade.errors import nearest
from cascade.types import Answer, Request
from cascade_policies.golden.golden_set import GoldenRow
from cascade_policies.golden.scorer import (
    MAX_ANSWER,
    RIGHT,
    Score,
    ScorerError,
    unscorable,
    wrong,
)
from cascade_verifiers.extract import json_text
from cascade_verifiers.json_text import JsonTextError, parse_json
from cascade_verifiers.number import Number

Find = Literal["first", "last", "whole"]

# As `Number` has them, with thousands grouped by commas; every digit is looked at a few times.
_NUMBER: Final = re.compile(
    r"(?<![\w.])[-+\u2212]?\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?", re.ASCII
)
_LONGEST: Final = 100
_WHOLE: Final = Number()
_NOTHING: Final = Request(())


class Numeric:
    """1 when the answer's number is the reference, give or take a tolerance.

    Args:
        find: which number of the answer: the ``"last"``, the ``"first"``, or ``"whole"``: the
            answer must be a number and nothing else.
        field: the answer is a JSON object, and the number is under this key.
        absolute: by how much it may differ.
        relative: by what share of the reference it may differ; the larger of the two counts.
    """

    def __init__(
        self,
        *,
        find: Find = "last",
        field: str | None = None,
        absolute: float = 0.0,
        relative: float = 1e-9,
    ) -> None:
        if find not in get_args(Find):
            raise ScorerError(f"find={find!r}: {nearest(str(find), get_args(Find))}")
        for name, value in (("absolute", absolute), ("relative", relative)):
            if not 0 <= value < math.inf:
                raise ScorerError(f"{name}={value!r}: needs a number, 0 or more")
        self.find: Find = find
        self.field = field
        self.absolute = absolute
        self.relative = relative

    def score(self, row: GoldenRow, answer: Answer, /) -> Score:
        """1 or 0."""
        right = _number(row.reference, "whole")
        if right is None:
            return unscorable("the reference is no number")
        if len(answer.text) > MAX_ANSWER:
            return wrong("the answer is too long")
        given = _number(self._read(answer.text), self.find)
        if given is None:
            return wrong("the answer has no number")
        allowed = max(Decimal(self.absolute), abs(right) * Decimal(self.relative))
        if abs(given - right) <= allowed:
            return RIGHT
        return wrong(f"{given:.6g} is not {right:.6g}")

    def _read(self, text: str) -> Any:
        if self.field is None:
            return text
        try:
            value = parse_json(json_text(text, "embedded") or "")
        except JsonTextError:
            return None
        return value.get(self.field) if isinstance(value, dict) else None


def _number(value: Any, find: Find) -> Decimal | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return Decimal(str(value)) if math.isfinite(value) and abs(value) < 1e300 else None
    if not isinstance(value, str):
        return None
    whole = _WHOLE.verify(_NOTHING, Answer(value)).parsed
    if whole is not None or find == "whole":
        return None if whole is None else _number(whole, find)
    found = [match[0] for match in _NUMBER.finditer(value) if len(match[0]) <= _LONGEST]
    if not found:
        return None
    text = found[0 if find == "first" else -1]
    try:
        return Decimal(text.replace(",", "").replace("$", "").replace("\u2212", "-"))
    except InvalidOperation:
        return None
