"""Policy files: TOML in, `Policy` out, and every mistake with its file, line and key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from cascade.errors import PolicyFileError
from cascade.policy import Policy
from cascade_policies.building import Builder, Built, PolicyFile
from cascade_policies.document import Document, read_document
from cascade_policies.overrides import apply_overrides
from cascade_policies.tables import read_tables

if TYPE_CHECKING:
    from cascade_policies.project.models import Models

__all__ = ["PolicyFile", "build", "load_policy", "load_policy_file", "read_policy"]


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
    return read_policy(read_document(path), path, overrides=overrides).file


def read_policy(
    document: Document,
    path: Path,
    *,
    overrides: Sequence[str] = (),
    models: Models | None = None,
    **settings: str,
) -> Built:
    """The policy of a parsed file; ``settings`` win over what it says, and ``name`` is one.

    Raises:
        PolicyFileError: as `load_policy`.
    """
    apply_overrides(document, overrides)
    try:
        return build(document, path, models=models, **settings)
    except RecursionError:
        raise PolicyFileError("nested too deeply", file=document.file) from None


def build(
    document: Document, path: Path, *, models: Models | None = None, **settings: str
) -> Built:
    """The policy that a parsed document describes.

    Raises:
        PolicyFileError: it describes none.
    """
    table = read_tables(document)
    if not table.tiers:
        raise document.error(("tiers",), "needs at least one [[tiers]] table")
    if table.name == "":
        raise document.error(("name",), "a policy needs a name; by default it is the file's")
    name = settings.pop("name", path.stem if table.name is UNSET else table.name)
    tiers = [(("tiers", index), tier) for index, tier in enumerate(table.tiers)]
    builder = Builder(document, models=models)
    return builder.build(table, tiers, file=path, name=name, **settings)
