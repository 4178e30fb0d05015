"""The shape of a policy file, and its strict reading.

A key that is absent stays `UNSET` here, so that every default has one home: `Policy` and `Tier`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time
from math import isfinite
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, ValidationError, convert

from cascade.errors import PolicyFileError, nearest
from cascade_policies.document import Document, show_value
from cascade_policies.lines import KeyPath

NONE = "none"
"""What a file writes for None: TOML has no null."""

Number = float | Literal["none"]
Delay = float | Annotated[str, Meta(pattern=r"^(none|p[0-9]{1,2}(\.[0-9]{1,3})?)$")]


class PriceTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """``price``: US dollars per million tokens."""

    input: float
    output: float
    cached_input: float | UnsetType = UNSET


class TierTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """One ``[[tiers]]``. The keys are those of `cascade.Tier`, and files for the long ones."""

    model: str | list[str]
    name: str | UnsetType = UNSET
    prompt: str | UnsetType = UNSET
    prompt_file: str | UnsetType = UNSET
    system: str | UnsetType = UNSET
    system_file: str | UnsetType = UNSET
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
    price: PriceTable | UnsetType = UNSET
    cancel_stops_billing: bool | UnsetType = UNSET


class PolicyTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    tiers: list[TierTable]
    name: str | UnsetType = UNSET
    description: str = ""
    start_after: Delay | list[Delay] | UnsetType = UNSET
    prefer: Literal["cheapest", "fastest"] | UnsetType = UNSET
    grace: Number | UnsetType = UNSET
    deadline: Number | UnsetType = UNSET
    exhausted: Literal["raise", "best"] | UnsetType = UNSET
    verifiers: dict[str, Any] = {}


_TABLES: Mapping[str, type[Struct]] = {
    "": PolicyTable,
    "tiers": TierTable,
    "price": PriceTable,
}

_SECONDS = 'seconds, or "none"'
_NEEDS = {
    "model": '"provider:model", or a list of them',
    "tiers": "one [[tiers]] table for each tier",
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
    "price": "a table, like { input = 0.25, output = 2.0 }",
    "cancel_stops_billing": "true or false",
    "input": "US dollars per million tokens",
    "output": "US dollars per million tokens",
    "cached_input": "US dollars per million tokens",
    "start_after": 'seconds (0 is a race), "none" (a cascade), a quantile like "p95", '
    "or a list of these, one a tier",
    "prefer": "'cheapest' or 'fastest'",
    "grace": _SECONDS,
    "deadline": _SECONDS,
    "exhausted": "'raise' or 'best'",
    "verifiers": "one [verifiers.NAME] table for each verifier",
}
_SECRET = frozenset({"api_key"})
_PARAMS = frozenset({
    "temperature", "max_tokens", "max_completion_tokens", "top_p", "top_k", "seed", "stop",
    "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "response_format",
    "reasoning_effort",
})  # fmt: skip
_NONE_KEYS = frozenset({
    "threshold", "timeout", "verify_timeout", "replica_after", "start_after", "grace", "deadline",
})  # fmt: skip

_WHERE = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`$", re.DOTALL)


def read_tables(document: Document) -> PolicyTable:
    """The document in its shape.

    Raises:
        PolicyFileError: a key is unknown or missing, or a value of the wrong type.
    """
    try:
        return convert(document.data, PolicyTable)
    except ValidationError as error:
        raise _placed(document, str(error)) from None


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


def needs(document: Document, path: KeyPath) -> PolicyFileError:
    """The error for a value that is not what its key takes."""
    names = [key for key in path if isinstance(key, str)]
    wanted = _NEEDS.get(names[-1], "text") if names else "tables"
    value = document.get(path)
    got = "another type" if _SECRET.intersection(names) else show_value(value)
    return document.error(path, f"got {got}: needs {wanted}")


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(item) for item in value]
    return None if value == NONE else value


def _placed(document: Document, message: str) -> PolicyFileError:
    """msgspec says what and where in one line of text; the user gets the key and its line."""
    where = _WHERE.search(message)
    what = message if where is None else message[: where.start()]
    path: KeyPath = ()
    if where is not None:
        steps = _STEP.findall(where.group(1))
        path = tuple(key if key else int(index) for key, index in steps)
    if found := _UNKNOWN.match(what):
        return document.error((*path, found.group(1)), _unknown(path, found.group(1)))
    if found := _MISSING.match(what):
        wanted = _NEEDS.get(found.group(1), "text")
        return document.error((*path, found.group(1)), f"missing: give {wanted}")
    return needs(document, path)


def _unknown(path: KeyPath, key: str) -> str:
    names = [key for key in path if isinstance(key, str)]
    table = names[-1] if names else ""
    if table == "tiers" and key in _PARAMS:
        return f"unknown key: write it in the tier's params, as params = {{ {key} = … }}"
    other = "" if table == "tiers" else "tiers"
    if table != "price" and key in _TABLES[other].__struct_fields__:
        home = "a [[tiers]] table" if other else "the top of the file, before any table"
        return f"unknown key: it belongs in {home}"
    return f"unknown key: {nearest(key, _TABLES[table].__struct_fields__)}"
