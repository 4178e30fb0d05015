"""``variables`` in a file: the names that templates may use, each used by one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cascade.errors import PolicyFileError, nearest
from cascade.policy import Tier
from cascade.template import Template
from cascade_policies.document import Document
from cascade_policies.lines import KeyPath

PROMPT = "prompt"

_VARIABLE = re.compile(r"[A-Za-z_]\w*")


def check_variables(
    document: Document,
    path: KeyPath,
    declared: Sequence[str],
    tiers: Sequence[tuple[KeyPath, Tier]],
) -> None:
    """Refuse a variable that is not declared, and one that is for nothing.

    Args:
        document: where they are declared.
        path: their place there.
        declared: their names.
        tiers: whose templates use them, each with its place.

    Raises:
        PolicyFileError: as it says.
    """
    for index, name in enumerate(declared):
        if not _VARIABLE.fullmatch(name) or name == PROMPT:
            why = "is always there" if name == PROMPT else "is no name of a variable"
            raise document.error((*path, index), f"{name!r} {why}")
        if name in declared[:index]:
            raise document.error((*path, index), f"{name!r} is declared twice")
    used: set[str] = set()
    for place, tier in tiers:
        for key in ("prompt", "system"):
            names = Template(getattr(tier, key) or "").names - {PROMPT}
            used |= names
            for name in sorted(names - set(declared)):
                raise _undeclared(document, place, key, name, declared)
    for index, name in enumerate(declared):
        if name not in used:
            raise document.error((*path, index), f"no template uses {name!r}")


def _undeclared(
    document: Document, path: KeyPath, key: str, name: str, declared: Sequence[str]
) -> PolicyFileError:
    if document.get((*path, f"{key}_file")) is not None:
        key = f"{key}_file"
    hint = nearest(name, declared) if declared else ""
    near = hint if hint.startswith("did") else f'declare it: variables = ["{name}"]'
    return document.error((*path, key), f"its variable {name!r} is not declared: {near}")
