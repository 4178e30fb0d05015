"""What an answer in prose claims to have from its source: quotations, dates and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cascade_verifiers.source_text import (
    SourceText,
    normal,
    read_dates,
    read_numbers,
    scan,
    without,
)

_LIST_MARK = re.compile(r"^[ \t>*_#]{0,10}(?:\(?\d{1,3}[.)]|\[\d{1,3}\])(?=\s)", re.MULTILINE)
_STEP = re.compile(r"\bstep \d{1,3}\b")
# Not an inch, nor an apostrophe. None within another: each that is open would be read to its end.
_QUOTED = re.compile(r"(?<!\w)\"([^\"]{1,500})\"(?!\w)|«([^«»]{1,500})»")
_GAP = re.compile(r"\s*(?:\[?(?:\.\.\.|…)\]?)\s*")
_AROUND = " .,;:!?-'"


def claims(text: str, source: SourceText) -> Iterator[tuple[str, bool]]:
    """Each quotation, date and number of ``text``, and whether it stands in the source."""
    text = without(_STEP, normal(without(_LIST_MARK, text)))
    rest: list[str] = []
    position = 0
    for quoted in scan(_QUOTED, text):
        rest.append(text[position : quoted.start()])
        position = quoted.end()
        said = quoted[1] or quoted[2]
        pieces = [piece.strip(_AROUND) for piece in _GAP.split(said)]
        wanted = [piece for piece in pieces if piece]
        if wanted:
            yield f'"{said}"', all(map(source.has, wanted))
    rest.append(text[position:])
    plain = " \n ".join(rest)
    taken: list[tuple[int, int]] = []
    for shown, span, dates in read_dates(plain):
        taken.append(span)
        yield shown, source.has_date_of(dates)
    taken.sort()
    for shown, start, numbers in read_numbers(plain):
        # What is part of a date is no number.
        while taken and taken[0][1] <= start:
            taken.pop(0)
        if not taken or start < taken[0][0]:
            yield shown, source.has_number_of(numbers)
