"""From the tables of a policy, wherever they stand, to a `Policy`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from msgspec import UNSET

from cascade.model import ModelSpec
from cascade.policy import Effort, Policy, Tier
from cascade_policies.checks import Check, Checks
from cascade_policies.document import Document
from cascade_policies.lines import KeyPath
from cascade_policies.pointing import made_at, read_price
from cascade_policies.references import (
    check_api_key,
    check_base_url,
    check_model,
    is_name,
    named,
    places,
)
from cascade_policies.router_table import router_of
from cascade_policies.tables import (
    UNKNOWN,
    EffortsTable,
    PolicyKeys,
    TierTable,
    check_delays,
    check_json,
    given,
)
from cascade_policies.variables import check_variables

if TYPE_CHECKING:
    from cascade_policies.project.models import Models


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


@dataclass(frozen=True, slots=True)
class Built:
    """A policy, and where everything in it stands.

    Attributes:
        file: the policy, and what is said about it.
        document: what it was read from.
        tiers: for each tier the path of its table.
        unpriced: paths of the tiers whose price is declared unknown.
    """

    file: PolicyFile
    document: Document
    tiers: tuple[KeyPath, ...]
    unpriced: frozenset[KeyPath]


class Builder:
    """Makes one policy.

    Args:
        document: what it is read from.
        path: where in the document its keys stand.
        models: what a tier's model may be called beside ``provider:model``; None for those of
            the project around the working directory, if there is one.
        declared: whether each variable of a template must be in ``variables``, given or not.
    """

    def __init__(
        self,
        document: Document,
        path: KeyPath = (),
        *,
        models: Models | None = None,
        declared: bool = False,
    ) -> None:
        self._document = document
        self._path = path
        self._models = models
        self._declared = declared
        self._unpriced: set[KeyPath] = set()

    def build(
        self,
        table: PolicyKeys,
        tiers: Sequence[tuple[KeyPath, TierTable]],
        *,
        file: Path,
        name: str,
        **settings: Any,
    ) -> Built:
        """The policy of these tables; ``settings`` win over the table's own.

        Raises:
            PolicyFileError: they describe none.
        """
        document, path = self._document, self._path
        check_delays(document, path)
        some = bool(table.verifiers) or any(tier.verify is not UNSET for _, tier in tiers)
        checks = Checks(document, table.verifiers, path, self._reference) if some else None
        made = [self._tier(place, tier, checks) for place, tier in tiers]
        if checks is not None:
            checks.finish()
        paths = tuple(place for place, _ in tiers)
        self._check_names(paths, [tier for tier, _ in made])
        if table.variables is not UNSET or self._declared:
            declared = [] if table.variables is UNSET else table.variables
            placed = [(place, tier) for place, (tier, _) in zip(paths, made, strict=True)]
            check_variables(document, (*path, "variables"), declared, placed)
        values = {key: value for key, value in given(table).items() if key in _POLICY_KEYS}
        if table.router is not UNSET:
            names = [tier.name for tier, _ in made]
            values["router"] = router_of(
                document, (*path, "router"), table.router, names, self._spec
            )
        efforts = _efforts(table.efforts)
        policy = made_at(
            document, path, Policy, name, [tier for tier, _ in made], **{**values, **settings}
        )
        if efforts:
            policy = self._with_efforts(policy, efforts)
        found = PolicyFile(
            path=file,
            policy=policy,
            description=table.description,
            checks=tuple(None if check is None else check.text for _, check in made),
            verifiers={} if checks is None else checks.texts,
            files=tuple(document.files),
        )
        return Built(found, document, paths, frozenset(self._unpriced))

    def _tier(
        self, path: KeyPath, table: TierTable, checks: Checks | None
    ) -> tuple[Tier, Check | None]:
        document = self._document
        values = given(table)
        check_delays(document, path)
        for key in ("prompt", "system"):
            self._read_file(path, key, values)
        check_json(document, (*path, "params"))
        check_api_key(document, path, values)
        check_base_url(document, path, values)
        if "price" in values:
            values["price"] = read_price(document, (*path, "price"), values["price"])
        self._resolve(path, values)
        if values.get("price") == UNKNOWN:
            self._unpriced.add(path)
            del values["price"]
        if "examples" in values:
            values["examples"] = [(pair.user, pair.assistant) for pair in values["examples"]]
        check = None
        if "verify" in values:
            assert checks is not None
            check = checks.check((*path, "verify"))
            values["verify"] = check.verifier
        tier = made_at(document, path, Tier, values.pop("model"), **values)
        if check is not None:
            _check_use(document, path, tier, check)
        return tier, check

    def _read_file(self, path: KeyPath, key: str, values: dict[str, Any]) -> None:
        reference = values.pop(f"{key}_file", None)
        if reference is None:
            return
        if key in values:
            raise self._document.error((*path, f"{key}_file"), f"give this or {key!r}, not both")
        values[key] = self._document.read_text(reference, (*path, f"{key}_file"))

    def _resolve(self, path: KeyPath, values: dict[str, Any]) -> None:
        """Replace the names of a project's models by what they stand for."""
        document = self._document
        if self._models is not None or any(map(is_name, named(values))):
            self._known().inherit(document, path, values)
        if not values.get("model"):
            what = "missing: give" if "model" not in values else "a tier needs a model:"
            raise document.error((*path, "model"), f'{what} "provider:model", or a list of them')
        for key in ("model", "fallbacks"):
            for place, model in places(path, key, values.get(key, [])):
                if isinstance(model, str):
                    check_model(document, place, model)

    def _known(self) -> Models:
        if self._models is None:
            from cascade_policies.project.current import models_around

            self._models = models_around(self._document)
        return self._models

    def _reference(self, path: KeyPath, name: str) -> str | ModelSpec:
        return self._known().reference(self._document, path, name)

    def _spec(self, path: KeyPath, name: str) -> ModelSpec:
        return self._known().spec(self._document, path, name)

    def _check_names(self, paths: Sequence[KeyPath], tiers: Sequence[Tier]) -> None:
        seen: set[str] = set()
        for path, tier in zip(paths, tiers, strict=True):
            if tier.name in seen:
                key = "name" if self._document.get((*path, "name")) is not None else "model"
                message = f"two tiers are named {tier.name!r}: give one another 'name'"
                raise self._document.error((*path, key), message)
            seen.add(tier.name)

    def _with_efforts(self, policy: Policy, efforts: Mapping[Effort, dict[str, Any]]) -> Policy:
        for effort, changes in efforts.items():
            path = (*self._path, "efforts", effort)
            changed = dict(changes)
            check_delays(self._document, path)
            start = changed.pop("start", None)
            if isinstance(start, str):
                made_at(self._document, (*path, "start"), policy.index, start)
            elif start is not None and not 0 <= start < len(policy.tiers):
                message = f"got {start}: the policy has tiers 0 to {len(policy.tiers) - 1}"
                raise self._document.error((*path, "start"), message)
            limit = changed.pop("max_cost", None)
            if limit is not None and not 0 < limit < float("inf"):
                message = f"got {limit}: needs US dollars above 0"
                raise self._document.error((*path, "max_cost"), message)
            made_at(self._document, path, partial(replace, policy), **changed)
        return replace(policy, efforts=efforts)


_POLICY_KEYS = frozenset({
    "start_after", "prefer", "grace", "deadline", "exhausted", "priority", "variables",
})  # fmt: skip


def _efforts(table: Any) -> dict[Effort, dict[str, Any]]:
    if not isinstance(table, EffortsTable):
        return {}
    tables = {effort: getattr(table, effort) for effort in get_args(Effort)}
    return {effort: given(it) for effort, it in tables.items() if it is not UNSET}


def _check_use(document: Document, path: KeyPath, tier: Tier, check: Check) -> None:
    """Refuse a threshold or a constraint that the verifier has no use for."""
    if tier.threshold is not None:
        place = (*path, "threshold")
        with_threshold = getattr(check.verifier, "with_threshold", None)
        if with_threshold is None:
            raise document.error(place, f"does nothing: {check.text} gives no scores")
        made_at(document, place, with_threshold, tier.threshold)
    if tier.constrain:
        place = (*path, "constrain")
        response_format = getattr(check.verifier, "response_format", None)
        if response_format is None:
            message = f"does nothing: {check.text} has no schema to constrain a model to"
            raise document.error(place, message)
        made_at(document, place, response_format)
        if "response_format" in tier.params:
            place = (*path, "params", "response_format")
            raise document.error(place, "keep this or 'constrain', not both")
