"""``cascade verifiers``."""

from __future__ import annotations

from cascade_policies.commands.errors import ACCEPTED


def verifiers(*, json: bool = False) -> int:
    """List the verifiers that a policy can name, and where each comes from.

    Parameters
    ----------
    json
        Write one JSON object instead of a table.
    """
    from cascade.plugins import entry_points_of
    from cascade_verifiers.registry import ENTRY_POINTS, verifier_names

    points = entry_points_of(ENTRY_POINTS)
    rows = []
    for name in verifier_names():
        point = points.get(name)
        package = point.dist.name if point is not None and point.dist is not None else None
        rows.append({"name": name, "object": point and point.value, "package": package})
    if json:
        from cascade_policies.commands.shape import write_json

        write_json({"verifiers": rows})
        return ACCEPTED
    from rich.console import Console
    from rich.table import Table

    table = Table("verifier", "object", "package", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(value or "" for value in row.values()))
    Console(highlight=False).print(table)
    return ACCEPTED
