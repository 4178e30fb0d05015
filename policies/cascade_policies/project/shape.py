"""The shape of ``cascade.toml``. docs/project-file.md has the meaning of every key."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from cascade_policies.budget.settings import NEEDS as BUDGET_NEEDS
from cascade_policies.budget.settings import BudgetSettings, Step, TaskBudget
from cascade_policies.document import Document
from cascade_policies.strict import Guide, read
from cascade_policies.tables import NEEDS, PARAMS, Number, PolicyKeys, PriceTable, TierTable


class LimitsTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """``limits``: what a model's provider allows."""

    requests_per_minute: int | UnsetType = UNSET
    tokens_per_minute: int | UnsetType = UNSET
    concurrency: int | UnsetType = UNSET


class ModelTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """One ``[models.NAME]``: a model, and what every tier that names it inherits."""

    model: str
    provider: str | UnsetType = UNSET
    base_url: str | UnsetType = UNSET
    api_key: str | UnsetType = UNSET
    price: PriceTable | Literal["unknown"] | UnsetType = UNSET
    context_window: int | UnsetType = UNSET
    limits: LimitsTable | UnsetType = UNSET
    timeout: Number | UnsetType = UNSET
    params: dict[str, Any] | UnsetType = UNSET
    fallbacks: list[str] | UnsetType = UNSET
    strengths: list[str] | UnsetType = UNSET
    cancel_stops_billing: bool | UnsetType = UNSET


class TaskTable(PolicyKeys, forbid_unknown_fields=True, kw_only=True):
    """One ``[tasks.NAME]``: a policy, and what is expected of it."""

    policy: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    tiers: list[TierTable] | UnsetType = UNSET
    golden: str | UnsetType = UNSET
    min_accuracy: float | UnsetType = UNSET
    min_recall: float | UnsetType = UNSET
    max_latency_p95: float | UnsetType = UNSET
    max_cost_per_call: float | UnsetType = UNSET
    override: Literal["any", "none"] | list[str] | UnsetType = UNSET


class EntryTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """One ``[routers.NAME]``: a router over tasks."""

    router: Any
    tasks: list[str]


class LedgerTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """``[ledger]``: the arguments of `SqliteLedger`; ``redact`` is ``package.module:function``."""

    path: str | UnsetType = UNSET
    prompt: Literal["text", "hash", "none"] | UnsetType = UNSET
    answer: Literal["text", "hash", "none"] | UnsetType = UNSET
    redact: str | UnsetType = UNSET
    queue: int | UnsetType = UNSET
    full: Literal["wait", "drop"] | UnsetType = UNSET
    flush_seconds: float | UnsetType = UNSET
    max_bytes: int | UnsetType = UNSET
    max_age_days: float | UnsetType = UNSET


class DefaultsTable(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[defaults]``: what a task has that says nothing else."""

    model: str | UnsetType = UNSET


class ProjectTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """A whole ``cascade.toml``."""

    models: dict[str, ModelTable] = {}
    tasks: dict[str, TaskTable] = {}
    routers: dict[str, EntryTable] = {}
    defaults: DefaultsTable = DefaultsTable()
    budget: BudgetSettings | UnsetType = UNSET
    ledger: LedgerTable | UnsetType = UNSET


_STORE = "'text', 'hash' or 'none'"
_RATE = "a whole number, 1 or more"
_SHARE = "a number in [0, 1]"
_NEEDS = {
    **NEEDS,
    # Their own names of keys, some of which are keys of other tables too.
    **{
        f"{table.__name__}.{key}": BUDGET_NEEDS.get(f"{table.__name__}.{key}") or BUDGET_NEEDS[key]
        for table in (BudgetSettings, TaskBudget, Step)
        for key in table.__struct_fields__
        if key in BUDGET_NEEDS or f"{table.__name__}.{key}" in BUDGET_NEEDS
    },
    "models": "one [models.NAME] table for each model",
    "tasks": "one [tasks.NAME] table for each task",
    "routers": "one [routers.NAME] table for each router over tasks",
    "budget": "a table, like [budget] with day = 20",
    "ledger": "a table, like [ledger] with max_age_days = 90",
    "LedgerTable.path": "the path of a database",
    "LedgerTable.prompt": _STORE,
    "LedgerTable.answer": _STORE,
    "redact": '"package.module:function", of a text to a text',
    "queue": "calls: a whole number, 1 or more",
    "full": "'wait' or 'drop'",
    "flush_seconds": "seconds, above 0 and up to 1",
    "max_bytes": "bytes: a whole number",
    "max_age_days": "days above 0",
    "defaults": 'a table, like [defaults] with model = "NAME"',
    "models.NAME": "a [models.NAME] table",
    "tasks.NAME": "a [tasks.NAME] table",
    "routers.NAME": "a [routers.NAME] table",
    "ModelTable.model": 'the provider\'s name of the model, or "provider:model"',
    "ModelTable.provider": 'the name of a provider, like "openai"',
    "ModelTable.fallbacks": 'a list of "provider:model" or names of [models]',
    "TierTable.model": 'the name of a [models.NAME] table, "provider:model", or a list of these',
    "TierTable.fallbacks": 'a list of "provider:model" or names of [models]',
    "TaskTable.tiers": "one [[tasks.NAME.tiers]] table for each tier",
    "TaskTable.model": 'the name of a [models.NAME] table, or "provider:model"',
    "DefaultsTable.model": 'the name of a [models.NAME] table, or "provider:model"',
    "EntryTable.router": "a router's name, or a table with its 'name'",
    "EntryTable.tasks": 'a list of names of tasks, like ["billing", "technical"]',
    "limits": "a table, like { requests_per_minute = 500 }",
    "requests_per_minute": _RATE,
    "tokens_per_minute": _RATE,
    "concurrency": _RATE,
    "context_window": "tokens: a whole number, 1 or more",
    "strengths": 'a list of words, like ["code", "german"]',
    "policy": "the path of a policy file, or the name of a policy",
    "golden": "the path of a golden set",
    "min_accuracy": _SHARE,
    "min_recall": _SHARE,
    "max_latency_p95": "seconds above 0",
    "max_cost_per_call": "US dollars above 0",
    "override": '"any", "none", or a list of names',
}
GUIDE = Guide(
    _NEEDS,
    {
        ProjectTable: "the top of the file, as a table",
        TaskTable: "a [tasks.NAME] table",
        TierTable: "a [[tasks.NAME.tiers]] table",
        ModelTable: "a [models.NAME] table",
        LimitsTable: "the 'limits' of a model",
    },
    PARAMS,
    (TierTable, ModelTable),
)


def read_project(document: Document) -> ProjectTable:
    """The document as a project file.

    Raises:
        PolicyFileError: a key is unknown or missing, or a value of the wrong type.
    """
    return read(document, ProjectTable, GUIDE)
