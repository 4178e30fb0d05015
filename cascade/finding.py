"""A policy from whatever stands for it: itself, the path of a file, or a name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cascade.errors import ConfigError, UnknownPolicyError
from cascade.plugins import entry_points_of
from cascade.policy import Policy
from cascade.routing import Entry

PolicyLike = Policy | Entry | str | Path
"""What may be given as a policy: a `Policy`, an `Entry`, a path, or a name."""


def find(policy: PolicyLike) -> Policy | Entry:
    """The policy (or entry) itself, from a file path or a name if need be.

    Raises:
        UnknownPolicyError: there is none of that name.
        PolicyFileError: the file is wrong.
    """
    if isinstance(policy, Policy | Entry):
        return policy
    if not isinstance(policy, str | Path):
        raise ConfigError(f"a policy is a Policy, a path or a name; got {type(policy).__name__}")
    return _policy_finder()(policy)


def _policy_finder() -> Callable[[str | Path], Policy | Entry]:
    for point in entry_points_of("cascade.policies").values():
        finder: Callable[[str | Path], Policy | Entry] = point.load()
        return finder
    raise UnknownPolicyError("nothing is installed that finds policies by name or path")
