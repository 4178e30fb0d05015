"""What one call changes of its policy: an effort, a limit, a rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    check_keys(overrides, policy.name)
    values: dict[str, Any] = dict(overrides)
    effort, max_cost = values.pop("effort", None), values.pop("max_cost", None)
    start, variant = None, ""
    if effort is not None:
        settings = effort_settings(policy, effort)
        start = settings.pop("start", None)
        limit = settings.pop("max_cost", None)
        max_cost = max_cost if "max_cost" in overrides else limit
        values = {**settings, **values}
        variant = f"effort={effort}"
    return Changed(replace(policy, **values) if values else policy, start, max_cost, variant)


def check_keys(overrides: Mapping[str, Any], policy: str) -> None:
    """Refuse an unknown key, and a limit that is none.

    Raises:
        ConfigError: there is one.
    """
    for key in overrides:
        if key not in Overrides.__annotations__:
            raise ConfigError(f"{key}: {nearest(key, Overrides.__annotations__)}", policy=policy)
    limit = overrides.get("max_cost")
    if limit is not None and not (_number(limit) and 0 < limit < math.inf):
        raise ConfigError(f"max_cost={limit!r}: needs US dollars above 0, or None", policy=policy)


def check_effort(policy: Policy, effort: str) -> None:
    """Refuse what a policy's table for an effort cannot change.

    Raises:
        ConfigError: an unknown key, or an impossible value.
    """
    settings = effort_settings(policy, effort)
    start = settings.pop("start", None)
    check_keys(settings, policy.name)
    settings.pop("max_cost", None)
    try:
        if start is not None:
            position(policy, start)
        replace(policy, efforts={}, **settings)
    except ConfigError as error:
        error.message = f"efforts.{effort}.{error.message}"
        raise


def position(policy: Policy, start: str | int) -> int:
    """The tier to begin at, from its name or position.

    Raises:
        ConfigError: there is no such tier.
    """
    if isinstance(start, str):
        return policy.index(start)
    if isinstance(start, bool) or not isinstance(start, int):
        raise ConfigError(
            f"start={start!r}: needs the name or the position of a tier", policy=policy.name
        )
    if not 0 <= start < len(policy.tiers):
        raise ConfigError(
            f"start={start}: the policy has tiers 0 to {len(policy.tiers) - 1}", policy=policy.name
        )
    return start


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
    if not isinstance(own, Mapping):
        raise ConfigError(f"efforts.{effort}={own!r}: needs a table", policy=policy.name)
    for key in own:
        if key not in known:
            raise ConfigError(f"efforts.{effort}.{key}: {nearest(key, known)}", policy=policy.name)
    return dict(own)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
