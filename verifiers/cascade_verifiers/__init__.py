"""The verifiers that come with cascade, and what it takes to write more.

Nothing here is loaded before it is used: sqlglot and jsonschema take longer to import than the
whole engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cascade_verifiers.algebra import All as All
    from cascade_verifiers.algebra import Any as Any
    from cascade_verifiers.algebra import Composable as Composable
    from cascade_verifiers.algebra import Not as Not
    from cascade_verifiers.grounded import Grounded as Grounded
    from cascade_verifiers.json_schema import JsonSchema as JsonSchema
    from cascade_verifiers.judge import Judge as Judge
    from cascade_verifiers.length import Length as Length
    from cascade_verifiers.one_of import OneOf as OneOf
    from cascade_verifiers.regex import Regex as Regex
    from cascade_verifiers.registry import find_verifier as find_verifier
    from cascade_verifiers.registry import make as make
    from cascade_verifiers.registry import verifier as verifier
    from cascade_verifiers.registry import verifier_names as verifier_names
    from cascade_verifiers.self_confidence import SelfConfidence as SelfConfidence
    from cascade_verifiers.sql import Sql as Sql

__all__ = [
    "All",
    "Any",
    "Composable",
    "Grounded",
    "JsonSchema",
    "Judge",
    "Length",
    "Not",
    "OneOf",
    "Regex",
    "SelfConfidence",
    "Sql",
    "find_verifier",
    "make",
    "verifier",
    "verifier_names",
]

_HOME = {
    "All": "algebra",
    "Any": "algebra",
    "Composable": "algebra",
    "Grounded": "grounded",
    "JsonSchema": "json_schema",
    "Judge": "judge",
    "Length": "length",
    "Not": "algebra",
    "OneOf": "one_of",
    "Regex": "regex",
    "SelfConfidence": "self_confidence",
    "Sql": "sql",
    "find_verifier": "registry",
    "make": "registry",
    "verifier": "registry",
    "verifier_names": "registry",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
