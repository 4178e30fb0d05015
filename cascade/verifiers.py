"""The verifiers: the public face of ``cascade_verifiers``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cascade_verifiers import All as All
    from cascade_verifiers import Any as Any
    from cascade_verifiers import Composable as Composable
    from cascade_verifiers import Grounded as Grounded
    from cascade_verifiers import JsonSchema as JsonSchema
    from cascade_verifiers import Judge as Judge
    from cascade_verifiers import Length as Length
    from cascade_verifiers import Not as Not
    from cascade_verifiers import OneOf as OneOf
    from cascade_verifiers import Regex as Regex
    from cascade_verifiers import SelfConfidence as SelfConfidence
    from cascade_verifiers import Sql as Sql
    from cascade_verifiers import find_verifier as find_verifier
    from cascade_verifiers import make as make
    from cascade_verifiers import verifier as verifier
    from cascade_verifiers import verifier_names as verifier_names

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


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import cascade_verifiers

    found: object = getattr(cascade_verifiers, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
