"""Evaluating models and policies on a recording, against thresholds written down beforehand."""

from cascade_policies.evaluating.candidates import Candidate, compete
from cascade_policies.evaluating.evaluation import Evaluation, evaluate, worst
from cascade_policies.evaluating.intervals import Interval, interval
from cascade_policies.evaluating.runs import Run, ThresholdsChangedError, last_run, runs_path

__all__ = [
    "Candidate",
    "Evaluation",
    "Interval",
    "Run",
    "ThresholdsChangedError",
    "compete",
    "evaluate",
    "interval",
    "last_run",
    "runs_path",
    "worst",
]
