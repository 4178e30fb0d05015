"""``[tasks.NAME]``: a policy each, and what is expected of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msgspec import UNSET

from cascade.errors import UnknownPolicyError
from cascade.policy import Policy
from cascade_policies.building import Builder, Built, PolicyFile
from cascade_policies.document import Document, read_document, show_value
from cascade_policies.file import read_policy
from cascade_policies.lines import KeyPath
from cascade_policies.overrides import apply_overrides
from cascade_policies.project.models import Models
from cascade_policies.project.prices import cheaper_later, check_budgeted_task, check_tier
from cascade_policies.project.shape import TaskTable
from cascade_policies.tables import PolicyKeys, TierTable

_INSTEAD = ("policy", "model", "tiers")
_BESIDE_A_POLICY = frozenset({"description", "priority"})
_THRESHOLDS = ("min_accuracy", "min_recall", "max_latency_p95", "max_cost_per_call")
_NEED_GOLDEN = ("min_accuracy", "min_recall")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a task must keep to; None where nothing is said.

    Attributes:
        min_accuracy: share of the golden set answered rightly.
        min_recall: share of the golden set's positives that are found.
        max_latency_p95: seconds within which 95% of calls end.
        max_cost_per_call: US dollars, on average.
    """

    min_accuracy: float | None = None
    min_recall: float | None = None
    max_latency_p95: float | None = None
    max_cost_per_call: float | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the project.

    Attributes:
        name: what code calls it: ``cascade("narrative", prompt)``.
        file: its policy, of that name, and what is said about it.
        golden: its golden set, or None.
        thresholds: what it must keep to.
        override: who may have it answered by a model of their choice.
    """

    name: str
    file: PolicyFile
    golden: Path | None = None
    thresholds: Thresholds = Thresholds()
    override: Literal["any", "none"] | tuple[str, ...] = "any"

    @property
    def policy(self) -> Policy:
        """What runs it."""
        return self.file.policy

    def may_override(self, by: str | None) -> bool:
        """Whether ``by`` may have it answered by a model of their choice."""
        return self.override == "any" or (self.override != "none" and by in self.override)


class TaskReader:
    """Reads the tasks of a project file.

    Args:
        document: the file.
        models: the project's models.
        budgeted: whether there is a ``[budget]``, which must know what everything costs.

    Attributes:
        warnings: what is no mistake, but hardly meant.
    """

    def __init__(self, document: Document, models: Models, *, budgeted: bool = False) -> None:
        self._document = document
        self._budgeted = budgeted
        self._models = models
        self.warnings: list[str] = []

    def read(self, name: str, table: TaskTable, overrides: Sequence[str] = ()) -> Task:
        """The task of that name; ``overrides`` change its policy, where that is a file's.

        Raises:
            PolicyFileError: it has a mistake.
        """
        path: KeyPath = ("tasks", name)
        if not name or "/" in name or name.endswith(".toml"):
            message = "a task's name has no '/' in it and does not end in '.toml', as a path does"
            raise self._document.error(path, message)
        built = self._built(name, table, overrides)
        for place, tier in zip(built.tiers, built.file.policy.tiers, strict=True):
            check_tier(built.document, place, tier, unknown=place in built.unpriced)
        if self._budgeted:
            check_budgeted_task(built, path if built.document is self._document else ())
        for index, message in cheaper_later(built.file.policy):
            self.warnings.append(str(built.document.error(built.tiers[index], message)))
        return Task(
            name=name,
            file=built.file,
            golden=self._golden(path, table),
            thresholds=self._thresholds(path, table),
            override=self._override(path, table),
        )

    def _built(self, name: str, table: TaskTable, overrides: Sequence[str]) -> Built:
        path: KeyPath = ("tasks", name)
        given = [key for key in _INSTEAD if getattr(table, key) is not UNSET]
        if len(given) > 1:
            message = f"give this or {given[0]!r}, not both"
            raise self._document.error((*path, given[1]), message)
        if table.policy is not UNSET:
            return self._of_file(name, table, overrides)
        tiers: list[tuple[KeyPath, TierTable]]
        if table.tiers is not UNSET:
            if not table.tiers:
                message = f"needs at least one [[tasks.{name}.tiers]] table"
                raise self._document.error((*path, "tiers"), message)
            tiers = [((*path, "tiers", i), tier) for i, tier in enumerate(table.tiers)]
        else:
            if table.model is UNSET and self._models.default is None:
                message = (
                    'says nothing of how it is answered: give model = "NAME", policy = '
                    f'"FILE.toml" or [[tasks.{name}.tiers]], or a model in [defaults]'
                )
                raise self._document.error(path, message)
            tiers = [(path, TierTable(model=table.model))]
        builder = Builder(self._document, path, models=self._models, declared=True)
        return builder.build(table, tiers, file=Path(self._document.file), name=name)

    def _of_file(self, name: str, table: TaskTable, overrides: Sequence[str]) -> Built:
        path: KeyPath = ("tasks", name)
        for key in PolicyKeys.__struct_fields__:
            if key not in _BESIDE_A_POLICY and self._document.get((*path, key)) is not None:
                message = f"does nothing beside 'policy': write it in {table.policy}"
                raise self._document.error((*path, key), message)
        file = self._locate((*path, "policy"), str(table.policy))
        settings: dict[str, Any] = {"name": name}
        if table.priority is not UNSET:
            settings["priority"] = table.priority
        document = read_document(file, self._document.files)
        return read_policy(document, file, overrides=overrides, models=self._models, **settings)

    def _locate(self, path: KeyPath, reference: str) -> Path:
        """The policy file: beside the project file, or by name where policies are found."""
        from cascade_policies.search import is_path, locate_policy

        try:
            if not is_path(reference):
                return locate_policy(reference)
            return locate_policy(self._document.folder / Path(reference).expanduser())
        except UnknownPolicyError as error:
            raise self._document.error(path, error.message) from error

    def _golden(self, path: KeyPath, table: TaskTable) -> Path | None:
        if table.golden is UNSET:
            for key in _NEED_GOLDEN:
                if getattr(table, key) is not UNSET:
                    message = "needs a 'golden' set beside it, to be measured on"
                    raise self._document.error((*path, key), message)
            return None
        golden = self._document.folder / Path(table.golden).expanduser()
        if "\0" in table.golden or not golden.is_file():
            shown = show_value(str(golden))
            raise self._document.error((*path, "golden"), f"no file {shown}: give its path")
        return golden

    def _thresholds(self, path: KeyPath, table: TaskTable) -> Thresholds:
        values = {key: getattr(table, key) for key in _THRESHOLDS}
        values = {key: value for key, value in values.items() if value is not UNSET}
        for key, value in values.items():
            share = key in _NEED_GOLDEN
            if not (0 <= value <= 1 if share else 0 < value < float("inf")):
                wanted = "a number in [0, 1]" if share else "a number above 0"
                message = f"got {show_value(value)}: needs {wanted}"
                raise self._document.error((*path, key), message)
        return Thresholds(**values)

    def _override(
        self, path: KeyPath, table: TaskTable
    ) -> Literal["any", "none"] | tuple[str, ...]:
        if table.override is UNSET:
            return "any"
        if isinstance(table.override, str):
            return table.override
        place = (*path, "override")
        if not table.override:
            raise self._document.error(place, 'names nobody: write "none"')
        for index, who in enumerate(table.override):
            if not who or who in table.override[:index]:
                why = "is named twice" if who else "is no name"
                raise self._document.error((*place, index), f"{who!r} {why}")
        return tuple(table.override)


def override_task(document: Document, name: str, overrides: Sequence[str]) -> Sequence[str]:
    """Apply ``--set`` to a task in the project file; gives back what is for its policy's file."""
    if isinstance(document.get(("tasks", name, "policy")), str):
        return overrides
    apply_overrides(document, overrides, ("tasks", name))
    return ()
