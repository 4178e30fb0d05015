"""Policy and project files, routers, budgets, the ledger, evidence, the command line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade_policies.budget.ledger_budget import LedgerBudget
    from cascade_policies.budget.settings import BudgetSettings, Step, TaskBudget
    from cascade_policies.data_lines import DataFileError
    from cascade_policies.drift.ledger_watch import LedgerDriftWatch
    from cascade_policies.drift.watch import DriftWatch
    from cascade_policies.evaluating.evaluation import Evaluation, evaluate
    from cascade_policies.evaluating.runs import ThresholdsChangedError
    from cascade_policies.file import PolicyFile, load_policy, load_policy_file
    from cascade_policies.golden.golden_set import GoldenRow, GoldenSet
    from cascade_policies.golden.registry import make_scorer, scorer, scorer_names
    from cascade_policies.golden.scorer import GateSeesReferenceError, Score, Scorer, ScorerError
    from cascade_policies.ledger.latencies import load_latencies, save_latencies
    from cascade_policies.ledger.writer import SqliteLedger
    from cascade_policies.otel.observer import OpenTelemetry
    from cascade_policies.project import (
        Project,
        Task,
        current_project,
        find_project,
        load_project,
        project_settings,
        reload_project,
    )
    from cascade_policies.project.tasks import Thresholds
    from cascade_policies.recordings.recording import Recording
    from cascade_policies.replaying.loading import table_of
    from cascade_policies.replaying.plans import PolicyReplay
    from cascade_policies.replaying.summary import summarise
    from cascade_policies.replaying.table import Table
    from cascade_policies.report.metrics import Metrics
    from cascade_policies.routers import (
        Heuristic,
        Learned,
        Llm,
        find_router,
        fit_router,
        make_router,
        router,
        router_names,
    )
    from cascade_policies.search import find_policy, find_policy_file, policy_names
    from cascade_policies.shadow.assigning import Split, assign, keyed
    from cascade_policies.shadow.canary import Canary
    from cascade_policies.shadow.certified import Certified
    from cascade_policies.shadow.comparing import checked_by
    from cascade_policies.shadow.keeping import kept
    from cascade_policies.shadow.shadow import Shadow
    from cascade_policies.tuning.goal import Goal, LatencyLimit
    from cascade_policies.tuning.search import tune

__all__ = [
    "BudgetSettings",
    "Canary",
    "Certified",
    "DataFileError",
    "DriftWatch",
    "Evaluation",
    "GateSeesReferenceError",
    "Goal",
    "GoldenRow",
    "GoldenSet",
    "Heuristic",
    "LatencyLimit",
    "Learned",
    "LedgerBudget",
    "LedgerDriftWatch",
    "Llm",
    "Metrics",
    "OpenTelemetry",
    "PolicyFile",
    "PolicyReplay",
    "Project",
    "Recording",
    "Score",
    "Scorer",
    "ScorerError",
    "Shadow",
    "Split",
    "SqliteLedger",
    "Step",
    "Table",
    "Task",
    "TaskBudget",
    "Thresholds",
    "ThresholdsChangedError",
    "assign",
    "checked_by",
    "current_project",
    "evaluate",
    "find_policy",
    "find_policy_file",
    "find_project",
    "find_router",
    "fit_router",
    "kept",
    "keyed",
    "load_latencies",
    "load_policy",
    "load_policy_file",
    "load_project",
    "make_router",
    "make_scorer",
    "policy_names",
    "project_settings",
    "reload_project",
    "router",
    "router_names",
    "save_latencies",
    "scorer",
    "scorer_names",
    "summarise",
    "table_of",
    "tune",
]

_HOME = {
    "BudgetSettings": "budget.settings",
    "Canary": "shadow.canary",
    "Certified": "shadow.certified",
    "DataFileError": "data_lines",
    "DriftWatch": "drift.watch",
    "Evaluation": "evaluating.evaluation",
    "GateSeesReferenceError": "golden.scorer",
    "Goal": "tuning.goal",
    "GoldenRow": "golden.golden_set",
    "GoldenSet": "golden.golden_set",
    "Heuristic": "routers",
    "LatencyLimit": "tuning.goal",
    "Learned": "routers",
    "LedgerBudget": "budget.ledger_budget",
    "LedgerDriftWatch": "drift.ledger_watch",
    "Llm": "routers",
    "Metrics": "report.metrics",
    "OpenTelemetry": "otel.observer",
    "PolicyFile": "file",
    "PolicyReplay": "replaying.plans",
    "Project": "project",
    "Recording": "recordings.recording",
    "Score": "golden.scorer",
    "Scorer": "golden.scorer",
    "ScorerError": "golden.scorer",
    "Shadow": "shadow.shadow",
    "Split": "shadow.assigning",
    "SqliteLedger": "ledger.writer",
    "Step": "budget.settings",
    "Table": "replaying.table",
    "Task": "project",
    "TaskBudget": "budget.settings",
    "Thresholds": "project.tasks",
    "ThresholdsChangedError": "evaluating.runs",
    "assign": "shadow.assigning",
    "checked_by": "shadow.comparing",
    "current_project": "project",
    "evaluate": "evaluating.evaluation",
    "find_policy": "search",
    "find_policy_file": "search",
    "find_project": "project",
    "find_router": "routers",
    "fit_router": "routers",
    "kept": "shadow.keeping",
    "keyed": "shadow.assigning",
    "load_latencies": "ledger.latencies",
    "load_policy": "file",
    "load_policy_file": "file",
    "load_project": "project",
    "make_router": "routers",
    "make_scorer": "golden.registry",
    "policy_names": "search",
    "project_settings": "project",
    "reload_project": "project",
    "router": "routers",
    "router_names": "routers",
    "save_latencies": "ledger.latencies",
    "scorer": "golden.registry",
    "scorer_names": "golden.registry",
    "summarise": "replaying.summary",
    "table_of": "replaying.loading",
    "tune": "tuning.search",
}


def __getattr__(name: str) -> Any:
    # On demand, so that `cascade --version` reads no policy code.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
