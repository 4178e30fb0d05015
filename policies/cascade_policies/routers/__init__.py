"""Routers: where calls start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade_policies.routers.fitting import fit_router, read_recording
    from cascade_policies.routers.heuristic import Heuristic
    from cascade_policies.routers.learned import Learned
    from cascade_policies.routers.llm import Llm
    from cascade_policies.routers.registry import find_router, make_router, router, router_names

__all__ = [
    "Heuristic",
    "Learned",
    "Llm",
    "find_router",
    "fit_router",
    "make_router",
    "read_recording",
    "router",
    "router_names",
]

_HOMES = {
    "Heuristic": "heuristic",
    "Learned": "learned",
    "Llm": "llm",
    "fit_router": "fitting",
    "read_recording": "fitting",
}


def __getattr__(name: str) -> Any:
    """A policy without a router pays for none of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'registry')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
