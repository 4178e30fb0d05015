"""One condition of a rule, like ``min_words = 400``, and what can be known of it beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cascade.errors import ConfigError, nearest
from cascade_policies.routers.features import COUNTED, Features
from cascade_verifiers.language import LANGUAGES
from cascade_verifiers.regex import Regex

_LEAST = {"lines": 1, "messages": 1}
"""The least that a count can be, where that is not 0."""

_ANYTHING = ("", "a B", "7\n\t", "\u4e2d\x00")
"""Texts that have nothing in common."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on the features of a request.

    Attributes:
        key: as the rule writes it.
        value: likewise.
        holds: whether it is met.
        seen: what was seen, in words, for the reason of a route.
    """

    key: str
    value: Any
    holds: Callable[[Features], bool]
    seen: Callable[[Features], str]

    def __str__(self) -> str:
        shown = str(self.value).lower() if isinstance(self.value, bool) else repr(self.value)
        return f"{self.key}={shown}"


def conditions_of(when: object) -> tuple[Condition, ...]:
    """The conditions that a rule's ``when`` describes; all must hold.

    Raises:
        ConfigError: a feature is unknown, a value is impossible, a condition always holds or
            never, or there is none.
    """
    if not isinstance(when, Mapping):
        raise ConfigError(f"when={when!r}: needs a table of conditions, like {{ min_words = 400 }}")
    if not when:
        raise ConfigError("when: has no condition; where to begin otherwise says 'otherwise'")
    found = tuple(_condition(key, value) for key, value in when.items())
    for name in COUNTED:
        low, high = span(found, name)
        if low > high:
            raise ConfigError(f"when: min_{name}={low:g} and max_{name}={high:g}: never both")
    most = span(found, "chars")[1]
    for name in ("words", "lines", "questions"):
        low = span(found, name)[0]
        # Words are divided by a character each, and lines have one between them.
        least = {"words": 2 * low - 1, "lines": low - 1}.get(name, low)
        if least > most:
            raise ConfigError(f"when: min_{name}={low:g} needs more than max_chars={most:g}")
    return found


def span(conditions: tuple[Condition, ...], name: str) -> tuple[float, float]:
    """The least and the most of a count that the conditions let pass."""
    values = {condition.key: condition.value for condition in conditions}
    return values.get(f"min_{name}", _LEAST.get(name, 0)), values.get(f"max_{name}", math.inf)


def covers(earlier: tuple[Condition, ...], later: tuple[Condition, ...]) -> bool:
    """Whether every request that the later conditions let pass meets the earlier ones too.

    No for some that do: of two regular expressions only equal ones are known to be so.
    """
    given = {condition.key: condition.value for condition in later}
    for condition in earlier:
        kind, _, name = condition.key.partition("_")
        if kind in ("min", "max"):
            low, high = span(later, name)
            if low < condition.value if kind == "min" else high > condition.value:
                return False
        elif condition.key not in given:
            return False
        elif condition.key == "language":
            if not set(_codes(given["language"])) <= set(_codes(condition.value)):
                return False
        elif given[condition.key] != condition.value:
            return False
    return True


def _condition(key: object, value: Any) -> Condition:
    if key == "code":
        return _code(value)
    if key == "language":
        return _language(value)
    if key == "regex":
        return _regex(value)
    kind, _, name = str(key).partition("_")
    if kind in ("min", "max") and name in COUNTED:
        return _bound(kind, name, value)
    known = [f"{kind}_{name}" for kind in ("min", "max") for name in COUNTED]
    raise ConfigError(f"when.{key}: {nearest(str(key), [*known, 'code', 'language', 'regex'])}")


def _bound(kind: str, name: str, value: Any) -> Condition:
    key, least = f"{kind}_{name}", _LEAST.get(name, 0)
    if type(value) is not int:
        raise ConfigError(f"when.{key}={value!r}: needs a whole number")
    if kind == "min" and value <= least:
        raise ConfigError(f"when.{key}={value!r}: does nothing, as there are never fewer")
    if kind == "max" and value < least:
        raise ConfigError(f"when.{key}={value!r}: never holds, as there are {least} at the least")

    def holds(features: Features) -> bool:
        count: int = getattr(features, name)
        return count >= value if kind == "min" else count <= value

    return Condition(key, value, holds, lambda features: f"{getattr(features, name):,} {name}")


def _code(value: Any) -> Condition:
    if not isinstance(value, bool):
        raise ConfigError(f"when.code={value!r}: needs true or false")

    def seen(features: Features) -> str:
        return "a block of code" if features.code else "no block of code"

    return Condition("code", value, lambda features: features.code is value, seen)


def _language(value: Any) -> Condition:
    codes = _codes(value)
    if not codes:
        raise ConfigError(f"when.language={value!r}: needs a code like 'en', or a list of them")
    for code in codes:
        if code not in LANGUAGES:
            raise ConfigError(f"when.language={value!r}: {nearest(str(code), LANGUAGES)}")
    return Condition(
        "language",
        value,
        lambda features: features.language in codes,
        lambda features: f"the language {features.language!r}",
    )


def _codes(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value == "" else [value]


def _regex(value: Any) -> Condition:
    try:
        pattern = Regex(value)
    except ConfigError as error:
        raise ConfigError(f"when.regex: {error.message}") from error
    if all(map(pattern.found, _ANYTHING)):
        raise ConfigError(f"when.regex={value!r}: does nothing, as it is found in every text")
    return Condition(
        "regex",
        value,
        lambda features: pattern.found(features.excerpt),
        lambda features: f"a match of {value}",
    )
