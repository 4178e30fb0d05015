"""Scorers of texts: exactly the reference, or words and items in common."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, Final, Literal

from cascade.errors import nearest
from cascade.types import Answer
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

_WORD: Final = re.compile(r"\w+")
_BULLET: Final = re.compile(r"^\s*(?:[-*•]|\d{1,4}[.)])\s+")
_ARTICLES: Final = frozenset({"a", "an", "the"})


class Exact:
    """1 when the answer is the reference, or one of several; white space around does not count.

    Args:
        case: whether upper and lower case are different.

    The reference is a text, or a list of texts any of which is right; a number, true and false
    are taken as JSON writes them.
    """

    def __init__(self, *, case: bool = True) -> None:
        self.case = case

    def score(self, row: GoldenRow, answer: Answer, /) -> Score:
        """1 or 0."""
        right = row.reference if isinstance(row.reference, list) else [row.reference]
        if not right or any(not isinstance(one, str | int | float) for one in right):
            return unscorable("the reference is no text, nor a list of texts")
        given = self._folded(answer.text)
        if any(given == self._folded(_text(one)) for one in right):
            return RIGHT
        return wrong("is not the reference")

    def _folded(self, text: str) -> str:
        return text.strip() if self.case else text.strip().casefold()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class SetOfItems:
    """1 when the answer has the items of the reference, in any order, none missing or added.

    Args:
        separator: what divides the items of an answer that is no JSON array; by default lines,
            or commas where there is one line.
        case: whether upper and lower case are different.
    """

    def __init__(self, *, separator: str | None = None, case: bool = False) -> None:
        if separator == "":
            raise ScorerError("separator: is empty")
        self.separator = separator
        self.case = case

    def score(self, row: GoldenRow, answer: Answer, /) -> Score:
        """1 or 0."""
        right = _items(row.reference, self.separator, self.case)
        if right is None:
            return unscorable("the reference is no list")
        given = _items(answer.text, self.separator, self.case)
        if given is None:
            return wrong("the answer is too long")
        if set(given) == set(right):
            return RIGHT
        missing, added = len(set(right) - set(given)), len(set(given) - set(right))
        return wrong(f"{missing} items missing, {added} added")


class F1:
    """The harmonic mean of precision and recall, of words or of items.

    Args:
        of: ``"words"``: the answer and the reference as bags of words, without case, punctuation
            and English articles, as SQuAD measures answers; ``"items"``: as sets, as `SetOfItems`
            reads them. Of several references (a list, with ``"words"``) the best counts.
        separator: as in `SetOfItems`, for items.
    """

    def __init__(
        self, *, of: Literal["words", "items"] = "words", separator: str | None = None
    ) -> None:
        if of not in ("words", "items"):
            raise ScorerError(f"of={of!r}: {nearest(str(of), ('words', 'items'))}")
        if separator is not None and of == "words":
            raise ScorerError("separator: does nothing with of='words'")
        self.of = of
        self.separator = separator

    def score(self, row: GoldenRow, answer: Answer, /) -> Score:
        """From 0, nothing in common, to 1."""
        if len(answer.text) > MAX_ANSWER:
            return wrong("the answer is too long")
        if self.of == "words":
            several = row.reference if isinstance(row.reference, list) else [row.reference]
            if not several or any(not isinstance(one, str) for one in several):
                return unscorable("the reference is no text, nor a list of texts")
            given: Counter[Hashable] = Counter(_words(answer.text))
            best = max(_f1(given, Counter(_words(one))) for one in several)
        else:
            right = _items(row.reference, self.separator, case=False)
            if right is None:
                return unscorable("the reference is no list")
            found = _items(answer.text, self.separator, case=False)
            best = _f1(Counter(set(found or ())), Counter(set(right)))
        return Score(best, "" if best == 1 else f"F1 {best:.2f}")


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.casefold()) if word not in _ARTICLES]


def _f1(given: Counter[Hashable], right: Counter[Hashable]) -> float:
    if not given or not right:
        return float(given == right)
    common = (given & right).total()
    return 2 * common / (given.total() + right.total())


def _items(value: Any, separator: str | None, case: bool) -> list[Hashable] | None:
    """The items of a list, of a JSON array in a text, or of a text; None where there are none."""
    if isinstance(value, str):
        if len(value) > MAX_ANSWER:
            return None
        value = _split(value, separator)
    if not isinstance(value, list):
        return None
    return [_item(one, case) for one in value]


def _split(text: str, separator: str | None) -> Sequence[Any]:
    found = json_text(text, "fence")
    if found is not None and found.lstrip().startswith("["):
        try:
            parsed = parse_json(found.strip())
        except JsonTextError:
            parsed = None
        if isinstance(parsed, list):
            return parsed
    parts = text.split(separator or ("\n" if "\n" in text.strip() else ","))
    bare = [_BULLET.sub("", part).strip() for part in parts]
    return [part for part in bare if part]


def _item(value: Any, case: bool) -> Hashable:
    if isinstance(value, str):
        return value.strip() if case else value.strip().casefold()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return repr(value)
