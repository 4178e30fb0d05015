"""Parsing JSON from a model: strictly, and within bounds.

What Python's parser lets pass and this refuses: duplicate keys, NaN and Infinity, numbers too
large for a float, lone surrogates (which no UTF-8 file can hold), and nesting so deep that what
reads the value later would fail on it.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

MAX_DEPTH = 128
MAX_DIGITS = 4300
"""Python's own default for `int`; longer ones take quadratic time to convert."""

# A string that is never closed ends with the text: trying again from each quote in it would take
# quadratic time.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_LONG_NUMBER = re.compile(rf"[0-9]{{{MAX_DIGITS + 1}}}")


class JsonTextError(ValueError):
    """The text is not JSON as it is wanted here; the message says why, fit for a model.

    ``syntax`` says that it breaks the grammar, and not only a bound or a rule of ours.
    """

    def __init__(self, reason: str, *, syntax: bool = False) -> None:
        super().__init__(reason)
        self.syntax = syntax


def parse_json(text: str, *, control: bool = False) -> Any:
    """The value of a JSON text. ``control`` lets control characters stand in strings.

    Raises:
        JsonTextError: it is none, or one of the bounds is exceeded.
    """
    if not text:
        raise JsonTextError("the answer has no JSON: it is empty")
    # Nesting cannot be deeper than there are brackets: settles nearly every document at once.
    if text.count("{") + text.count("[") > MAX_DEPTH:
        _check_depth(text)
    if len(text) > MAX_DIGITS and _LONG_NUMBER.search(text):
        raise JsonTextError(f"the JSON has a number of more than {MAX_DIGITS} digits")
    try:
        value = _decoded(text, _lenient if control else _strict)
        if not text.isascii() or "\\u" in text:
            check_unicode(text, value)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        reason = f"the answer is not valid JSON: {error.msg} at {place}"
        raise JsonTextError(reason, syntax=True) from None
    except RecursionError:
        raise JsonTextError(TOO_DEEP) from None
    return value


TOO_DEEP = f"the JSON is nested more than {MAX_DEPTH} levels deep"


def _decoded(text: str, decoder: json.JSONDecoder) -> Any:
    # `decode` looks for white space on both sides, at the price of parsing a short document.
    if text[0] in "{[":
        value, end = decoder.raw_decode(text)
        if end == len(text):
            return value
    return decoder.decode(text)


def _check_depth(text: str) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        first = token[0][0]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise JsonTextError(TOO_DEEP)
        elif first != '"':
            depth -= 1


def check_unicode(text: str, value: Any) -> None:
    """Refuse half of a surrogate pair in ``text`` or, escaped there, in its ``value``.

    Raises:
        JsonTextError: there is one.
    """
    try:
        text.encode()
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise JsonTextError("the JSON has half of a surrogate pair in a string") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        for key, _ in pairs:
            if key not in value:
                raise JsonTextError(f"the JSON has the key {key[:80]!r} twice in one object")
            del value[key]
    return value


def _float(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise JsonTextError(f"the JSON has a number that is too large: {text[:40]}")
    return value


def _constant(text: str) -> Any:
    raise JsonTextError(f"the answer is not valid JSON: {text} is no JSON number")


_strict = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
_lenient = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_constant=_constant, strict=False
)
