"""`JsonFields`: how many fields of a JSON answer are right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from cascade.types import Answer
from cascade_policies.golden.golden_set import GoldenRow
from cascade_policies.golden.scorer import (
    MAX_ANSWER,
    Score,
    ScorerError,
    unscorable,
    wrong,
)
from cascade_verifiers.extract import json_text
from cascade_verifiers.json_text import JsonTextError, parse_json

_MOST: Final = 10_000
_MISSING: Final = object()


class JsonFields:
    """The share of the reference's fields that the answer has, with the same value.

    A field is a value that is no object, by its path (``customer.name``); an array is one value,
    in its order. Numbers are the same as numbers, texts without white space around them. Fields
    that only the answer has do not count, unless ``added`` says so.

    Args:
        fields: only these paths, instead of all that the reference has.
        added: whether a field that only the answer has is a wrong one.
    """

    def __init__(self, *, fields: Sequence[str] | None = None, added: bool = False) -> None:
        if isinstance(fields, str) or (fields is not None and not fields):
            raise ScorerError(f"fields={fields!r}: needs a list of paths")
        if fields is not None and added:
            raise ScorerError("added: does nothing beside fields")
        self.fields = None if fields is None else tuple(fields)
        self.added = added

    def score(self, row: GoldenRow, answer: Answer, /) -> Score:
        """From 0 to 1; an answer that is no JSON object is 0."""
        right = _object(row.reference)
        if right is None:
            return unscorable("the reference is no JSON object")
        if len(answer.text) > MAX_ANSWER:
            return wrong("the answer is too long")
        given = _object(answer.text)
        if given is None:
            return wrong("the answer is no JSON object")
        wanted, found = dict(_leaves(right)), dict(_leaves(given))
        if self.fields is not None:
            wanted = {path: wanted.get(path, _MISSING) for path in self.fields}
        bad = [path for path, one in wanted.items() if not _same(found.get(path, _MISSING), one)]
        if self.added:
            extra = [path for path in found if path not in wanted]
            bad += extra
            wanted |= dict.fromkeys(extra)
        if not wanted:
            return unscorable("the reference has no fields")
        reason = "" if not bad else f"wrong: {', '.join(sorted(bad)[:5])}"
        return Score(1 - len(bad) / len(wanted), reason[:300])


def _object(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        try:
            value = parse_json(json_text(value, "embedded") or "")
        except JsonTextError:
            return None
    return value if isinstance(value, dict) else None


def _leaves(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    stack: list[tuple[str, Any]] = [("", value)]
    for _ in range(_MOST):
        if not stack:
            return
        path, one = stack.pop()
        if isinstance(one, dict) and (one or not path):
            stack.extend((f"{path}.{key}" if path else key, inner) for key, inner in one.items())
        else:
            yield path, one


def _same(given: Any, right: Any) -> bool:
    if isinstance(given, bool) or isinstance(right, bool):
        return given is right
    if isinstance(given, str) and isinstance(right, str):
        return given.strip() == right.strip()
    if isinstance(given, list) and isinstance(right, list):
        return len(given) == len(right) and all(map(_same, given, right))
    if isinstance(given, dict) and isinstance(right, dict):
        return given.keys() == right.keys() and all(_same(given[k], right[k]) for k in right)
    return bool(given == right)
