"""A source text, prepared for asking whether a value stands in it, in whatever form."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

Date = tuple[int, int, int]

_LONGEST_NUMBER = 40
_PIECE = 5_000
_WINDOW = 20_000
_OVERLAP = 600
"""Longer than anything looked for, an overlong number aside."""

# Dashes, and quotes of all kinds.
_SAME = str.maketrans(
    "\u2010\u2011\u2012\u2013\u2014\u2212\u2018\u2019\u201a\u201b\u0060\u00b4\u201c\u201d\u201e\u201f",
    "------" + "'" * 6 + '"' * 4,
)

# Digits grouped by spaces or apostrophes, or by commas and points. No two ways to match: linear.
_NUMBER = re.compile(r"\d{1,3}(?:[ ']\d{3})+(?:[.,]\d+)?(?!\d)|\d+(?:[.,]\d+)*")
_MONEY = re.compile(
    rf"[-+(]?\s?(?:[$€£¥₹]|[a-z]{{3}})?\s?[-+]?({_NUMBER.pattern})\s?(?:[$€£¥₹%]|[a-z]{{3}})?\)?"
)

# "1.2 million", "50k"; a letter alone must touch its number, and "m" may be metres too.
_SCALED = re.compile(
    rf"({_NUMBER.pattern})(?: ?(thousand|million|billion|trillion|mio|mrd|bn)\b|([km])\b)?"
)
_SCALES = {
    "k": 3, "thousand": 3, "m": 6, "mio": 6, "million": 6, "bn": 9, "mrd": 9, "billion": 9,
    "trillion": 12,
}  # fmt: skip
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)  # fmt: skip
_TENS = ("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {
    **{word: Decimal(value) for value, word in enumerate(_ONES)},
    **{word: Decimal(10 * value) for value, word in enumerate(_TENS, 3)},
    "hundred": Decimal(100), "thousand": Decimal(1000), "dozen": Decimal(12), "twice": Decimal(2),
    "half": Decimal("0.5"),
}  # fmt: skip
_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b")

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = (
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_ISO_DATE = re.compile(r"(?<!\d)(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?!\d)")
_SHORT_DATE = re.compile(r"(?<!\d)(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})(?!\d)")
_MONTH_FIRST = re.compile(rf"\b{_MONTH} (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})(?!\d)")
_DAY_FIRST = re.compile(
    rf"(?<!\d)(\d{{1,2}})(?:st|nd|rd|th)?\.?(?: of)?[ -]{_MONTH},?[ -](\d{{4}})(?!\d)"
)
_MIDNIGHT = re.compile(r"t00:00(?::00(?:\.0+)?)?(?:z|[+-]00:00)?$")


class SourceText:
    """Knows the words, numbers and dates of a text."""

    def __init__(self, text: str) -> None:
        self._text = normal(text)
        self._numbers = {number for _, _, numbers in read_numbers(self._text) for number in numbers}
        self._numbers.update(_WORDS[found[0]] for found in scan(_WORD, self._text))
        self._dates = set(_dates(self._text))

    def has(self, value: Any) -> bool:
        """Whether a JSON string or number stands in the text."""
        if isinstance(value, int | float):
            digits = f"{abs(value)!r}" if isinstance(value, float) else _digits(abs(value))
            return Decimal(digits) in self._numbers if digits else False
        text = normal(value)
        return self._has_words(text) or self._has_date(text) or self._has_money(text)

    def has_number_of(self, readings: Iterable[Decimal]) -> bool:
        """Whether a number stands in the text that may mean one of these."""
        return not self._numbers.isdisjoint(readings)

    def has_date_of(self, readings: Iterable[Date]) -> bool:
        """Whether a date stands in the text that may mean one of these."""
        return not self._dates.isdisjoint(readings)

    def _has_words(self, words: str) -> bool:
        start = self._text.find(words)
        while start >= 0:
            end = start + len(words)
            before = self._text[start - 1 : start] if start else ""
            if not (_joins(before, words[:1]) or _joins(words[-1:], self._text[end : end + 1])):
                return True
            # On from the end: what overlaps a hit inside a word begins inside it too, and a text
            # of one letter must not take quadratic time.
            start = self._text.find(words, end)
        return False

    def _has_date(self, text: str) -> bool:
        text = _MIDNIGHT.sub("", text)
        if len(text) > _LONGEST_NUMBER:
            return False
        patterns = (_ISO_DATE, _SHORT_DATE, _MONTH_FIRST, _DAY_FIRST)
        if not any(pattern.fullmatch(text) for pattern in patterns):
            return False
        return not self._dates.isdisjoint(_dates(text))

    def _has_money(self, text: str) -> bool:
        found = _MONEY.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
        # "007" is a name, not the number 7.
        if found is None or (found[1][0] == "0" and found[1].isdigit() and len(found[1]) > 1):
            return False
        return not self._numbers.isdisjoint(_readings(found[1]))


def normal(text: str) -> str:
    """One form for texts that differ only in case, spacing, dashes, quotes or Unicode form."""
    pieces: list[str] = []
    room = 2 * len(text) + 10 * _PIECE
    space = ""
    # In pieces: other threads have their turn between two of them, and some characters expand to
    # 18, which no text worth reading is made of.
    end = 0
    while end < len(text):
        start, end = end, end + _PIECE
        # Not between a letter and its accent, where there is white space nearby.
        end = next((n for n in range(end, min(end + 100, len(text))) if text[n].isspace()), end)
        piece = unicodedata.normalize("NFKC", text[start:end])
        room -= len(piece)
        if room < 0:
            break
        piece = piece.translate(_SAME).casefold()
        words = " ".join(piece.split())
        if pieces and piece[:1].isspace():
            space = " "
        if words:
            pieces += (space, words)
            space = " " if piece[-1:].isspace() else ""
    return "".join(pieces)


def scan(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """`finditer` in windows, as a search keeps all other threads waiting until it has an end."""
    start = 0
    while start < len(text):
        end = start + _WINDOW
        for found in pattern.finditer(text, start, end + _OVERLAP):
            if found.start() >= end:
                break
            yield found
            start = found.end()
        start = max(start, end)


def without(pattern: re.Pattern[str], text: str) -> str:
    """The text with a space where ``pattern`` was found."""
    pieces: list[str] = []
    start = 0
    for found in scan(pattern, text):
        pieces += (text[start : found.start()], " ")
        start = found.end()
    return "".join((*pieces, text[start:]))


def _joins(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum()


def _digits(value: int) -> str:
    # Longer ones are in no text worth the name, and take quadratic time to print.
    return str(value) if value.bit_length() < 4 * _LONGEST_NUMBER else ""


def _readings(number: str) -> Iterator[Decimal]:
    """What a number may mean: 1,234 is a thousand and more to some and about one to others."""
    number = number.replace(" ", "").replace("'", "")
    if len(number) > _LONGEST_NUMBER:
        return
    commas, points = number.count(","), number.count(".")
    if commas and points:
        decimal = max(",.", key=number.rfind)
        whole, _, part = number.rpartition(decimal)
        yield Decimal(f"{whole.replace(',', '').replace('.', '')}.{part}")
    elif not commas + points:
        yield Decimal(number)
    else:
        plain = number.replace(",", ".")
        if commas + points == 1:
            yield Decimal(plain)
        if all(len(group) == 3 for group in plain.split(".")[1:]):
            yield Decimal(plain.replace(".", ""))


def read_numbers(text: str) -> Iterator[tuple[str, int, list[Decimal]]]:
    """Each number in a `normal` text: as written, from where on, and what it may mean."""
    for found in scan(_SCALED, text):
        readings = list(_readings(found[1]))
        scale = found[2] or found[3]
        if scale:
            scaled = [number.scaleb(_SCALES[scale]) for number in readings]
            # A letter may be a unit: "5 m" is five metres as well.
            readings = scaled if found[2] else readings + scaled
        if readings:
            yield found[0], found.start(), readings


def read_dates(text: str) -> Iterator[tuple[str, tuple[int, int], list[Date]]]:
    """Each date in a `normal` text: as written, from where to where, and what it may mean."""
    for pattern in (_ISO_DATE, _SHORT_DATE, _MONTH_FIRST, _DAY_FIRST):
        for found in scan(pattern, text):
            dates = list(_dates(found[0]))
            if dates:
                yield found[0], found.span(), dates


def _dates(text: str) -> Iterator[Date]:
    for found in scan(_ISO_DATE, text):
        yield from _valid(int(found[1]), int(found[3]), int(found[4]))
    for found in scan(_SHORT_DATE, text):
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        for century in (0,) if year > 99 else (1900, 2000):
            yield from _valid(century + year, second, first)
            if found[2] == "/":  # month first is American, and written with slashes
                yield from _valid(century + year, first, second)
    for found in scan(_MONTH_FIRST, text):
        yield from _valid(int(found[3]), 1 + _MONTHS.index(found[1][:3]), int(found[2]))
    for found in scan(_DAY_FIRST, text):
        yield from _valid(int(found[3]), 1 + _MONTHS.index(found[2][:3]), int(found[1]))


def _valid(year: int, month: int, day: int) -> Iterator[Date]:
    if 1 <= month <= 12 and 1 <= day <= 31:
        yield (year, month, day)
