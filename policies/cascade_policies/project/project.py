"""`load_project`: ``cascade.toml`` in, `Project` out, and every mistake with file, line and key."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import UNSET

from cascade.errors import ConfigError, PolicyFileError, nearest
from cascade.policy import DEFAULT_TIMEOUT, Policy
from cascade.routing import Entry
from cascade_policies.budget.settings import BudgetSettings, faults
from cascade_policies.building import PolicyFile
from cascade_policies.document import Document, read_document, show_value
from cascade_policies.overrides import apply_overrides
from cascade_policies.pointing import made_at
from cascade_policies.project.doubts import idle_limits, unused_models
from cascade_policies.project.models import Model, Models, read_models
from cascade_policies.project.prices import check_budgeted, check_budgeted_models
from cascade_policies.project.shape import EntryTable, LedgerTable, ProjectTable, read_project
from cascade_policies.project.tasks import Task, TaskReader, override_task
from cascade_policies.router_table import router_of
from cascade_policies.tables import given


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a task has that says nothing else.

    Attributes:
        model: the name or the ``provider:model`` of its model, or None.
    """

    model: str | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """What a project file says.

    Attributes:
        path: where the file is.
        models: by name.
        tasks: by name.
        entries: routers over tasks, by name.
        policies: what may be given to `cascade` by name: the tasks' policies, and the entries.
        budget: what may be spent, or None.
        ledger: the arguments of the `SqliteLedger`, or None without one.
        defaults: what a task has that says nothing else.
        warnings: what is no mistake, but hardly meant; each with file, line and key.
        files: every file that was read; a change in one of them makes the project stale.
    """

    path: Path
    models: Mapping[str, Model]
    tasks: Mapping[str, Task]
    entries: Mapping[str, Entry]
    policies: Mapping[str, Policy | Entry]
    budget: BudgetSettings | None
    ledger: Mapping[str, Any] | None
    defaults: Defaults
    warnings: tuple[str, ...]
    files: tuple[Path, ...]
    _overridden: dict[tuple[str, str], Policy] = field(default_factory=dict, repr=False)

    @property
    def ledger_path(self) -> Path:
        """Where calls and what they cost are kept: ``[ledger] path``, else ``CASCADE_LEDGER``, else
        ``.cascade/ledger.db`` beside the project file."""
        from cascade_policies.ledger.database import VARIABLE

        path = (self.ledger or {}).get("path") or os.environ.get(VARIABLE)
        return Path(path) if path else self.path.parent / ".cascade" / "ledger.db"

    def with_model(self, task: str, model: str, *, by: str | None = None) -> Policy:
        """The task's policy answered by one model of the project, checked as its last tier is.

        Args:
            task: its name.
            model: the name of a ``[models.NAME]`` table.
            by: who asks for it, as named in the task's ``override``.

        Raises:
            ConfigError: no such task or model, or ``by`` may not override the task's model.
        """
        if task not in self.tasks:
            raise ConfigError(f"no task {task!r}: {nearest(task, self.tasks)}")
        if model not in self.models:
            raise ConfigError(f"no model {model!r}: {nearest(model, self.models)}", policy=task)
        if not self.tasks[task].may_override(by):
            who = "nobody may" if self.tasks[task].override == "none" else f"by={by!r} may not"
            message = f"{who} override its model: see 'override' of [tasks.{task}]"
            raise ConfigError(message, policy=task)
        key = (task, model)
        if key not in self._overridden:
            self._overridden[key] = self._with_model(self.tasks[task].policy, self.models[model])
        return self._overridden[key]

    def _with_model(self, policy: Policy, model: Model) -> Policy:
        last, settings = policy.tiers[-1], model.settings
        stand_ins = settings.get("fallbacks", ())
        tier = replace(
            last,
            model=model.spec,
            name=model.name,
            params={**settings.get("params", {}), **last.params},
            timeout=settings.get("timeout", DEFAULT_TIMEOUT),
            fallbacks=[self.models[n].spec if n in self.models else n for n in stand_ins],
            base_url=None,
            api_key=None,
            price=None,
            cancel_stops_billing=None,
        )
        return Policy(
            policy.name, [tier], deadline=policy.deadline, exhausted=policy.exhausted,
            priority=policy.priority,
        )  # fmt: skip


def load_project(path: str | Path, *, overrides: Sequence[str] = ()) -> Project:
    """The project in the file at ``path``.

    Args:
        path: a ``cascade.toml``; docs/project-file.md has every key.
        overrides: changes made before the file is read strictly, like
            ``"models.small.timeout=5"``.

    Raises:
        PolicyFileError: the file, or one that it refers to, cannot be read or has a mistake; it
            names file, line and key.
    """
    return read(Path(path), [], overrides)


def read(path: Path, files: list[Path], overrides: Sequence[str] = ()) -> Project:
    """As `load_project`; ``files`` gets every file that is read, also when one has a mistake."""
    document = read_document(path, files)
    apply_overrides(document, overrides)
    try:
        return project_of(document, path)
    except RecursionError:
        raise PolicyFileError("nested too deeply", file=document.file) from None


def read_task(path: Path, name: str, overrides: Sequence[str]) -> PolicyFile:
    """The policy of one task with changes of its own, as ``--set`` makes them.

    Raises:
        PolicyFileError: as `load_project`.
    """
    document = read_document(path)
    rest = override_task(document, name, overrides)
    table = read_project(document)
    models = _models(document, table)
    reader = TaskReader(document, models, budgeted=table.budget is not UNSET)
    return reader.read(name, table.tasks[name], rest).file


def _models(document: Document, table: ProjectTable) -> Models:
    models = read_models(document, table.models)
    if table.defaults.model is not UNSET:
        default = table.defaults.model
        models.find(document, ("defaults", "model"), default)
        models.default = default
    if table.budget is not UNSET:
        check_budgeted_models(document, models)
    return models


def project_of(document: Document, path: Path) -> Project:
    """The project that a parsed document describes.

    Raises:
        PolicyFileError: it describes none.
    """
    table = read_project(document)
    models = _models(document, table)
    budgeted = table.budget is not UNSET
    reader = TaskReader(document, models, budgeted=budgeted)
    tasks = {name: reader.read(name, task) for name, task in table.tasks.items()}
    entries = {
        name: _entry(document, name, entry, tasks, models) for name, entry in table.routers.items()
    }
    if budgeted:
        for name, entry in entries.items():
            check_budgeted(document, ("routers", name, "router"), entry.router)
    budget = _budget(document, table, tasks)
    warnings = [*reader.warnings, *unused_models(document, models)]
    warnings += [] if budget is None else idle_limits(document, budget)
    return Project(
        path=path,
        models=models,
        tasks=tasks,
        entries=entries,
        policies={**{name: task.policy for name, task in tasks.items()}, **entries},
        budget=budget,
        ledger=_ledger(document, table),
        defaults=Defaults(models.default),
        warnings=tuple(warnings),
        files=tuple(dict.fromkeys(document.files)),
    )


def _entry(
    document: Document, name: str, table: EntryTable, tasks: Mapping[str, Task], models: Models
) -> Entry:
    path = ("routers", name)
    if not name or "/" in name or name.endswith(".toml"):
        message = "its name has no '/' in it and does not end in '.toml', as a path does"
        raise document.error(path, message)
    if name in tasks:
        raise document.error(path, f"{name!r} is the name of a task: choose another")
    for index, task in enumerate(table.tasks):
        at = (*path, "tasks", index)
        if task not in tasks:
            raise document.error(at, f"no task {task!r}: {nearest(task, tasks)}")
        if task in table.tasks[:index]:
            raise document.error(at, f"{task!r} is there already")
    if len(table.tasks) < 2:
        raise document.error((*path, "tasks"), "needs two tasks or more to choose from")
    place = (*path, "router")
    specs = partial(models.spec, document)
    router = router_of(document, place, table.router, table.tasks, specs)
    policies = {task: tasks[task].policy for task in table.tasks}
    return made_at(document, place, Entry, name, router, policies)


def _budget(
    document: Document, table: ProjectTable, tasks: Mapping[str, Task]
) -> BudgetSettings | None:
    if table.budget is UNSET:
        return None
    for path, message in faults(table.budget, tasks):
        raise document.error(("budget", *path), message)
    return table.budget


def _ledger(document: Document, table: ProjectTable) -> Mapping[str, Any] | None:
    if not isinstance(table.ledger, LedgerTable):
        return None
    from cascade_policies.ledger.writer import SqliteLedger
    from cascade_verifiers.making import import_object

    values = given(table.ledger)
    if "path" in values:
        if not values["path"] or "\0" in values["path"]:
            raise document.error(("ledger", "path"), "needs the path of a database")
        values["path"] = document.folder / Path(values["path"]).expanduser()
        if fault := _no_database(values["path"]):
            raise document.error(("ledger", "path"), fault)
    if "redact" in values:
        place = ("ledger", "redact")
        if not all(values["redact"].partition(":")):
            message = f'got {show_value(values["redact"])}: needs "package.module:function"'
            raise document.error(place, message)
        values["redact"] = made_at(document, place, import_object, values["redact"])
        if not callable(values["redact"]):
            raise document.error(place, "is no function")
    made_at(document, ("ledger",), SqliteLedger, **{"path": document.folder, **values})
    return values


def _no_database(path: Path) -> str | None:
    """Why no ledger can be at ``path``; None where one is, or may be made."""
    try:
        if not path.exists():
            return None
        if not path.is_file():
            return f"{str(path)!r} is no file: give the path of a database"
        with path.open("rb") as file:
            begins = file.read(len(_SQLITE))
    except OSError as error:
        return f"cannot read {str(path)!r}: {error.strerror}"
    if begins and begins != _SQLITE:
        return f"{str(path)!r} is a file of another kind: give the path of a database"
    return None


_SQLITE = b"SQLite format 3\0"
"""What a database begins with; an empty file is one too. See https://sqlite.org/fileformat.html."""
