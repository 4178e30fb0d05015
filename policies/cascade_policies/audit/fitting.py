"""Which draft gives the answers of a group of calls, of those that the first ones suggest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from cascade_policies.audit.arithmetic import FORMULAS, NUMBER, agrees, compute
from cascade_policies.audit.drafts import (
    CHANGES,
    Compute,
    Constant,
    Draft,
    Echo,
    JsonCopy,
    JsonField,
    Path,
    Texts,
    as_text,
    object_in,
)

_MOST_TRIED: Final = 3
_MOST_PATHS: Final = 200
_DEEPEST: Final = 6


class Example(NamedTuple):
    """A prompt, the parts of it that vary, and the answer that was given."""

    prompt: str
    values: tuple[str, ...]
    answer: str


def fitting(texts: Texts, examples: Sequence[Example]) -> tuple[Draft, int] | None:
    """The draft that gives most of the answers, and how many of them; None without one.

    Candidates are made from the first examples; what is left to chance is nothing that fits a
    great many answers, since a draft has hardly anything to choose.
    """
    candidates = list(dict.fromkeys(_candidates(texts, examples)))
    counted = [(sum(_gives(draft, one) for one in examples), draft) for draft in candidates]
    if not counted:
        return None
    right, best = max(counted, key=lambda pair: pair[0])
    return (best, right) if right else None


def _gives(draft: Draft, example: Example) -> bool:
    produced = draft(example.prompt)
    return produced is not None and same(produced, example.answer)


def same(produced: str, answer: str) -> bool:
    """Whether two answers say the same: as text but for case and a full stop, as JSON, or as a
    number."""
    if plain(produced) == plain(answer):
        return True
    first = produced.lstrip()[:1]
    if first in ("{", "["):
        found = parse_json(answer)
        return found is not None and found == parse_json(produced)
    shown = NUMBER.search(produced)
    if shown is None or NUMBER.sub("", produced).strip() != NUMBER.sub("", answer).strip():
        return False
    return agrees(Decimal(shown[1].replace(",", "")), answer)


def plain(answer: str) -> str:
    """An answer for comparison."""
    return answer.strip().rstrip(".").strip("\"'`").casefold()


def _candidates(texts: Texts, examples: Sequence[Example]) -> Iterator[Draft]:
    for example in examples[:_MOST_TRIED]:
        yield Constant(texts, example.answer.strip())
        yield from _echoes(texts, example)
        yield from _computed(texts, example)
        yield from _copied(texts, example)


def _echoes(texts: Texts, example: Example) -> Iterator[Echo]:
    answer = example.answer.strip()
    for slot, value in enumerate(example.values):
        for change, function in CHANGES.items():
            if answer and function(value.strip()) == answer:
                yield Echo(texts, slot, change)
                break


def _computed(texts: Texts, example: Example) -> Iterator[Compute]:
    shown = list(NUMBER.finditer(example.answer))
    if len(shown) != 1 or len(example.answer) > 200:
        return
    start, end = shown[0].span(1)
    written = shown[0][1]
    _, _, places = written.partition(".")
    text = "\n".join(example.values)
    for formula in FORMULAS:
        value = compute(formula, text)
        if value is not None and agrees(value, example.answer):
            yield Compute(texts, formula, example.answer[:start], example.answer[end:],
                          len(places), "," in written)  # fmt: skip


def _copied(texts: Texts, example: Example) -> Iterator[JsonCopy | JsonField]:
    found = object_in(texts, example.prompt)
    if found is None:
        return
    told = parse_json(example.answer)
    if isinstance(told, dict):
        if told == found:
            yield JsonCopy(texts)
        elif told and all(key in found and found[key] == told[key] for key in told):
            yield JsonCopy(texts, tuple(told))
    for path, value in _paths(found):
        if plain(as_text(value) or "") == plain(example.answer):
            yield JsonField(texts, path)


def _paths(value: dict[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Every scalar of an object with the way to it, breadth first and not too many."""
    waiting: list[tuple[Path, Any]] = [((), value)]
    for _ in range(_MOST_PATHS):
        if not waiting:
            return
        path, one = waiting.pop(0)
        if isinstance(one, dict | list):
            if len(path) < _DEEPEST:
                steps = one.items() if isinstance(one, dict) else enumerate(one)
                waiting += [((*path, step), inner) for step, inner in steps][:_MOST_PATHS]
        else:
            yield path, one


def parse_json(text: str) -> Any:
    """What JSON says, also in a fence of Markdown; None of anything else."""
    text = text.strip()
    if text.startswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def raw_label(answers: Sequence[str]) -> str:
    """How an answer is most often written."""
    return Counter(answer.strip() for answer in answers).most_common(1)[0][0]
