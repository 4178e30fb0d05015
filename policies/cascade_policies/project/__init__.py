"""The project file, ``cascade.toml``: which models run which task, in one place."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade_policies.project.current import (
        current_project,
        find_project,
        reload_project,
    )
    from cascade_policies.project.models import Model
    from cascade_policies.project.project import Project, load_project
    from cascade_policies.project.settings import open_project, project_settings
    from cascade_policies.project.tasks import Task, Thresholds

_HOME = {
    "Model": "models",
    "Project": "project",
    "Task": "tasks",
    "Thresholds": "tasks",
    "current_project": "current",
    "find_project": "current",
    "load_project": "project",
    "open_project": "settings",
    "project_settings": "settings",
    "reload_project": "current",
}

__all__ = [
    "Model",
    "Project",
    "Task",
    "Thresholds",
    "current_project",
    "find_project",
    "load_project",
    "open_project",
    "project_settings",
    "reload_project",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
