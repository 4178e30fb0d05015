"""What ``cascade check`` makes of a project file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.cost import Price
from cascade.errors import CascadeError
from cascade.policy import Model, Policy, Tier
from cascade.routing import Entry, Route
from cascade.types import Request
from cascade_policies.commands.check_policy import grid, one_line, policy_shape, problem_of
from cascade_policies.commands.downloads import downloads, megabytes
from cascade_policies.commands.errors import ACCEPTED, exit_code, message
from cascade_policies.commands.output import complain, show, write_error
from cascade_policies.project.models import Model as ProjectModel
from cascade_policies.project.project import Project, load_project
from cascade_policies.project.tasks import Task


def check_project(path: Path, *, json: bool, overrides: Sequence[str]) -> int:
    """Show what a project file says and what keeps it from running here; the exit code."""
    project = load_project(path, overrides=overrides)
    policies = {name: task.policy for name, task in project.tasks.items()}
    policies |= {name: _asking(entry) for name, entry in project.entries.items()}
    missing = {name: downloads(policy) for name, policy in policies.items()}
    found = {name: problem_of(policy, missing[name]) for name, policy in policies.items()}
    problems = {name: problem for name, problem in found.items() if problem is not None}
    weights = {it.name: it for absent in missing.values() for it in absent}
    if json:
        from cascade_policies.commands.shape import write_json

        shape = _shape(project, problems)
        shape["downloads"] = [{"name": it.name, "bytes": it.size} for it in weights.values()]
        write_json(shape)
    else:
        _show(project)
        if not problems:
            show(*(f"will be downloaded: {it.name}, {megabytes(it)}" for it in weights.values()))
        for warning in project.warnings:
            write_error(f"warning: {one_line(warning)}\n")
        for problem in problems.values():
            complain(message(problem))
    return max(map(exit_code, problems.values()), default=ACCEPTED)


@dataclass(frozen=True)
class _Asks:
    """Calls the same models as the router of an entry, and fits any tiers."""

    models: Sequence[Model]

    def route(self, request: Request, choices: Sequence[str], /) -> Route:
        """Is never asked."""
        raise NotImplementedError


def _asking(entry: Entry) -> Policy:
    """A policy that can run here if the entry's router can."""
    models = getattr(entry.router, "models", ())
    tiers = [Tier(lambda prompt: prompt, name=name) for name in ("one", "other")]
    return Policy(entry.name, tiers, router=_Asks(models))


def _show(project: Project) -> None:
    from rich.text import Text

    parts: list[Any] = [f"project  {project.path}"]
    for title, rows in (
        ("models", [(name, _model(model)) for name, model in project.models.items()]),
        ("tasks", [(name, _task(task)) for name, task in project.tasks.items()]),
        ("routers", [(name, _choices(project, name)) for name in project.entries]),
        ("rest", list(_rest(project))),
    ):
        if rows:
            parts += [Text(f"\n{title}", style="bold"), grid(rows)]
    show(*parts)


def _model(model: ProjectModel) -> str:
    parts = [model.model, _price(model.price)]
    window = model.spec.context_window
    parts += [] if window is None else [f"{window:,} tokens"]
    return "; ".join([*parts, *model.strengths])


def _price(price: Price | None) -> str:
    if price is None:
        return "no price"
    return f"${price.input:g} and ${price.output:g} a million tokens in and out"


def _task(task: Task) -> str:
    parts = [" > ".join(tier.name for tier in task.policy.tiers)]
    if task.policy.priority != "normal":
        parts.append(task.policy.priority)
    if task.override != "any":
        who = task.override if isinstance(task.override, str) else ", ".join(task.override)
        parts.append(f"model overridden by: {who}")
    return "; ".join([*parts, task.file.description] if task.file.description else parts)


def _choices(project: Project, name: str) -> str:
    return f"{project.entries[name].router!r}: {', '.join(project.entries[name].policies)}"


def _rest(project: Project) -> Iterator[tuple[str, str]]:
    if project.budget is not None:
        shown = [f"${limit:g} {kind}" for kind, limit in project.budget.windows().items()]
        if project.budget.per_call is not None:
            shown.insert(0, f"${project.budget.per_call:g} per call")
        yield "budget", ", ".join(shown) or "for single tasks"
    if project.ledger is not None:
        yield "ledger", str(project.ledger_path)
    if project.defaults.model is not None:
        yield "default model", project.defaults.model


def _shape(project: Project, problems: dict[str, CascadeError]) -> dict[str, Any]:
    from cascade_policies.commands.shape import error_shape

    errors = {name: error_shape(it, message(it))["error"] for name, it in problems.items()}
    return {
        "project": str(project.path),
        "models": [
            {
                "name": model.name,
                "model": model.model,
                "price": model.price,
                "context_window": model.spec.context_window,
                "limits": model.spec.limits,
                "strengths": model.strengths,
            }
            for model in project.models.values()
        ],
        "tasks": [
            {
                **policy_shape(task.file),
                "golden": None if task.golden is None else str(task.golden),
                "thresholds": task.thresholds,
                "override": task.override,
                "error": errors.get(name),
            }
            for name, task in project.tasks.items()
        ],
        "routers": [
            {
                "name": name,
                "router": repr(entry.router),
                "tasks": list(entry.policies),
                "error": errors.get(name),
            }
            for name, entry in project.entries.items()
        ],
        "budget": project.budget,
        "ledger": None if project.ledger is None else str(project.ledger_path),
        "defaults": project.defaults,
        "warnings": project.warnings,
        "error": next(iter(errors.values()), None),
    }
