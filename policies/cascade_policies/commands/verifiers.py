"""``cascade verifiers``."""

from __future__ import annotations

from cascade_policies.commands.errors import ACCEPTED
from cascade_policies.commands.output import show_widest


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
    headers = ("verifier", "object", "package")
    show_widest(
        [{key: row[name] or "" for key, name in zip(headers, row, strict=True)} for row in rows],
        drop=("package", "object"),
    )
    return ACCEPTED
