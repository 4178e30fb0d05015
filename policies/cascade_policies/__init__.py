"""Policy and project files, routers, budgets, the ledger, ready policies, the command line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade_policies.budget.ledger_budget import LedgerBudget
    from cascade_policies.budget.settings import BudgetSettings, Step, TaskBudget
    from cascade_policies.drift.ledger_watch import LedgerDriftWatch
    from cascade_policies.drift.watch import DriftWatch
    from cascade_policies.file import PolicyFile, load_policy, load_policy_file
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

__all__ = [
    "BudgetSettings",
    "DriftWatch",
    "Heuristic",
    "Learned",
    "LedgerBudget",
    "LedgerDriftWatch",
    "Llm",
    "Metrics",
    "OpenTelemetry",
    "PolicyFile",
    "Project",
    "SqliteLedger",
    "Step",
    "Task",
    "TaskBudget",
    "current_project",
    "find_policy",
    "find_policy_file",
    "find_project",
    "find_router",
    "fit_router",
    "load_latencies",
    "load_policy",
    "load_policy_file",
    "load_project",
    "make_router",
    "policy_names",
    "project_settings",
    "reload_project",
    "router",
    "router_names",
    "save_latencies",
]

_HOME = {
    "BudgetSettings": "budget.settings",
    "DriftWatch": "drift.watch",
    "Heuristic": "routers",
    "Learned": "routers",
    "LedgerBudget": "budget.ledger_budget",
    "LedgerDriftWatch": "drift.ledger_watch",
    "Llm": "routers",
    "Metrics": "report.metrics",
    "OpenTelemetry": "otel.observer",
    "PolicyFile": "file",
    "Project": "project",
    "SqliteLedger": "ledger.writer",
    "Step": "budget.settings",
    "Task": "project",
    "TaskBudget": "budget.settings",
    "current_project": "project",
    "find_policy": "search",
    "find_policy_file": "search",
    "find_project": "project",
    "find_router": "routers",
    "fit_router": "routers",
    "load_latencies": "ledger.latencies",
    "load_policy": "file",
    "load_policy_file": "file",
    "load_project": "project",
    "make_router": "routers",
    "policy_names": "search",
    "project_settings": "project",
    "reload_project": "project",
    "router": "routers",
    "router_names": "routers",
    "save_latencies": "ledger.latencies",
}


def __getattr__(name: str) -> Any:
    # On demand, so that `cascade --version` reads no policy code.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
