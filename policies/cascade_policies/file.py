"""Policy files: TOML in, `Policy` out, and every mistake with its file, line and key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from msgspec import UNSET

from cascade.cost import Price
from cascade.errors import ConfigError, PolicyFileError, nearest
from cascade.policy import Policy, Tier
from cascade.provider import provider_names, split_model
from cascade_policies.checks import Check, Checks
from cascade_policies.document import Document, read_document, show_value
from cascade_policies.lines import KeyPath
from cascade_policies.overrides import apply_overrides
from cascade_policies.tables import NONE, PolicyTable, TierTable, check_json, given, read_tables

Made = TypeVar("Made")

_KEY = re.compile(r"(?:price )?([a-z_]+)=")
_ENVIRONMENT = re.compile(r"(?:env:|os\.environ/)[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy and what its file says about it.

    Attributes:
        path: where the file is.
        policy: the policy itself.
        description: what it is for, in the file's own words.
        checks: for each tier its check as text, or None.
        verifiers: what each of the file's own verifiers is, as text.
        files: every file that was read; a change in one of them makes the policy stale.
    """

    path: Path
    policy: Policy
    description: str
    checks: tuple[str | None, ...]
    verifiers: Mapping[str, str]
    files: tuple[Path, ...]


def load_policy(path: str | Path, *, overrides: Sequence[str] = ()) -> Policy:
    """The policy in the file at ``path``.

    Args:
        path: a TOML file; docs/policy-file.md has every key.
        overrides: changes made before the file is read strictly, like
            ``"tiers.small.timeout=5"``.

    Raises:
        PolicyFileError: the file cannot be read or has a mistake; it names file, line and key.
    """
    return load_policy_file(path, overrides=overrides).policy


def load_policy_file(path: str | Path, *, overrides: Sequence[str] = ()) -> PolicyFile:
    """The policy in the file at ``path`` and what the file says about it.

    Raises:
        PolicyFileError: as `load_policy`.
    """
    path = Path(path)
    document = read_document(path)
    apply_overrides(document, overrides)
    try:
        return build(document, path)
    except RecursionError:
        raise PolicyFileError("nested too deeply", file=document.file) from None


def build(document: Document, path: Path) -> PolicyFile:
    """The policy that a parsed document describes.

    Raises:
        PolicyFileError: it describes none.
    """
    tables = read_tables(document)
    if not tables.tiers:
        raise document.error(("tiers",), "needs at least one [[tiers]] table")
    checks = Checks(document, tables.verifiers) if _checks_anything(tables) else None
    tiers, texts = [], []
    for index, table in enumerate(tables.tiers):
        tier, check = _tier(document, table, index, checks)
        tiers.append(tier)
        texts.append(None if check is None else check.text)
    if checks is not None:
        checks.finish()
    _check_names(document, tiers)
    values = given(tables)
    for key in ("tiers", "verifiers", "description"):
        values.pop(key, None)
    if values.get("name") == "":
        raise document.error(("name",), "a policy needs a name; by default it is the file's")
    policy = _made(document, (), Policy, values.pop("name", path.stem), tiers, **values)
    return PolicyFile(
        path=path,
        policy=policy,
        description=tables.description,
        checks=tuple(texts),
        verifiers={} if checks is None else checks.texts,
        files=tuple(document.files),
    )


def _checks_anything(tables: PolicyTable) -> bool:
    return bool(tables.verifiers) or any(table.verify is not UNSET for table in tables.tiers)


def _tier(
    document: Document, table: TierTable, index: int, checks: Checks | None
) -> tuple[Tier, Check | None]:
    path: KeyPath = ("tiers", index)
    values = given(table)
    for key in ("prompt", "system"):
        _read_file(document, path, key, values)
    _check_models(document, path, values)
    _check_api_key(document, path, values)
    check_json(document, (*path, "params"))
    if "price" in values:
        values["price"] = _made(document, (*path, "price"), Price, **given(values["price"]))
    check = None
    if "verify" in values:
        assert checks is not None
        check = checks.check((*path, "verify"))
        values["verify"] = check.verifier
    tier = _made(document, path, Tier, values.pop("model"), **values)
    if check is not None:
        _check_use(document, path, tier, check)
    return tier, check


def _read_file(document: Document, path: KeyPath, key: str, values: dict[str, Any]) -> None:
    reference = values.pop(f"{key}_file", None)
    if reference is None:
        return
    if key in values:
        raise document.error((*path, f"{key}_file"), f"give this or {key!r}, not both")
    values[key] = document.read_text(reference, (*path, f"{key}_file"))


def _check_models(document: Document, path: KeyPath, values: dict[str, Any]) -> None:
    for key in ("model", "fallbacks"):
        named = values.get(key, [])
        single = isinstance(named, str)
        if key == "model" and not named:
            raise document.error((*path, key), "a tier needs a model")
        for index, model in enumerate([named] if single else named):
            place = (*path, key) if single else (*path, key, index)
            try:
                provider, _ = split_model(model)
            except ConfigError as error:
                raise document.error(place, error.message) from error
            if provider not in (known := provider_names()):
                near = nearest(provider.lower(), known)
                raise document.error(place, f"no provider {provider!r}: {near}")


def _check_api_key(document: Document, path: KeyPath, values: dict[str, Any]) -> None:
    """A key in a file ends up in a repository; the message must not repeat it."""
    if "api_key" in values and not _ENVIRONMENT.fullmatch(values["api_key"]):
        raise document.error(
            (*path, "api_key"),
            'a file must not hold a key: put it in a variable and write "env:NAME"',
        )


def _check_use(document: Document, path: KeyPath, tier: Tier, check: Check) -> None:
    """Refuse a threshold or a constraint that the verifier has no use for."""
    if tier.threshold is not None:
        place = (*path, "threshold")
        with_threshold = getattr(check.verifier, "with_threshold", None)
        if with_threshold is None:
            raise document.error(place, f"does nothing: {check.text} gives no scores")
        _made(document, place, with_threshold, tier.threshold)
    if tier.constrain:
        place = (*path, "constrain")
        response_format = getattr(check.verifier, "response_format", None)
        if response_format is None:
            message = f"does nothing: {check.text} has no schema to constrain a model to"
            raise document.error(place, message)
        _made(document, place, response_format)
        if "response_format" in tier.params:
            place = (*path, "params", "response_format")
            raise document.error(place, "keep this or 'constrain', not both")


def _check_names(document: Document, tiers: Sequence[Tier]) -> None:
    seen: set[str] = set()
    for index, tier in enumerate(tiers):
        if tier.name in seen:
            path: KeyPath = ("tiers", index)
            key = "name" if document.get((*path, "name")) is not None else "model"
            message = f"two tiers are named {tier.name!r}: give one another 'name'"
            raise document.error((*path, key), message)
        seen.add(tier.name)


def _made(document: Document, path: KeyPath, kind: Callable[..., Made], /, *args: Any,
          **values: Any) -> Made:  # fmt: skip
    """``kind(*args, **values)``, its errors pointing into the file."""
    try:
        return kind(*args, **values)
    except ConfigError as error:
        raise _pointed(document, path, error.message, values) from error


def _pointed(
    document: Document, path: KeyPath, message: str, values: dict[str, Any]
) -> PolicyFileError:
    """The message of a `ConfigError` begins with ``key=value:``; the file knows both better."""
    found = _KEY.match(message)
    if found is None:
        return document.error(path, message)
    key = found[1]
    wanted = message.removeprefix(f"{found[0]}{values.get(key)!r}: ")
    for name in (key, f"{key}_file"):
        value = document.get((*path, name))
        if value is not None:
            wanted = wanted.replace("None", f'"{NONE}"')
            return document.error((*path, name), f"got {show_value(value)}: {wanted}")
    return document.error(path, message)
