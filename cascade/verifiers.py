"""The verifiers: the public face of ``cascade_verifiers``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cascade_verifiers import Agreement as Agreement
    from cascade_verifiers import All as All
    from cascade_verifiers import Any as Any
    from cascade_verifiers import Calibrator as Calibrator
    from cascade_verifiers import Catalogue as Catalogue
    from cascade_verifiers import Command as Command
    from cascade_verifiers import Composable as Composable
    from cascade_verifiers import Finished as Finished
    from cascade_verifiers import Grounded as Grounded
    from cascade_verifiers import Http as Http
    from cascade_verifiers import Isotonic as Isotonic
    from cascade_verifiers import JsonSchema as JsonSchema
    from cascade_verifiers import Judge as Judge
    from cascade_verifiers import Language as Language
    from cascade_verifiers import Learned as Learned
    from cascade_verifiers import Length as Length
    from cascade_verifiers import NoPlaceholder as NoPlaceholder
    from cascade_verifiers import Not as Not
    from cascade_verifiers import NotRefusal as NotRefusal
    from cascade_verifiers import Number as Number
    from cascade_verifiers import OneOf as OneOf
    from cascade_verifiers import PairwiseJudge as PairwiseJudge
    from cascade_verifiers import Platt as Platt
    from cascade_verifiers import PythonSyntax as PythonSyntax
    from cascade_verifiers import Regex as Regex
    from cascade_verifiers import SelfConfidence as SelfConfidence
    from cascade_verifiers import Sql as Sql
    from cascade_verifiers import ToolCalls as ToolCalls
    from cascade_verifiers import at_least as at_least
    from cascade_verifiers import brier_score as brier_score
    from cascade_verifiers import calibrated as calibrated
    from cascade_verifiers import calibration_error as calibration_error
    from cascade_verifiers import find_verifier as find_verifier
    from cascade_verifiers import fit_calibrator as fit_calibrator
    from cascade_verifiers import fit_learned as fit_learned
    from cascade_verifiers import make as make
    from cascade_verifiers import same_result as same_result
    from cascade_verifiers import settled as settled
    from cascade_verifiers import verifier as verifier
    from cascade_verifiers import verifier_names as verifier_names
    from cascade_verifiers import weighted as weighted
    from cascade_verifiers import when as when
    from cascade_verifiers import within as within

__all__ = [
    "Agreement",
    "All",
    "Any",
    "Calibrator",
    "Catalogue",
    "Command",
    "Composable",
    "Finished",
    "Grounded",
    "Http",
    "Isotonic",
    "JsonSchema",
    "Judge",
    "Language",
    "Learned",
    "Length",
    "NoPlaceholder",
    "Not",
    "NotRefusal",
    "Number",
    "OneOf",
    "PairwiseJudge",
    "Platt",
    "PythonSyntax",
    "Regex",
    "SelfConfidence",
    "Sql",
    "ToolCalls",
    "at_least",
    "brier_score",
    "calibrated",
    "calibration_error",
    "find_verifier",
    "fit_calibrator",
    "fit_learned",
    "make",
    "same_result",
    "settled",
    "verifier",
    "verifier_names",
    "weighted",
    "when",
    "within",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import cascade_verifiers

    found: object = getattr(cascade_verifiers, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
