"""Names of scorers: built in, registered, of an entry point, or ``package.module:Object``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from cascade.errors import ConfigError, nearest
from cascade.plugins import entry_points_of
from cascade_policies.golden.functions import FunctionScorer
from cascade_policies.golden.scorer import Scorer, ScorerError
from cascade_verifiers.making import construct, find_named, import_object

ENTRY_POINTS: Final = "cascade.scorers"

BUILT_IN: Final[Mapping[str, str]] = {
    "exact": "cascade_policies.golden.texts:Exact",
    "f1": "cascade_policies.golden.texts:F1",
    "json_fields": "cascade_policies.golden.json_fields:JsonFields",
    "judge": "cascade_policies.golden.judged:Judged",
    "numeric": "cascade_policies.golden.numbers:Numeric",
    "set": "cascade_policies.golden.texts:SetOfItems",
    "sql_execution": "cascade_policies.golden.sql_execution:SqlExecution",
    "unit_tests": "cascade_policies.golden.unit_tests:UnitTests",
}
"""By reference, so that what one of them needs is imported when it is used."""

DEFAULT: Final = "exact"

_SECRET: Final = re.compile(r"_key$|token$|secret|password|header|auth", re.IGNORECASE)

T = TypeVar("T", bound=Callable[..., Any])

_registered: dict[str, Any] = {}


def scorer(name: str) -> Callable[[T], T]:
    """Register a class with a ``score`` method, or a function, under ``name``, for this process.

    Raises:
        ScorerError: the name is taken, or is no name.
    """
    if not name.replace("-", "_").isidentifier():
        raise ScorerError(f"scorer name {name!r}: use letters, digits, '-' and '_'")

    def register(target: T) -> T:
        if name in scorer_names():
            raise ScorerError(f"scorer {name!r} is registered already")
        _registered[name] = target
        return target

    return register


def scorer_names() -> list[str]:
    """Every name that is registered, sorted."""
    return sorted({*BUILT_IN, *_registered, *entry_points_of(ENTRY_POINTS)})


def make_scorer(name: str, arguments: Mapping[str, Any] | None = None) -> Scorer:
    """A scorer by name and arguments.

    Raises:
        ScorerError: there is none of that name, or an argument is unknown, missing or unfit.
    """
    given = dict(arguments or {})
    try:
        target = _find(name)
        if isinstance(target, type):
            made: Scorer = construct(target, given, "score", "row, answer")
            return made
        if callable(target) and not isinstance(target, Scorer):
            return FunctionScorer(target, **given)
    except ScorerError:
        raise
    except (ConfigError, TypeError) as error:
        raise ScorerError(f"scorer {name!r}: {error}") from error
    if not isinstance(target, Scorer):
        raise ScorerError(f"{name} is no scorer: it is of type {type(target).__name__}")
    if given:
        raise ScorerError(f"{next(iter(given))}: {name} takes no arguments")
    return target


def _find(name: str) -> Any:
    if name in BUILT_IN:
        return import_object(BUILT_IN[name])
    target = find_named(name, _registered, entry_points_of(ENTRY_POINTS))
    if target is None:
        raise ScorerError(f"scorer {name!r}: {nearest(name, scorer_names())}")
    return target


def as_scorer(given: Any) -> tuple[Scorer, dict[str, Any]]:
    """A scorer, and what a recording says of it: its name and arguments.

    ``given`` is a name, an object with a ``name`` and arguments (as a golden set or a TOML file
    has it), a function, a scorer, or None for `DEFAULT`.

    Raises:
        ScorerError: it is none of these, or as `make_scorer`.
    """
    given = DEFAULT if given is None else given
    if isinstance(given, str):
        given = {"name": given}
    if isinstance(given, Mapping):
        arguments = {key: value for key, value in given.items() if key != "name"}
        if not isinstance(given.get("name"), str):
            raise ScorerError(f"a scorer's 'name' is missing: {nearest('', scorer_names())}")
        return make_scorer(given["name"], arguments), _told(given)
    if isinstance(given, Scorer):
        return given, {"name": _named(type(given)), "settings": _told(_settings(given))}
    if callable(given):
        return FunctionScorer(given), {"name": _named(given)}
    raise ScorerError(f"a scorer is a name, a function or has a method score; got {given!r:.60}")


def _named(target: Any) -> str:
    return f"{target.__module__}:{getattr(target, '__qualname__', type(target).__name__)}"


def _settings(target: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = getattr(target, "__dict__", {})
    return {key: value for key, value in attributes.items() if not key.startswith("_")}


def _told(value: Any, key: str = "") -> Any:
    """What a recording may say of an argument: nothing secret, and no object but by its name."""
    if _SECRET.search(key):
        return "(not told)"
    if isinstance(value, Mapping):
        return {str(name): _told(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_told(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(getattr(value, "name", None) or type(value).__name__)
