"""``cascade verifiers``."""

from __future__ import annotations

import inspect
from typing import Any

from cascade_policies.commands.errors import ACCEPTED
from cascade_policies.commands.output import show_widest


def verifiers(*, json: bool = False) -> int:
    """List the verifiers that a policy can name: their arguments, and where each comes from.

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
        rows.append(
            {
                "name": name,
                "object": point and point.value,
                "package": package,
                **_described(name),
            }
        )
    if json:
        from cascade_policies.commands.shape import write_json

        write_json({"verifiers": rows})
    else:
        _show(rows)
    return ACCEPTED


def _described(name: str) -> dict[str, Any]:
    """What it does and takes; one that cannot be loaded says why, and does not hide the others."""
    from cascade_verifiers.registry import arguments_of, find_verifier

    try:
        found = find_verifier(name)
        arguments = [
            {
                "name": argument.name,
                "required": argument.default is argument.empty
                and argument.kind is not argument.VAR_POSITIONAL,
                "default": None if argument.default is argument.empty else argument.default,
                "type": None
                if argument.annotation is argument.empty
                else inspect.formatannotation(argument.annotation).strip("'"),
            }
            for argument in arguments_of(found)
        ]
    except Exception as error:  # noqa: BLE001  # loading runs anyone's code
        problem = f"{type(error).__name__}: {error}"
        return {"summary": None, "arguments": None, "error": problem}
    # Of a function, not of the class that wraps it.
    documented = getattr(found, "function", found)
    summary = (inspect.getdoc(documented) or "").partition("\n")[0]
    return {"summary": summary, "arguments": arguments, "error": None}


def _show(rows: list[dict[str, Any]]) -> None:
    shown = []
    for row in rows:
        arguments = row["error"] or ", ".join(map(_argument, row["arguments"]))
        source = row["package"] or "this process"
        shown.append({"verifier": row["name"], "arguments": arguments, "from": source})
    show_widest(shown, drop=("from", "arguments"))


def _argument(argument: dict[str, Any]) -> str:
    if argument["required"]:
        return str(argument["name"])
    return f"{argument['name']}={argument['default']!r}"
