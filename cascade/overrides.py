"""What one call changes of its policy: an effort, a limit, a rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypedDict, get_args

from msgspec import Struct

from cascade.errors import ConfigError, nearest
from cascade.policy import Delay, Effort, Exhausted, Policy, Prefer


class Overrides(TypedDict, total=False):
    """Settings that one call may change; see `Policy`, and `cascade` for the last two."""

    start_after: Delay | Sequence[Delay]
    prefer: Prefer | None
    grace: float | None
    deadline: float | None
    exhausted: Exhausted
    effort: Effort
    max_cost: float | None


class Changed(Struct, frozen=True):
    """A policy as one call wants it.

    Attributes:
        policy: with the overrides in it.
        start: the tier to begin at, where the effort says so.
        max_cost: US dollars that the call may cost.
        variant: what was changed, for records: ``effort=fast``.
    """

    policy: Policy
    start: str | int | None = None
    max_cost: float | None = None
    variant: str = ""


def apply(policy: Policy, overrides: Overrides) -> Changed:
    """The policy with a call's overrides; what the caller says itself beats its effort.

    Raises:
        ConfigError: an unknown key, or an impossible value.
    """
    for key in overrides:
        if key not in Overrides.__annotations__:
            known = Overrides.__annotations__
            raise ConfigError(f"{key}: {nearest(key, known)}", policy=policy.name)
    values: dict[str, Any] = dict(overrides)
    effort, max_cost = values.pop("effort", None), values.pop("max_cost", None)
    if max_cost is not None and not (_number(max_cost) and 0 < max_cost < math.inf):
        raise ConfigError(
            f"max_cost={max_cost!r}: needs US dollars above 0, or None", policy=policy.name
        )
    start, variant = None, ""
    if effort is not None:
        settings = effort_settings(policy, effort)
        start = settings.pop("start", None)
        limit = settings.pop("max_cost", None)
        max_cost = limit if max_cost is None else max_cost
        values = {**settings, **values}
        variant = f"effort={effort}"
    return Changed(replace(policy, **values) if values else policy, start, max_cost, variant)


def effort_settings(policy: Policy, effort: str) -> dict[str, Any]:
    """What the effort changes of the policy: its own table for it, else the usual.

    Raises:
        ConfigError: no such effort, or the policy's table for it has an unknown key.
    """
    if effort not in get_args(Effort):
        raise ConfigError(
            f"effort={effort!r}: {nearest(str(effort), get_args(Effort))}", policy=policy.name
        )
    own = policy.efforts.get(effort)  # type: ignore[call-overload]  # checked just above
    if own is None:
        several = len(policy.tiers) > 1
        usual: dict[str, dict[str, Any]] = {
            "fast": {"start_after": 0, "prefer": "fastest", "grace": None} if several else {},
            "best": {"start": len(policy.tiers) - 1} if several else {},
        }
        return usual.get(effort, {})
    known = {*Overrides.__annotations__, "start"} - {"effort"}
    for key in own:
        if key not in known:
            raise ConfigError(f"efforts.{effort}.{key}: {nearest(key, known)}", policy=policy.name)
    return dict(own)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
