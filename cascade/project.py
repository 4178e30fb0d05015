"""A project, as an engine sees it: where names lead, and what all its calls share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from cascade.errors import ConfigError
from cascade.plugins import entry_points_of
from cascade.policy import Policy
from cascade.routing import Entry

ENTRY_POINTS = "cascade.projects"


class ProjectSource(Protocol):
    """Reads a project file. One that is installed comes in by the entry points of the group
    ``cascade.projects``: a function of the file's path, or of None for the project around the
    working directory, which returns a source, or None where there is no project."""

    def settings(self) -> Mapping[str, Any]:
        """``budget`` and ``observers`` for the engine, where the project says something of them:
        the same objects as long as it says the same."""
        ...

    def find(self, reference: str | Path, /) -> Policy | Entry:
        """The policy, or the router over policies, that a name or a path means.

        Raises:
            UnknownPolicyError, PolicyFileError: there is none, or it has a mistake.
        """
        ...

    def reload(self) -> None:
        """Read the project's files again.

        Raises:
            PolicyFileError: they have a mistake; what was read before stays.
        """
        ...


def open_project(path: str | Path | None) -> ProjectSource | None:
    """The project at a path; for None the one around the working directory, if there is one.

    Raises:
        ConfigError: it cannot be read, or nothing is installed that reads projects.
    """
    for point in entry_points_of(ENTRY_POINTS).values():
        source: ProjectSource | None = point.load()(path)
        return source
    if path is None:
        return None
    raise ConfigError(f"project {str(path)!r}: nothing is installed that reads projects")
