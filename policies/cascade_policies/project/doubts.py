"""What is no mistake in a project, but hardly meant: its warnings."""

from __future__ import annotations

from collections.abc import Iterator

from cascade_policies.budget.settings import BudgetSettings, Limits
from cascade_policies.document import Document
from cascade_policies.lines import KeyPath
from cascade_policies.project.models import Models


def unused_models(document: Document, models: Models) -> Iterator[str]:
    """A model that nothing names."""
    for name in models:
        if name not in models.used:
            yield str(document.error(("models", name), "no task uses it"))


def idle_limits(document: Document, budget: BudgetSettings) -> Iterator[str]:
    """A limit that another one, of more, keeps from ever being reached."""
    every = _limits(budget)
    tables: list[tuple[KeyPath, Limits]] = [(("budget",), budget)]
    tables += [(("budget", "tasks", name), task) for name, task in budget.tasks.items()]
    for path, table in tables:
        own = _limits(table)
        for kind, limit in own.items():
            whole = every.get(kind, limit)
            if limit > whole:
                message = f"{limit:g} does nothing: all tasks together have {whole:g}"
                yield str(document.error((*path, kind), message))
        call = own.get("per_call")
        windows = [(limit, kind) for kind, limit in {**every, **own}.items() if kind != "per_call"]
        if call is not None and windows and call > (least := min(windows))[0]:
            message = f"{call:g} does nothing: the limit of the {least[1]} is {least[0]:g}"
            yield str(document.error((*path, "per_call"), message))


def _limits(limits: Limits) -> dict[str, float]:
    found: dict[str, float] = {str(kind): limit for kind, limit in limits.windows().items()}
    if limits.per_call is not None:
        found["per_call"] = limits.per_call
    return found
