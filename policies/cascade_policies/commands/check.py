"""``cascade check``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Annotated, Any

from cyclopts import Parameter

from cascade.errors import ConfigError
from cascade.policy import Policy, Tier
from cascade_policies.commands.errors import ACCEPTED, exit_code, message
from cascade_policies.commands.output import complain
from cascade_policies.file import PolicyFile
from cascade_policies.tables import NONE

_SHOWN_APART = frozenset({"model", "verify", "name", "prompt", "system", "api_key"})


def check(
    policy: str,
    /,
    *,
    json: bool = False,
    sets: Annotated[list[str] | None, Parameter(name="--set")] = None,
) -> int:
    """Read a policy strictly and show what was understood. No model is called.

    Parameters
    ----------
    policy
        A policy file, or the name of a policy.
    json
        Write one JSON object instead of tables.
    sets
        Change the policy first: KEY=VALUE, like tiers.0.threshold=0.9.
    """
    from cascade_policies.search import find_policy_file

    found = find_policy_file(policy, overrides=sets or ())
    problem = _problem(found.policy)
    if json:
        from cascade_policies.commands.shape import error_shape, write_json

        shape = _shape(found)
        shape["error"] = None
        if problem is not None:
            shape["error"] = error_shape(problem, message(problem))["error"]
        write_json(shape)
    else:
        _show(found)
        if problem is not None:
            complain(message(problem))
    return ACCEPTED if problem is None else exit_code(problem)


def _problem(policy: Policy) -> ConfigError | None:
    """What keeps this policy from running here: a missing key, extra, function or model."""
    import anyio

    from cascade.engine import Engine

    async def bind() -> None:
        async with Engine() as engine:
            engine.bind(policy)

    try:
        anyio.run(bind)
    except ConfigError as error:
        return error
    return None


def _show(found: PolicyFile) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 110
    policy = found.policy
    console.print(Text(f"{policy.name}: {found.description}" if found.description else policy.name))
    console.print(Text(f"  file       {found.path}"))
    for key, value in _rules(policy):
        console.print(Text(f"  {key:<10} {value}"))
    table = Table(box=None, pad_edge=False)
    for column in ("#", "tier", "model", "check", "settings"):
        table.add_column(column, overflow="fold")
    for index, (tier, checked) in enumerate(zip(policy.tiers, found.checks, strict=True)):
        settings = "\n".join(f"{key} = {_line(value)}" for key, value in _settings(tier))
        models = "\n".join(str(model) for model in tier.models)
        cells = (str(index), tier.name, models, checked or "none: every answer passes", settings)
        table.add_row(*(Text(cell) for cell in cells))
    console.print()
    console.print(table)


def _rules(policy: Policy) -> Iterator[tuple[str, str]]:
    yield "starts", _start(policy)
    wait = "" if policy.grace is None else f", waiting {policy.grace:g} s for cheaper tiers"
    yield "prefers", f"the {policy.preference} accepted answer{wait}"
    yield "deadline", "none" if policy.deadline is None else f"{policy.deadline:g} s"
    ends = {"raise": "an error", "best": "the best answer, marked as not accepted"}
    yield "exhausted", ends[policy.exhausted]


def _start(policy: Policy) -> str:
    """The start rule in words."""
    delays = policy.delays[1:]
    if all(delay is None for delay in delays):
        return "cascade: the next tier starts when those before it are out"
    if all(delay == 0 for delay in delays):
        return "race: all tiers start at once"
    shown = ", ".join(
        f"{tier.name} {'when those before are out' if delay is None else f'after {delay:g} s'}"
        for tier, delay in zip(policy.tiers[1:], delays, strict=True)
    )
    return f"hedge: {shown}"


def _settings(tier: Tier) -> Iterator[tuple[str, Any]]:
    """What the tier sets otherwise than by default."""
    plain = Tier("function:plain")
    for item in fields(Tier):
        value: Any = getattr(tier, item.name)
        if item.name not in _SHOWN_APART and value != getattr(plain, item.name):
            yield item.name, value
    for key in ("prompt", "system"):
        text = getattr(tier, key)
        if text is not None:
            yield key, text
    if tier.api_key is not None:
        yield "api_key", tier.api_key


def _line(value: Any) -> str:
    line = " ".join(str(NONE if value is None else value).split())
    return line if len(line) <= 60 else f"{line[:57]}..."


def _shape(found: PolicyFile) -> dict[str, Any]:
    policy = found.policy
    return {
        "policy": policy.name,
        "description": found.description,
        "file": str(found.path),
        "start_after": policy.delays,
        "prefer": policy.preference,
        "grace": policy.grace,
        "deadline": policy.deadline,
        "exhausted": policy.exhausted,
        "tiers": [
            {
                "name": tier.name,
                "models": [str(model) for model in tier.models],
                "verify": checked,
                "settings": dict(_settings(tier)),
            }
            for tier, checked in zip(policy.tiers, found.checks, strict=True)
        ],
    }
