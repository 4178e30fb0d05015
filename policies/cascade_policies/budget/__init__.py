"""Budgets: what may be spent by call, task and window, kept across processes and restarts."""

from cascade_policies.budget.ledger_budget import LedgerBudget
from cascade_policies.budget.settings import BudgetSettings, Limits, Step, TaskBudget

__all__ = ["BudgetSettings", "LedgerBudget", "Limits", "Step", "TaskBudget"]
