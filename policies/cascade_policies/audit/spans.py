"""Extraction: how much of the answers stands in the prompts, word for word."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from cascade_policies.audit.calls import Call
from cascade_policies.audit.fitting import parse_json, plain
from cascade_policies.audit.groups import spread

LOOKED: Final = 200
"""Calls that are looked at, evenly spread."""

_SPAN_LEAST: Final = 2
_MOST_VALUES: Final = 50


def spans(calls: Sequence[Call], texts: Callable[[Call], list[str]]) -> tuple[int, int]:
    """How many values of the answers stand in their prompts, and how many there are."""
    found = total = 0
    for call in spread(calls, LOOKED):
        source = _flat(f"{call.system}\n{call.prompt}" if call.prompt else "")
        for value in (value for text in texts(call) for value in _values(text)):
            total += 1
            found += _flat(value) in source
    return found, total


def _flat(text: str) -> str:
    """A text for looking up: lower case, single spaces."""
    return " ".join(text.casefold().split())


def _values(text: str) -> Iterator[str]:
    """The scalars of JSON that say something; other text as it is."""
    parsed = structured(text)
    waiting = [plain(text) if parsed is None else parsed]
    for _ in range(_MOST_VALUES):
        if not waiting:
            return
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += list(one.values())[:_MOST_VALUES]
        elif isinstance(one, list):
            waiting += one[:_MOST_VALUES]
        elif isinstance(one, str):
            if len(one.strip()) >= _SPAN_LEAST:
                yield one
        elif one is not None and not isinstance(one, bool):
            yield json.dumps(one)


def structured(text: str | None) -> object:
    """An object or array of JSON, or None."""
    parsed = parse_json(text or "")
    return parsed if isinstance(parsed, dict | list) else None
