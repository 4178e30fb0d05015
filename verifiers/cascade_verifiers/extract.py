"""Finding the JSON or the code in what a model wrote, in time linear in its length."""

from __future__ import annotations

import json
import re
from typing import Literal

from cascade.errors import ConfigError, nearest

Extract = Literal["strict", "fence", "embedded"]

MAX_CHARS = 1_000_000

# A line that opens or closes a fence, as CommonMark has it.
_FENCE_LINE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n`]*)$", re.MULTILINE)
# Brackets that may begin JSON: those of prose and code mostly cannot.
_OPENING = re.compile(r'\{\s*["}]|\[\s*[\[\]{"\-0-9tfn]')
# An answer that begins with its JSON, bare or in a fence that opens at once. An array of numbers
# could be a citation, as in "[1] says".
_BEGINS = re.compile(
    r'(?:(?:`{3,}+|~{3,}+)[ \t]*[A-Za-z0-9+-]*[ \t\r]*\n\s*)?(\{\s*["}]|\[\s*[{\["\]])'
)
_MAY_HOLD_JSON = re.compile(r"[{\[]|```|~~~")
_SCALAR = re.compile(r'["\-0-9]|(?:true|false|null)\b')
_LANGUAGE = re.compile(r"[A-Za-z][A-Za-z0-9+-]{0,19}(?=\s)")

_MOST_TRIES = 200

_decoder = json.JSONDecoder()
_lenient_decoder = json.JSONDecoder(strict=False)


def check_extract(value: str, known: tuple[str, ...]) -> None:
    """Refuse an extraction policy that there is not.

    Raises:
        ConfigError: with the nearest right one.
    """
    if value not in known:
        raise ConfigError(f"extract={value!r}: {nearest(str(value), known)}")


def fences(text: str) -> list[str]:
    """What stands in the first two code fences of ``text``, closed or not."""
    if "```" not in text and "~~~" not in text:
        return []
    found: list[str] = []
    mark, start = "", 0
    for line in _FENCE_LINE.finditer(text):
        fence, rest = line[1], line[2]
        if not mark:
            mark, start = fence, line.end()
        elif fence.startswith(mark) and not rest.strip():
            found.append(text[start : line.start()].strip())
            mark = ""
            if len(found) == 2:
                return found
    if mark:
        found.append(text[start:].strip())
    return found or _inline_fences(text)


def _inline_fences(text: str) -> list[str]:
    """Fences that share a line with their content: ```json {"a": 1}```."""
    pieces = text.split("```")
    if len(pieces) % 2 == 0:
        return []
    return [piece[m.end() if (m := _LANGUAGE.match(piece)) else 0 :].strip()
            for piece in pieces[1::2]]  # fmt: skip


def json_text(text: str, extract: Extract, *, control: bool = False) -> str | None:
    """The one JSON text in an answer, or None where that is not clear.

    ``strict`` takes the whole answer. ``fence`` takes what is in the one code fence, if the
    answer does not begin and end like JSON itself. ``embedded`` also looks for JSON in prose:
    one object, or where there is none one array. An answer that begins with JSON, bare or in a
    fence, is taken at its word: nothing further on stands in for it when it is broken.
    ``control`` lets control characters stand in strings.
    """
    whole = trimmed(text)
    if extract == "strict" or _looks_bare(whole):
        return whole
    begins = _BEGINS.match(whole)
    if begins is not None and begins.start(1) == 0 and extract == "fence":
        return whole
    fenced = fences(whole)
    one_fence = len(fenced) == 1 and (begins is None or begins.start(1) > 0)
    if extract == "fence":
        return fenced[0] if one_fence else None if fenced else whole
    decoder = _lenient_decoder if control else _decoder
    if one_fence:
        inside = fenced[0]
        # More than JSON: some models end the line of the closing fence with their stop tokens.
        found = None if _looks_bare(inside) else _embedded(inside, decoder)
        return found if found and (begins is None or inside.startswith(found)) else inside
    found = _embedded(whole, decoder)
    if begins is not None:
        if found is None and begins.start(1) == 0:
            return whole  # no JSON: whoever parses it says where it breaks
        return found if found and whole.startswith(found, begins.start(1)) else None
    return whole if found is None and not fenced and not _OPENING.search(whole) else found


def json_region(text: str, extract: Extract) -> str | None:
    """Where broken JSON stands, to be repaired; None where that is not clear, or it is cut off."""
    whole = trimmed(text)
    fenced = [] if extract == "strict" or _looks_bare(whole) else fences(whole)
    if len(fenced) > 1:
        return None
    region = fenced[0] if fenced else whole
    if extract == "embedded" and not _looks_bare(region):
        opening = re.search(r"[{\[]", region)
        if opening is None:
            return None
        closing = "}" if opening[0] == "{" else "]"
        region = region[opening.start() : region.rfind(closing) + 1]
    return region if _looks_bare(region) else None


def json_start(text: str, extract: Extract) -> int | None:
    """Where JSON must begin in an answer that begins with ``text``, if that is known."""
    start = len(text) - len(text.lstrip())
    if text.startswith("\ufeff", start):
        rest = text[start + 1 :]
        start += 1 + len(rest) - len(rest.lstrip())
    if extract == "strict":
        return start if start < len(text) else None
    begins = _BEGINS.match(text, start)
    return None if begins is None else begins.start(1)


def starts_too_late(text: str, limit: int) -> bool:
    """Whether more than ``limit`` characters of prose come before anything that may hold JSON.

    Once true of the beginning of an answer, it stays true of all of it.
    """
    whole = trimmed(text)
    end = limit + len("false") + 1
    if len(whole) <= end or _SCALAR.match(whole):
        return False
    found = _MAY_HOLD_JSON.search(whole, 0, end)
    return found is None or found.start() > limit


def trimmed(text: str) -> str:
    """The text without the white space and the byte-order mark around it."""
    return text.strip().removeprefix("\ufeff").lstrip()


def _looks_bare(text: str) -> bool:
    return text[:1] + text[-1:] in ("{}", "[]")


def _embedded(text: str, decoder: json.JSONDecoder) -> str | None:
    """The only object in prose, or without objects the only array; None when it is not clear.

    What stands inside JSON that turned out broken is a part of the answer, not the answer.
    Bounded, so that ``[1,[1,[1,…`` is not read to its end from each of its brackets: so many
    tries (each error counts the lines before it), and so much text read by those that fail.
    """
    found: dict[str, list[str]] = {"{": [], "[": []}
    budget = len(text) + 10_000
    position = broken = 0
    for _ in range(_MOST_TRIES):
        opening = _OPENING.search(text, position)
        if opening is None:
            values = found["{"] or found["["]
            return values[0] if len(values) == 1 else None
        start = opening.start()
        try:
            _, position = decoder.raw_decode(text, start)
            found[text[start]].append(text[start:position])
        except json.JSONDecodeError as error:
            # An unclosed string is reported where it begins, having been read to the end.
            read = len(text) if error.msg.startswith("Unterminated") else error.pos
            budget -= read - start
            broken = max(broken, error.pos)
            position = start + 1
        except (RecursionError, ValueError):
            return None
        else:
            if start < broken:
                return None
        if budget < 0 or len(found["{"]) > 1:
            return None
    return None
