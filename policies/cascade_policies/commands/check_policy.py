"""What ``cascade check`` makes of one policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from cascade.errors import CascadeError, ConfigError, ModelUnavailableError
from cascade.model import ModelSpec
from cascade.policy import Model, Policy, Tier
from cascade.providers.local.catalogue import Weights
from cascade.providers.local.weights import offline
from cascade_policies.building import PolicyFile
from cascade_policies.commands.downloads import megabytes
from cascade_policies.commands.output import printable, show
from cascade_policies.tables import NONE

if TYPE_CHECKING:
    from rich.table import Table

LONGEST = 80

_SHOWN_APART = frozenset({"model", "verify", "name", "prompt", "system", "api_key"})


def problem_of(policy: Policy, missing: Sequence[Weights]) -> CascadeError | None:
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
    if missing and offline():
        return _unavailable(missing)
    return None


def _unavailable(missing: Sequence[Weights]) -> ModelUnavailableError:
    names = ", ".join(weights.name for weights in missing)
    pull = " && ".join(f"cascade models pull {weights.name}" for weights in missing)
    return ModelUnavailableError(
        f"not downloaded, and CASCADE_OFFLINE is set: {names}; with a connection, run: {pull}"
    )


def show_policy(found: PolicyFile, missing: Sequence[Weights]) -> None:
    from rich.text import Text

    policy = found.policy
    rules = [
        *_rules(policy),
        *(("verifier", f"{name} = {text}") for name, text in found.verifiers.items()),
    ]
    indent = max(len(key) for key, _ in rules)
    parts: list[Any] = [
        Text(one_line(f"{policy.name}: {found.description}" if found.description else policy.name)),
        f"{'file':{indent}}  {found.path}",
        grid(rules),
    ]
    for index, (tier, checked) in enumerate(zip(policy.tiers, found.checks, strict=True)):
        parts.append(Text(f"\ntier {index}  {one_line(tier.name)}", style="bold"))
        parts.append(grid(_tier(tier, checked)))
    if missing:
        parts.append("")
    parts += [f"will be downloaded: {weights.name}, {megabytes(weights)}" for weights in missing]
    show(*parts)


def grid(rows: Iterable[tuple[str, str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for key, value in rows:
        grid.add_row(one_line(key), Text(one_line(value), overflow="fold"))
    return grid


def one_line(text: str) -> str:
    """The text of a file, as it may be shown on a terminal."""
    return printable(text).replace("\n", " ").replace("\t", " ")


def _tier(tier: Tier, checked: str | None) -> Iterator[tuple[str, str]]:
    for model in tier.models:
        yield "model", _called(model)
        if isinstance(model, ModelSpec):
            yield from ((key, _line(value)) for key, value in _connection(model).items())
    yield "verify", checked or "nothing: every whole answer passes"
    for key, value in _settings(tier):
        yield key, _line(value)


def _called(model: Model) -> str:
    return model.name if isinstance(model, ModelSpec) else str(model)


def _connection(model: ModelSpec) -> dict[str, Any]:
    """What the model sets otherwise than by default. A key is a variable's name here."""
    values = {key: getattr(model, key) for key in ("base_url", "api_key", "price", "limits")}
    return {key: value for key, value in values.items() if value}


def _rules(policy: Policy) -> Iterator[tuple[str, str]]:
    yield "starts", _start(policy)
    wait = "" if policy.grace is None else f", waiting {policy.grace:g} s for cheaper tiers"
    yield "prefers", f"the {policy.preference} accepted answer{wait}"
    yield "deadline", "none" if policy.deadline is None else f"{policy.deadline:g} s"
    if policy.router is not None:
        yield "begins", f"where {policy.router!r} says"
    if policy.priority != "normal":
        yield "priority", policy.priority
    if policy.variables is not None:
        yield "variables", ", ".join(policy.variables)
    for effort, changes in policy.efforts.items():
        yield f"effort {effort}", _line(changes)
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
        if item.name == "fallbacks":
            value = tuple(map(_called, value))
        if item.name not in _SHOWN_APART and value != getattr(plain, item.name):
            yield item.name, value
    for key in ("prompt", "system"):
        text = getattr(tier, key)
        if text is not None:
            yield key, text
    if tier.api_key is not None:
        yield "api_key", tier.api_key


def _line(value: Any) -> str:
    """A value as the file would have it, on one line."""
    from cascade_policies.commands.shape import to_json

    text = value if isinstance(value, str) else NONE if value is None else to_json(value)
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def policy_shape(found: PolicyFile) -> dict[str, Any]:
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
        "router": None if policy.router is None else repr(policy.router),
        "priority": policy.priority,
        "variables": policy.variables,
        "efforts": policy.efforts,
        "verifiers": found.verifiers,
        "tiers": [
            {
                "name": tier.name,
                "models": [_called(model) for model in tier.models],
                "verify": checked,
                "settings": dict(_settings(tier)),
            }
            for tier, checked in zip(policy.tiers, found.checks, strict=True)
        ],
    }
