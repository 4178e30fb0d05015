"""``[models.NAME]``: models by name, and what tiers inherit of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from msgspec import UNSET

from cascade.cost import Price
from cascade.errors import nearest
from cascade.model import Limits, ModelSpec
from cascade.provider import find_provider, split_model
from cascade_policies.document import Document
from cascade_policies.lines import KeyPath
from cascade_policies.pointing import made_at, read_price
from cascade_policies.project.prices import find_price
from cascade_policies.project.shape import ModelTable
from cascade_policies.references import check_api_key, check_base_url, check_model, is_name, places
from cascade_policies.tables import UNKNOWN, check_json, given

_CONNECTION = ("base_url", "api_key", "price", "cancel_stops_billing")
"""What a tier may say otherwise of its model."""

_INHERITED = ("timeout", "params", "fallbacks")


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the project.

    Attributes:
        name: what tiers call it.
        spec: what is called, where, with which key and within which limits.
        price: its own, else the published one; None is declared unknown, or costs nothing.
        strengths: free tags.
        settings: what a tier inherits besides: ``timeout``, ``params``, ``fallbacks``.
    """

    name: str
    spec: ModelSpec
    price: Price | None = None
    strengths: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """``provider:model``."""
        return self.spec.name

    @property
    def alone(self) -> bool:
        """Whether ``provider:model`` says all that there is to say of how it is called."""
        unset = all(getattr(self.spec, key) is None for key in (*_CONNECTION, "context_window"))
        return unset and not self.spec.limits


class Models(Mapping[str, Model]):
    """The models of a project.

    Attributes:
        used: names that anything has referred to.
        default: the model of a tier that names none, or None.
    """

    def __init__(self, models: Mapping[str, Model], default: str | None = None) -> None:
        self._models = models
        self.default = default
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> Model:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def find(self, document: Document, path: KeyPath, name: str) -> Model:
        """The model of that name.

        Raises:
            PolicyFileError: there is none.
        """
        if name in self._models:
            self.used.add(name)
            return self._models[name]
        if not self._models:
            message = f"no model {name!r}: add a [models.{name}] table to cascade.toml, or write"
        else:
            message = f"no model {name!r}: {nearest(name, self._models)} (or write"
        raise document.error(path, f"{message} 'provider:model'{')' if self._models else ''}")

    def reference(self, document: Document, path: KeyPath, name: str) -> str | ModelSpec:
        """What a verifier means by a name: ``provider:model``, with settings where it has some.

        Raises:
            PolicyFileError: there is none.
        """
        found = self.find(document, path, name)
        return found.model if found.alone else found.spec

    def spec(self, document: Document, path: KeyPath, name: str) -> ModelSpec:
        """What a router means by a name.

        Raises:
            PolicyFileError: there is none.
        """
        return self.find(document, path, name).spec

    def inherit(self, document: Document, path: KeyPath, values: dict[str, Any]) -> None:
        """Put into a tier's values what its models say; what the tier itself says wins.

        Raises:
            PolicyFileError: a name is unknown, or the members of an ensemble do not go together.
        """
        if "model" not in values and self.default is not None:
            values["model"] = self.default
        model = values.get("model")
        if not model:
            return
        members = [
            self.find(document, place, name) if is_name(name) else None
            for place, name in places(path, "model", model)
        ]
        named = [member for member in members if member is not None]
        if named:
            for key in _INHERITED:
                _share(document, path, values, key, members)
            plain = [model] if isinstance(model, str) else model
            names = [m.name if m else text for m, text in zip(members, plain, strict=True)]
            values.setdefault("name", " + ".join(names))
            specs = [
                _with(document, path, m, values) if m else t
                for m, t in zip(members, plain, strict=True)
            ]
            values["model"] = specs[0] if isinstance(model, str) else specs
        self._stand_ins(document, path, values)
        texts = [*(m for m in members if m is None), *values.get("fallbacks", ())]
        if named and not any(text is None or isinstance(text, str) for text in texts):
            for key in _CONNECTION:  # said of the models now, and there is no other
                if values.get(key) != UNKNOWN:
                    values.pop(key, None)

    def _stand_ins(self, document: Document, path: KeyPath, values: dict[str, Any]) -> None:
        if "fallbacks" not in values:
            return
        # Inherited ones were seen to where they stand.
        here = document.get((*path, "fallbacks")) is not None
        values["fallbacks"] = [
            self.find(document, place if here else path, name).spec if is_name(name) else name
            for place, name in places(path, "fallbacks", values["fallbacks"])
        ]


def _with(document: Document, path: KeyPath, model: Model, values: Mapping[str, Any]) -> ModelSpec:
    """The model as the tier wants it called."""
    own = {key: values[key] for key in _CONNECTION if key in values}
    if own.get("price") == UNKNOWN:
        own["price"] = None
    return made_at(document, path, partial(replace, model.spec), **own) if own else model.spec


def _share(
    document: Document,
    path: KeyPath,
    values: dict[str, Any],
    key: str,
    members: Sequence[Model | None],
) -> None:
    """Take over what all members say of a key, and refuse what they do not agree on."""
    said = [None if member is None else member.settings.get(key) for member in members]
    present = [member is not None and key in member.settings for member in members]
    agree = len(set(present)) == 1 and all(each == said[0] for each in said)
    if not agree and key not in values:
        message = f"its models differ in {key!r}, and an ensemble has one: give {key!r} beside it"
        raise document.error((*path, "model"), message)
    if not agree or not present[0]:
        return
    if key == "params":
        values[key] = {**(said[0] or {}), **values.get(key, {})}
    else:
        values.setdefault(key, said[0])


def read_models(document: Document, tables: Mapping[str, ModelTable]) -> Models:
    """The models of a project file.

    Raises:
        PolicyFileError: one has a mistake.
    """
    models = Models({name: _model(document, name, table) for name, table in tables.items()})
    for name, model in models.items():
        path = ("models", name)
        for place, other in places(path, "fallbacks", model.settings.get("fallbacks", [])):
            if other == name:
                raise document.error(place, f"{name!r} cannot stand in for itself")
            if is_name(other):
                models.find(document, place, other)
            else:
                check_model(document, place, other)
    models.used.clear()
    return models


def _model(document: Document, name: str, table: ModelTable) -> Model:
    path: KeyPath = ("models", name)
    if not is_name(name):
        raise document.error(path, "a model's name has no ':' and no '/' in it, or it would be one")
    values = given(table)
    reference = _reference(document, path, table)
    check_api_key(document, path, values)
    check_base_url(document, path, values)
    check_json(document, (*path, "params"))
    _check_options(document, path, reference, values)
    if table.timeout is not UNSET:
        positive = values["timeout"] is None or 0 < values["timeout"] < float("inf")
        _require(document, (*path, "timeout"), positive, 'seconds above 0, or "none"')
    if table.context_window is not UNSET:
        _require(document, (*path, "context_window"), table.context_window >= 1, "1 or more")
    if "price" in values:
        values["price"] = read_price(document, (*path, "price"), values["price"])
    place = (*path, "price") if "price" in values else (*path, "model")
    price = find_price(document, place, reference, values.get("price"))
    spec = made_at(
        document,
        path,
        ModelSpec,
        reference,
        base_url=values.get("base_url"),
        api_key=values.get("api_key"),
        price=None if values.get("price") == UNKNOWN else values.get("price"),
        cancel_stops_billing=values.get("cancel_stops_billing"),
        context_window=values.get("context_window"),
        limits=_limits(document, path, table),
    )
    settings = {key: values[key] for key in _INHERITED if key in values}
    return Model(name, spec, price, tuple(values.get("strengths", ())), settings)


def _reference(document: Document, path: KeyPath, table: ModelTable) -> str:
    if not table.model:
        raise document.error((*path, "model"), "needs the provider's name of the model")
    if table.provider is UNSET:
        check_model(document, (*path, "model"), table.model)
        return ":".join(split_model(table.model))
    if not is_name(table.provider):
        raise document.error((*path, "provider"), f"got {table.provider!r}: needs a name alone")
    if table.model.startswith((f"{table.provider}:", f"{table.provider}/")):
        raise document.error((*path, "model"), "names its provider again: leave that out here")
    reference = f"{table.provider}:{table.model}"
    check_model(document, (*path, "provider"), reference)
    return reference


def _check_options(
    document: Document, path: KeyPath, reference: str, values: Mapping[str, Any]
) -> None:
    """Refuse an address or a key that the provider has no use for."""
    provider, _ = split_model(reference)
    known = inspect.signature(find_provider(provider)).parameters
    for option in ("base_url", "api_key"):
        if option in values and option not in known:
            message = f"does nothing for the provider {provider!r}"
            raise document.error((*path, option), message)


def _limits(document: Document, path: KeyPath, table: ModelTable) -> Limits:
    if table.limits is UNSET:
        return Limits()
    values = given(table.limits)
    if not values:
        raise document.error((*path, "limits"), "limits nothing: give one of its keys")
    for key, value in values.items():
        _require(document, (*path, "limits", key), value >= 1, "a whole number, 1 or more")
    return Limits(**values)


def _require(document: Document, path: KeyPath, fits: bool, wanted: str) -> None:
    if not fits:
        raise document.error(path, f"got {document.get(path)}: needs {wanted}")
