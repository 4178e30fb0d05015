"""What an answer votes for: two answers with the same key say the same."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Hashable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from cascade_verifiers.extract import json_text

MAX_CHARS = 100_000
"""Longer answers have no vote."""

_MOST_DIGITS = 60
_LAST = 2_000

# Signs and currency before, grouping inside, a fraction or exponent after. The grouped form comes
# first; no two ways to match the same digits, so the time is linear.
_NUMBER = re.compile(
    r"(?<![\w.])([-+\u2212]?)\s?[$€£¥₹]?\s?([-+\u2212]?)"
    r"(\d{1,3}(?:,\d{3}){1,40}(?![\d,])|\d+)(\.\d+)?([eE][-+]?\d{1,3})?(?:\s?/\s?(\d+))?"
    r"(?!\w*[\d@])|(?<![\w.])([-\u2212]?)(\.\d+)"
)


@dataclass(frozen=True, slots=True)
class Vote:
    """What an answer votes for.

    Attributes:
        key: equal keys are the same vote.
        parsed: the value, for the verdict.
        text: the answer as the user should see it, where that differs.
    """

    key: Hashable
    parsed: Any = None
    text: str | None = None


def text_vote(text: str) -> Vote | None:
    """The text itself, white space and Unicode form aside; nothing for an empty one."""
    key = " ".join(unicodedata.normalize("NFC", text).split())
    return Vote(key) if key else None


def number_vote(text: str) -> Vote | None:
    """The last number in the text: ``$1,234.50`` and ``1234.5`` are the same."""
    found = None
    for found in _NUMBER.finditer(text[-_LAST:]):  # noqa: B007  # the last one
        pass
    return None if found is None else _number(found)


def json_vote(text: str, field: str | None = None) -> Vote | None:
    """The JSON in the text: key order, spacing and ways to write a number aside."""
    value = json_value(text, field)
    if value is _NOTHING:
        return None
    try:
        return Vote(_canonical(value), _plain(value))
    except (RecursionError, ValueError):
        return None


def field_text(text: str, field: str) -> str | None:
    """What stands at ``field`` in the JSON of the text, as text; None where nothing does."""
    value = json_value(text, field)
    if value is _NOTHING or value is None:
        return None
    return value if isinstance(value, str) else json.dumps(_plain(value), ensure_ascii=False)


_NOTHING = object()


def json_value(text: str, field: str | None) -> Any:
    found = json_text(text, "embedded")
    if found is None:
        return _NOTHING
    try:
        value = json.loads(
            found, parse_float=_decimal, parse_int=_decimal, parse_constant=_refuse,
            object_pairs_hook=_object,
        )  # fmt: skip
    except (ValueError, RecursionError):
        return _NOTHING
    for key in field.split(".") if field else ():
        if not isinstance(value, dict) or key not in value:
            return _NOTHING
        value = value[key]
    return value


def _decimal(text: str) -> Decimal:
    if len(text) > _MOST_DIGITS:
        raise ValueError("a number of too many digits")
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError("a number too large") from error


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _canonical(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value.normalize()) if value else "0"
    if isinstance(value, dict):
        items = ",".join(f"{json.dumps(key)}:{_canonical(value[key])}" for key in sorted(value))
        return "{" + items + "}"
    if isinstance(value, list):
        return f"[{','.join(map(_canonical, value))}]"
    return json.dumps(value)


def _plain(value: Any) -> Any:
    """The value with numbers as Python's json has them."""
    if isinstance(value, Decimal):
        whole = value == value.to_integral_value() and abs(value) < 10**18
        return int(value) if whole and "." not in str(value) else float(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _number(found: re.Match[str]) -> Vote | None:
    sign, second, whole, part, exponent, under, point_sign, point_part = found.groups()
    if point_part is not None:
        sign, second, whole, part = point_sign, "", "0", point_part
    digits = f"{whole.replace(',', '')}{part or ''}"
    if len(digits) > _MOST_DIGITS or len(under or "") > _MOST_DIGITS:
        return None
    value = Decimal(f"{digits}{exponent or ''}")
    if (sign or second) and (sign or second) != "+":
        value = -value
    if under is not None:
        if not int(under):
            return None
        value /= Decimal(under)
    # To 15 digits: 1/3 and 0.333333333333333 are the same.
    rounded = Decimal(f"{value:.14e}")
    key = str(rounded.normalize()) if rounded else "0"
    return Vote(key, _plain(rounded.normalize()) if rounded else 0)
