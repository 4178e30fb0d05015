"""A project as engines see it: what they share, and where names lead."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.policy import Policy
from cascade.routing import Entry
from cascade_policies.project.current import Following, around

if TYPE_CHECKING:
    from cascade_policies.project.project import Project

_lock = threading.Lock()
_made: dict[Path, tuple[Any, dict[str, Any]]] = {}
"""For each project what its settings were made of, and they themselves."""


class FollowedProject:
    """A `cascade.project.ProjectSource` that follows the changes of a project's files."""

    def __init__(self, following: Following) -> None:
        self._following = following

    def settings(self) -> Mapping[str, Any]:
        """As `project_settings`."""
        project = self._following.current()
        return {} if project is None else _settings_of(project)

    def find(self, reference: str | Path, /) -> Policy | Entry:
        """The project's task or router of that name; else a policy file.

        Raises:
            UnknownPolicyError: there is none.
            PolicyFileError: it has a mistake.
        """
        from cascade_policies.search import find, is_path

        project = self._following.current()
        if project is not None and isinstance(reference, str) and not is_path(reference):
            policy = project.policies.get(reference)
            if policy is not None:
                return policy
        return find(reference)

    def reload(self) -> None:
        """Read the files now.

        Raises:
            PolicyFileError: they have a mistake; the version before stays.
        """
        self._following.reload()


def open_project(path: str | Path | None) -> FollowedProject | None:
    """The project in that file; for None the one around the working directory, if there is one.

    Raises:
        PolicyFileError: it has a mistake.
        ConfigError: ``CASCADE_CONFIG`` names no file.
    """
    following = around if path is None else Following(Path(path).expanduser().absolute())
    return None if following.current() is None else FollowedProject(following)


def project_settings() -> dict[str, Any]:
    """Arguments for `cascade.Engine`, as the project has them; empty without a project.

    ``observers`` holds a `SqliteLedger` and a `LedgerDriftWatch` when the project has a
    ``[ledger]``, and ``budget`` is there when it has a ``[budget]``. All serve any number of
    engines: they are the same objects until the project says something else.

    Raises:
        PolicyFileError: the project has a mistake, and there is no version before it.
        ConfigError: the ledger's database cannot be used.
    """
    return dict(FollowedProject(around).settings())


def _settings_of(project: Project) -> dict[str, Any]:
    wanted = (project.ledger, project.budget, project.ledger_path)
    with _lock:
        kept = _made.get(project.path)
        if kept is None or kept[0] != wanted:
            kept = _made[project.path] = wanted, _make(project)
        return kept[1]


def _make(project: Project) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if project.ledger is not None:
        from cascade_policies.drift import LedgerDriftWatch
        from cascade_policies.ledger.writer import SqliteLedger

        ledger = SqliteLedger(**{**project.ledger, "path": project.ledger_path})
        settings["observers"] = [ledger, LedgerDriftWatch(project.ledger_path)]
    if project.budget is not None:
        from cascade_policies.budget.ledger_budget import LedgerBudget

        settings["budget"] = LedgerBudget(project.budget, path=project.ledger_path)
    return settings
