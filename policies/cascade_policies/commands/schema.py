"""``cascade schema``."""

from __future__ import annotations

from cascade_policies.commands.errors import ACCEPTED
from cascade_policies.commands.output import say


def schema(*, policy: bool = False, json: bool = False) -> int:
    """Print the JSON Schema of cascade.toml, for editors.

    Parameters
    ----------
    policy
        That of a policy file instead.
    json
        On one line.
    """
    from cascade_policies.commands.shape import write_json
    from cascade_policies.project.schema import policy_schema, project_schema

    made = policy_schema() if policy else project_schema()
    if json:
        write_json(made)
        return ACCEPTED
    import json as encoder

    say(encoder.dumps(made, indent=2, ensure_ascii=False))
    return ACCEPTED
