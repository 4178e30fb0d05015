"""What a file refers to: models by name or as ``provider:model``, and keys by their variable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from cascade.address import fault_in
from cascade.errors import ConfigError, nearest
from cascade.provider import provider_names, split_model
from cascade_policies.document import Document
from cascade_policies.lines import KeyPath

_ENVIRONMENT = re.compile(r"(?:env:|os\.environ/)[A-Za-z_]\w*")


def is_name(reference: str) -> bool:
    """Whether it is the name of a project's model, and no ``provider:model``."""
    return bool(reference) and ":" not in reference and "/" not in reference


def named(values: Mapping[str, Any]) -> Iterable[str]:
    """Every model that a tier names, stand-ins included."""
    model = values.get("model", [])
    return [*([model] if isinstance(model, str) else model), *values.get("fallbacks", [])]


def places(path: KeyPath, key: str, value: Any) -> list[tuple[KeyPath, Any]]:
    """Each of one or several models under a key, with where it stands."""
    if isinstance(value, list):
        return [((*path, key, index), item) for index, item in enumerate(value)]
    return [((*path, key), value)]


def check_model(document: Document, path: KeyPath, reference: str) -> None:
    """Refuse what is no ``provider:model`` of a registered provider.

    Raises:
        PolicyFileError: as it says.
    """
    try:
        provider, _ = split_model(reference)
    except ConfigError as error:
        raise document.error(path, error.message) from error
    if provider not in (known := provider_names()):
        near = nearest(provider.lower(), known)
        raise document.error(path, f"no provider {provider!r}: {near}")


def check_base_url(document: Document, path: KeyPath, values: Mapping[str, Any]) -> None:
    """Refuse an address that leads nowhere, or has a secret in it. The message does not repeat it.

    Raises:
        PolicyFileError: there is one.
    """
    if "base_url" in values and (fault := fault_in(values["base_url"])):
        raise document.error((*path, "base_url"), fault)


def check_api_key(document: Document, path: KeyPath, values: Mapping[str, Any]) -> None:
    """Refuse a key in a file: it ends up in a repository. The message does not repeat it.

    Raises:
        PolicyFileError: there is one.
    """
    if "api_key" in values and not _ENVIRONMENT.fullmatch(values["api_key"]):
        raise document.error(
            (*path, "api_key"),
            'a file must not hold a key: put it in a variable and write "env:NAME"',
        )
