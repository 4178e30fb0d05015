"""Answers that need no model, as functions: drafts of code tiers, made from examples.

A draft is data: the template of the prompts it is for, and how the answer follows from what
varies. The audit counts how many recorded answers it gives; the same object can then be the first
tier of a policy. It returns None for a prompt of another template: "not mine, escalate".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from cascade.providers.function import nonblocking
from cascade_policies.audit.arithmetic import compute
from cascade_policies.audit.keywords import WordRules
from cascade_policies.audit.templates import Template

_MOST_OBJECTS: Final = 8
CHANGES: Final[Mapping[str, Callable[[str], str]]] = {
    "": str,
    "in lower case": str.lower,
    "in upper case": str.upper,
    "in title case": str.title,
}
_DECODER: Final = json.JSONDecoder()

Texts = tuple[str, ...]
Path = tuple[str | int, ...]


@nonblocking
class Constant(Struct, frozen=True, tag=True):
    """Always the same answer."""

    texts: Texts
    answer: str

    def __call__(self, prompt: str) -> str | None:
        """The answer."""
        return self.answer if Template(self.texts).values(prompt) is not None else None

    def __str__(self) -> str:
        return "always the same answer"


@nonblocking
class Echo(Struct, frozen=True, tag=True):
    """A varying part of the prompt, given back; ``change`` is one of the known changes of case."""

    texts: Texts
    slot: int
    change: str = ""

    def __call__(self, prompt: str) -> str | None:
        """The part of the prompt."""
        values = Template(self.texts).values(prompt)
        if values is None or self.slot >= len(values):
            return None
        return CHANGES[self.change](values[self.slot].strip())

    def __str__(self) -> str:
        return f"a part of the prompt, given back {self.change}".strip()


@nonblocking
class Compute(Struct, frozen=True, tag=True):
    """A number worked out from the prompt, written as ``before`` + number + ``after``."""

    texts: Texts
    formula: str
    before: str = ""
    after: str = ""
    places: int = 0
    commas: bool = False

    def __call__(self, prompt: str) -> str | None:
        """The number as text."""
        values = Template(self.texts).values(prompt)
        value = None if values is None else compute(self.formula, "\n".join(values))
        if value is None or abs(value) >= Decimal(10) ** 15:
            return None
        return f"{self.before}{value:{',' if self.commas else ''}.{self.places}f}{self.after}"

    def __str__(self) -> str:
        return self.formula


@nonblocking
class JsonCopy(Struct, frozen=True, tag=True):
    """An object of JSON in the prompt: all of it, or some of its ``keys``."""

    texts: Texts
    keys: tuple[str, ...] | None = None

    def __call__(self, prompt: str) -> str | None:
        """The object as JSON."""
        found = object_in(self.texts, prompt)
        if found is None or (self.keys is not None and not found.keys() >= set(self.keys)):
            return None
        keys = found if self.keys is None else self.keys
        return json.dumps({key: found[key] for key in keys}, ensure_ascii=False)

    def __str__(self) -> str:
        some = "" if self.keys is None else f": its {', '.join(self.keys)}"
        return f"JSON that stands in the prompt{some}"


@nonblocking
class JsonField(Struct, frozen=True, tag=True):
    """One value of an object of JSON in the prompt."""

    texts: Texts
    path: Path

    def __call__(self, prompt: str) -> str | None:
        """The value as text."""
        value: Any = object_in(self.texts, prompt)
        for step in self.path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return as_text(value)

    def __str__(self) -> str:
        return f"the value at {'.'.join(map(str, self.path))} of JSON in the prompt"


@nonblocking
class Keywords(Struct, frozen=True, tag=True):
    """One of a few answers, told by words."""

    texts: Texts
    words: WordRules

    def __call__(self, prompt: str) -> str | None:
        """The answer that the words lead to."""
        values = Template(self.texts).values(prompt)
        return None if values is None else self.words.answer("\n".join(values))

    def __str__(self) -> str:
        shown = [f"'{name}'" for name, _ in self.words.rules[:5]]
        more = ", …" if len(self.words.rules) > len(shown) else ""
        return f"told by {', '.join(shown)}{more}"


Draft = Constant | Echo | Compute | JsonCopy | JsonField | Keywords


def object_in(texts: Texts, prompt: str) -> dict[str, Any] | None:
    """The largest object of JSON in a prompt that is not a fixed part of its template."""
    if Template(texts).values(prompt) is None:
        return None
    best: dict[str, Any] | None = None
    at, length = prompt.find("{"), 0
    for _ in range(_MOST_OBJECTS):
        if at < 0:
            break
        try:
            found, end = _DECODER.raw_decode(prompt, at)
        except (ValueError, RecursionError):
            at = prompt.find("{", at + 1)
            continue
        written = prompt[at:end]
        fixed = any(written in text for text in texts)
        if isinstance(found, dict) and found and not fixed and end - at > length:
            best, length = found, end - at
        at = prompt.find("{", end)
    return best


def as_text(value: object) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    return value if isinstance(value, str) else json.dumps(value)
