"""The JSON Schema of ``cascade.toml``, for editors, made of the same types that read it."""

from __future__ import annotations

from typing import Any

import msgspec

from cascade_policies.project.shape import GUIDE, ProjectTable
from cascade_policies.tables import PolicyTable

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def project_schema() -> dict[str, Any]:
    """What a project file may look like. What it may mean is for `load_project` to say."""
    return _schema(ProjectTable, "cascade.toml")


def policy_schema() -> dict[str, Any]:
    """The same for a policy file."""
    return _schema(PolicyTable, "A policy file of cascade")


def _schema(kind: type[msgspec.Struct], title: str) -> dict[str, Any]:
    (root,), definitions = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    for name, definition in definitions.items():
        for key, shape in definition.get("properties", {}).items():
            wanted = GUIDE.needs.get(f"{name}.{key}", GUIDE.needs.get(key))
            if wanted is not None and "$ref" not in shape:
                shape["description"] = wanted
        # The default of a table that is left out is nobody's concern but ours.
        for shape in definition.get("properties", {}).values():
            if shape.get("default") in ({}, [], "", None):
                shape.pop("default", None)
    return {"$schema": DIALECT, "title": title, **root, "$defs": definitions}
