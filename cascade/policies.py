"""Policy files and the search path: the public face of ``cascade_policies``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade_policies import (
        PolicyFile,
        find_policy,
        find_policy_file,
        load_policy,
        load_policy_file,
        policy_names,
    )

__all__ = [
    "PolicyFile",
    "find_policy",
    "find_policy_file",
    "load_policy",
    "load_policy_file",
    "policy_names",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import cascade_policies

    return getattr(cascade_policies, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
