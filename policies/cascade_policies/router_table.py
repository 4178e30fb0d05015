"""``router`` in a file: from a name or a table to a router."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cascade.errors import ConfigError, PolicyFileError, nearest
from cascade.routing import check_choices
from cascade_policies.arguments import Resolve, blamed, read_arguments
from cascade_policies.document import Document, show_value
from cascade_policies.lines import KeyPath


def router_of(
    document: Document, path: KeyPath, spec: Any, choices: Sequence[str], model: Resolve
) -> Any:
    """The router that a table describes: ``name``, and the arguments of the router of that name.

    Args:
        document: where the table is.
        path: its place there.
        spec: the table itself, or a name alone.
        choices: what the router is to choose from.
        model: what the name of a project's model stands for.

    Raises:
        PolicyFileError: it describes none.
    """
    from cascade_policies.routers.registry import make_router, router_names

    name = spec if isinstance(spec, str) else spec.get("name") if isinstance(spec, dict) else None
    if not isinstance(name, str):
        wrong = "use" if isinstance(spec, dict) and "use" in spec else None
        hint = "" if wrong is None else f"; write name = instead of {wrong} ="
        raise document.error(
            path, f"got {show_value(spec)}: needs a router's name, or a table with its 'name'{hint}"
        )
    if name not in (known := router_names()) and ":" not in name:
        place = path if isinstance(spec, str) else (*path, "name")
        raise document.error(place, f"no router {name!r}: {nearest(name, known)}")
    arguments = {} if isinstance(spec, str) else read_arguments(document, path, model, but="name")
    try:
        router = make_router(name, arguments)
        check_choices(router, choices)
    except PolicyFileError:
        raise
    except ConfigError as error:
        place = blamed(document, path, error.message)
        raise document.error(place, f"{name}: {error.message}") from error
    return router
