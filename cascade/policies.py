"""Policies in files, routers, budgets, the ledger: the public face of ``cascade_policies``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade_policies import (
        BudgetSettings,
        DriftWatch,
        Heuristic,
        Learned,
        LedgerBudget,
        LedgerDriftWatch,
        Llm,
        Metrics,
        OpenTelemetry,
        PolicyFile,
        Project,
        SqliteLedger,
        Step,
        Task,
        TaskBudget,
        current_project,
        find_policy,
        find_policy_file,
        find_project,
        find_router,
        fit_router,
        load_latencies,
        load_policy,
        load_policy_file,
        load_project,
        make_router,
        policy_names,
        project_settings,
        reload_project,
        router,
        router_names,
        save_latencies,
    )

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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import cascade_policies

    return getattr(cascade_policies, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
