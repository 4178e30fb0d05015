"""Golden sets, and scorers: what says how good an answer is, knowing the right one."""

from cascade_policies.golden.golden_set import GoldenRow, GoldenSet
from cascade_policies.golden.independence import check_independent
from cascade_policies.golden.registry import as_scorer, make_scorer, scorer, scorer_names
from cascade_policies.golden.scorer import GateSeesReferenceError, Score, Scorer, ScorerError

__all__ = [
    "GateSeesReferenceError",
    "GoldenRow",
    "GoldenSet",
    "Score",
    "Scorer",
    "ScorerError",
    "as_scorer",
    "check_independent",
    "make_scorer",
    "scorer",
    "scorer_names",
]
