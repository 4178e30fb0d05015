"""The verifiers that come with cascade, and what it takes to write more.

Nothing here is loaded before it is used: sqlglot and jsonschema take longer to import than the
whole engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cascade_verifiers.agreement import Agreement as Agreement
    from cascade_verifiers.algebra import All as All
    from cascade_verifiers.algebra import Any as Any
    from cascade_verifiers.algebra import Composable as Composable
    from cascade_verifiers.algebra import Not as Not
    from cascade_verifiers.algebra import at_least as at_least
    from cascade_verifiers.applying import when as when
    from cascade_verifiers.calibrating import brier_score as brier_score
    from cascade_verifiers.calibrating import calibrated as calibrated
    from cascade_verifiers.calibrating import calibration_error as calibration_error
    from cascade_verifiers.calibration import Calibrator as Calibrator
    from cascade_verifiers.calibration import Isotonic as Isotonic
    from cascade_verifiers.calibration import Platt as Platt
    from cascade_verifiers.calibration import fit_calibrator as fit_calibrator
    from cascade_verifiers.command import Command as Command
    from cascade_verifiers.finished import Finished as Finished
    from cascade_verifiers.grounded import Grounded as Grounded
    from cascade_verifiers.http import Http as Http
    from cascade_verifiers.json_schema import JsonSchema as JsonSchema
    from cascade_verifiers.judge import Judge as Judge
    from cascade_verifiers.language import Language as Language
    from cascade_verifiers.learned import Learned as Learned
    from cascade_verifiers.learned import fit_learned as fit_learned
    from cascade_verifiers.length import Length as Length
    from cascade_verifiers.limiting import within as within
    from cascade_verifiers.no_placeholder import NoPlaceholder as NoPlaceholder
    from cascade_verifiers.not_refusal import NotRefusal as NotRefusal
    from cascade_verifiers.number import Number as Number
    from cascade_verifiers.one_of import OneOf as OneOf
    from cascade_verifiers.pairwise_judge import PairwiseJudge as PairwiseJudge
    from cascade_verifiers.python_syntax import PythonSyntax as PythonSyntax
    from cascade_verifiers.regex import Regex as Regex
    from cascade_verifiers.registry import find_verifier as find_verifier
    from cascade_verifiers.registry import make as make
    from cascade_verifiers.registry import verifier as verifier
    from cascade_verifiers.registry import verifier_names as verifier_names
    from cascade_verifiers.self_confidence import SelfConfidence as SelfConfidence
    from cascade_verifiers.sql import Sql as Sql
    from cascade_verifiers.sql_catalogue import Catalogue as Catalogue
    from cascade_verifiers.sql_results import same_result as same_result
    from cascade_verifiers.tool_calls import ToolCalls as ToolCalls
    from cascade_verifiers.voting import settled as settled
    from cascade_verifiers.weighting import weighted as weighted

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

_HOME = {
    "Agreement": "agreement",
    "All": "algebra",
    "Any": "algebra",
    "Calibrator": "calibration",
    "Catalogue": "sql_catalogue",
    "Command": "command",
    "Composable": "algebra",
    "Finished": "finished",
    "Grounded": "grounded",
    "Http": "http",
    "Isotonic": "calibration",
    "JsonSchema": "json_schema",
    "Judge": "judge",
    "Language": "language",
    "Learned": "learned",
    "Length": "length",
    "NoPlaceholder": "no_placeholder",
    "Not": "algebra",
    "NotRefusal": "not_refusal",
    "Number": "number",
    "OneOf": "one_of",
    "PairwiseJudge": "pairwise_judge",
    "Platt": "calibration",
    "PythonSyntax": "python_syntax",
    "Regex": "regex",
    "SelfConfidence": "self_confidence",
    "Sql": "sql",
    "ToolCalls": "tool_calls",
    "at_least": "algebra",
    "brier_score": "calibrating",
    "calibrated": "calibrating",
    "calibration_error": "calibrating",
    "find_verifier": "registry",
    "fit_calibrator": "calibration",
    "fit_learned": "learned",
    "make": "registry",
    "same_result": "sql_results",
    "settled": "voting",
    "verifier": "registry",
    "verifier_names": "registry",
    "weighted": "weighting",
    "when": "applying",
    "within": "limiting",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
