"""The shape of a policy file.

A key that is absent stays `UNSET` here, so that every default has one home: `Policy` and `Tier`.
"""

from __future__ import annotations

import re
from datetime import date, time
from math import isfinite
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from cascade_policies.document import Document, show_value
from cascade_policies.lines import KeyPath
from cascade_policies.strict import Guide, read

NONE = "none"
"""What a file writes for None: TOML has no null."""

UNKNOWN = "unknown"
"""What a file writes for a price that nobody knows."""

Number = float | Literal["none"]
Delay = float | str  # `check_delays` sees to the text. No `msgspec.Meta`: processes crash as they
# exit (msgspec issue 717) when a type with one is decoded


class PriceTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """``price``: US dollars per million tokens."""

    input: float
    output: float
    cached_input: float | UnsetType = UNSET


class ExampleTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """One of a tier's ``examples``: what is asked, and the answer to it."""

    user: str
    assistant: str


class TierTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """One ``[[tiers]]``. The keys are those of `cascade.Tier`, and files for the long ones."""

    model: str | list[str] | UnsetType = UNSET
    name: str | UnsetType = UNSET
    prompt: str | UnsetType = UNSET
    prompt_file: str | UnsetType = UNSET
    system: str | UnsetType = UNSET
    system_file: str | UnsetType = UNSET
    examples: list[ExampleTable] | UnsetType = UNSET
    params: dict[str, Any] | UnsetType = UNSET
    verify: Any = UNSET
    threshold: Number | UnsetType = UNSET
    timeout: Number | UnsetType = UNSET
    verify_timeout: Number | UnsetType = UNSET
    retries: int | UnsetType = UNSET
    repairs: int | UnsetType = UNSET
    samples: int | UnsetType = UNSET
    replica_after: Delay | UnsetType = UNSET
    fallbacks: list[str] | UnsetType = UNSET
    on_abstain: Literal["escalate", "accept"] | UnsetType = UNSET
    allow_truncated: bool | UnsetType = UNSET
    constrain: bool | UnsetType = UNSET
    base_url: str | UnsetType = UNSET
    api_key: str | UnsetType = UNSET
    price: PriceTable | Literal["unknown"] | UnsetType = UNSET
    cancel_stops_billing: bool | UnsetType = UNSET


class EffortTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a caller's ``effort`` changes of the policy."""

    start: str | int | UnsetType = UNSET
    start_after: Delay | list[Delay] | UnsetType = UNSET
    prefer: Literal["cheapest", "fastest"] | UnsetType = UNSET
    grace: Number | UnsetType = UNSET
    deadline: Number | UnsetType = UNSET
    exhausted: Literal["raise", "best"] | UnsetType = UNSET
    max_cost: Number | UnsetType = UNSET


class EffortsTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """``efforts``: a table for each effort that is not as usual."""

    fast: EffortTable | UnsetType = UNSET
    balanced: EffortTable | UnsetType = UNSET
    best: EffortTable | UnsetType = UNSET


class PolicyKeys(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a policy says wherever it is written: in a file of its own or as a task."""

    description: str = ""
    start_after: Delay | list[Delay] | UnsetType = UNSET
    prefer: Literal["cheapest", "fastest"] | UnsetType = UNSET
    grace: Number | UnsetType = UNSET
    deadline: Number | UnsetType = UNSET
    exhausted: Literal["raise", "best"] | UnsetType = UNSET
    router: Any = UNSET
    priority: Literal["critical", "normal", "background"] | UnsetType = UNSET
    variables: list[str] | UnsetType = UNSET
    efforts: EffortsTable | UnsetType = UNSET
    verifiers: dict[str, Any] = {}


class PolicyTable(PolicyKeys, forbid_unknown_fields=True, kw_only=True):
    """A whole policy file."""

    tiers: list[TierTable]
    name: str | UnsetType = UNSET


_SECONDS = 'seconds, or "none"'
_DOLLARS = "US dollars per million tokens"
NEEDS = {
    "model": '"provider:model", or a list of them',
    "tiers": "one [[tiers]] table for each tier",
    "examples": "a list of { user = …, assistant = … }",
    "params": "a table, like { temperature = 0 }",
    "threshold": "a number in [0, 1]",
    "timeout": _SECONDS,
    "verify_timeout": _SECONDS,
    "retries": "a whole number, 0 or more",
    "repairs": "a whole number, 0 or more",
    "samples": "a whole number, 1 or more",
    "replica_after": 'seconds, a quantile like "p95", or "none"',
    "fallbacks": 'a list of "provider:model"',
    "on_abstain": "'escalate' or 'accept'",
    "allow_truncated": "true or false",
    "constrain": "true or false",
    "price": 'a table, like { input = 0.25, output = 2.0 }, or "unknown"',
    "cancel_stops_billing": "true or false",
    "input": _DOLLARS,
    "output": _DOLLARS,
    "cached_input": _DOLLARS,
    "start": "the name or the position of a tier",
    "start_after": 'seconds (0 is a race), "none" (a cascade), a quantile like "p95", '
    "or a list of these, one a tier",
    "prefer": "'cheapest' or 'fastest'",
    "grace": _SECONDS,
    "deadline": _SECONDS,
    "exhausted": "'raise' or 'best'",
    "max_cost": 'US dollars a call, or "none"',
    "priority": "'critical', 'normal' or 'background'",
    "variables": "a list of names",
    "efforts": "tables named 'fast', 'balanced' or 'best'",
    "fast": "a table, like { start_after = 0 }",
    "balanced": "a table, like { deadline = 5 }",
    "best": 'a table, like { start = "large" }',
    "verifiers": "one [verifiers.NAME] table for each verifier",
}
"""What each key takes, for messages and for the JSON Schema."""

PARAMS = frozenset({
    "temperature", "max_tokens", "max_completion_tokens", "top_p", "top_k", "seed", "stop",
    "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "response_format",
    "reasoning_effort",
})  # fmt: skip
_DELAY = re.compile(r"none|p[0-9]{1,2}(\.[0-9]{1,3})?")
_NONE_KEYS = frozenset({
    "threshold", "timeout", "verify_timeout", "replica_after", "start_after", "grace", "deadline",
    "max_cost",
})  # fmt: skip

GUIDE = Guide(
    NEEDS,
    {PolicyTable: "the top of the file, before any table", TierTable: "a [[tiers]] table"},
    PARAMS,
    (TierTable,),
)


def read_tables(document: Document) -> PolicyTable:
    """The document as a policy file.

    Raises:
        PolicyFileError: a key is unknown or missing, or a value of the wrong type.
    """
    return read(document, PolicyTable, GUIDE)


def given(table: Struct) -> dict[str, Any]:
    """The keys that the file sets, with ``"none"`` as None where a number may be None."""
    values = {key: getattr(table, key) for key in table.__struct_fields__}
    return {
        key: _number(value) if key in _NONE_KEYS else value
        for key, value in values.items()
        if value is not UNSET
    }


def check_json(document: Document, path: KeyPath) -> None:
    """Refuse what TOML can say and JSON cannot, anywhere below ``path``.

    Raises:
        PolicyFileError: a date, an infinity or a NaN.
    """
    value = document.get(path)
    if isinstance(value, dict):
        for key in value:
            check_json(document, (*path, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            check_json(document, (*path, index))
    elif isinstance(value, date | time):
        raise document.error(path, "a date or time is no JSON value: write it in quotes")
    elif isinstance(value, float) and not isfinite(value):
        raise document.error(path, f"{value} is no JSON value")


def check_delays(document: Document, path: KeyPath) -> None:
    """Refuse a text that is no delay in the table at ``path``.

    Raises:
        PolicyFileError: there is one.
    """
    for key in ("start_after", "replica_after"):
        value = document.get((*path, key))
        items = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, item in items:
            if isinstance(item, str) and not _DELAY.fullmatch(item):
                place = (*path, key) if index is None else (*path, key, index)
                raise document.error(place, f"got {show_value(item)}: needs {NEEDS[key]}")


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(item) for item in value]
    return None if value == NONE else value
