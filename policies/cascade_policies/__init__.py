"""Policy files, the policies that cascade ships, and the command line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade_policies.file import PolicyFile, load_policy, load_policy_file
    from cascade_policies.search import find_policy, find_policy_file, policy_names

__all__ = [
    "PolicyFile",
    "find_policy",
    "find_policy_file",
    "load_policy",
    "load_policy_file",
    "policy_names",
]

_HOME = {
    "PolicyFile": "file",
    "find_policy": "search",
    "find_policy_file": "search",
    "load_policy": "file",
    "load_policy_file": "file",
    "policy_names": "search",
}


def __getattr__(name: str) -> Any:
    # On demand, so that `cascade --version` reads no policy code.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
