"""``cascade check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cascade.errors import ConfigError
from cascade_policies.commands.errors import ACCEPTED, exit_code, message
from cascade_policies.commands.output import complain, write_error
from cascade_policies.search import is_path


def check(
    policy: str | None = None,
    /,
    *,
    json: bool = False,
    sets: Annotated[list[str] | None, Parameter(name="--set")] = None,
) -> int:
    """Read a policy or a project strictly and show what was understood. No model is called.

    Parameters
    ----------
    policy
        A policy file, the name of a policy or a task, or a cascade.toml; by default the
        project around the working directory.
    json
        Write one JSON object instead of tables.
    sets
        Change it first: KEY=VALUE, like deadline=5 or tiers.small.timeout=5.
    """
    project = _project(policy)
    if project is not None:
        from cascade_policies.commands.check_project import check_project

        return check_project(project, json=json, overrides=sets or ())
    assert policy is not None
    return _check_policy(policy, json=json, sets=sets or [])


def _project(reference: str | None) -> Path | None:
    """The project file that is meant, if one is."""
    from cascade_policies.document import read_document
    from cascade_policies.project import find_project
    from cascade_policies.project.shape import ProjectTable

    if reference is None:
        found = find_project()
        if found is None:
            raise ConfigError(
                "no cascade.toml here or above: give a policy, or the path of a cascade.toml"
            )
        return found
    path = Path(reference).expanduser()
    if not is_path(reference) or not path.is_file():
        return None
    if path.name == "cascade.toml":
        return path
    keys = read_document(path).data.keys()
    return path if keys and keys <= set(ProjectTable.__struct_fields__) else None


def _check_policy(policy: str, *, json: bool, sets: list[str]) -> int:
    from cascade_policies.commands.check_policy import (
        one_line,
        policy_shape,
        problem_of,
        show_policy,
    )
    from cascade_policies.commands.downloads import downloads
    from cascade_policies.project.prices import cheaper_later
    from cascade_policies.search import find_policy_file

    found = find_policy_file(policy, overrides=sets)
    missing = downloads(found.policy)
    problem = problem_of(found.policy, missing)
    tiers = found.policy.tiers
    warnings = [
        f"{found.path}: tier {tiers[at].name!r} {what}" for at, what in cheaper_later(found.policy)
    ]
    if json:
        from cascade_policies.commands.shape import error_shape, write_json

        shape = policy_shape(found)
        shape["downloads"] = [{"name": it.name, "bytes": it.size} for it in missing]
        shape["warnings"] = warnings
        shape["error"] = None
        if problem is not None:
            shape["error"] = error_shape(problem, message(problem))["error"]
        write_json(shape)
    else:
        show_policy(found, () if problem is not None else missing)
        for warning in warnings:
            write_error(f"warning: {one_line(warning)}\n")
        if problem is not None:
            complain(message(problem))
    return ACCEPTED if problem is None else exit_code(problem)
