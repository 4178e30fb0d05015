"""``cascade route fit`` and ``cascade route explain``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cascade.errors import ConfigError
from cascade.policy import Policy
from cascade.routing import Entry, Route, Router, as_router, decide, router_name
from cascade.types import Request
from cascade_policies.commands.errors import ACCEPTED
from cascade_policies.commands.output import say, show, working
from cascade_policies.commands.read import read_stdin, read_text

if TYPE_CHECKING:
    from cascade_policies.routers.fitting import Quality, Row

OUT = Path("router.json")


def fit(
    recording: Path,
    /,
    *,
    out: Path = OUT,
    tiers: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    strength: float | None = None,
    json: bool = False,
) -> int:
    """Fit a learned router on a recording, and write it to a file.

    Parameters
    ----------
    recording
        JSON Lines, gzipped or not: a row has a prompt and, for each model, whether its answer was
        correct (or accepted).
    out
        Where the router is written, as JSON.
    tiers
        The policy's tiers, from the cheapest to the strongest, as NAME=MODEL with the model's
        name in the recording, or NAME when that is its name there; divided by commas or spaces.
        By default the recording's models, in its order.
    strength
        How far weights may go from 0; by default, what does best in cross-validation.
    json
        Write one JSON object instead of a table.
    """
    from cascade_policies.routers.fitting import fit_router, read_recording

    names = _tiers(tiers or ())
    with working(f"fitting {recording.name}"):
        rows = read_recording(recording, names or None)
        order = list(names) or _models(rows)
        router, qualities = fit_router(rows, order, strength=strength)
        try:
            router.save(out)
        except OSError as error:
            raise ConfigError(f"--out {out}: cannot be written: {error.strerror}") from error
    if json:
        from cascade_policies.commands.shape import write_json

        model = router.to_dict()
        write_json({
            "file": str(out),
            "rows": model["rows"],
            "data": model["data"],
            "features": model["features"],
            "tiers": [{"name": name, **_quality(qualities[name])} for name in order],
        })  # fmt: skip
    else:
        show(_table(qualities), f"\n{len(rows)} rows; written to {out}")
    return ACCEPTED


def explain(policy: str, prompt: str | None = None, /, *, json: bool = False) -> int:
    """Show where a call would begin, and why. Only the router's own models are called.

    Parameters
    ----------
    policy
        A policy file, or the name of a policy or task, that has a router.
    prompt
        The prompt; @FILE reads a file, - (or no prompt at all) standard input.
    json
        Write one JSON object instead of text.
    """
    from cascade_policies.search import resolve

    found = resolve(policy)
    router, choices = _router(found)
    request = Request.of(read_stdin() if prompt is None else read_text(prompt, "the prompt"))
    with working(f"asking the router of {found.name}"):
        route = _decide(router, request, choices, found.name)
    evidence = _evidence(router, request)
    start = choices[0] if route.start is None else route.start
    if json:
        from cascade_policies.commands.shape import cost_shape, write_json

        write_json({
            "policy": found.name,
            "router": router_name(router),
            "choices": choices,
            "start": start,
            "opinion": route.start is not None,
            "label": route.label,
            "reason": route.reason,
            "latency_s": round(route.latency, 6),
            "cost": cost_shape(route.cost),
            "evidence": evidence,
        })  # fmt: skip
    else:
        _show(router, route, start, choices, evidence)
    return ACCEPTED


def _tiers(given: Sequence[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for word in (part.strip() for text in given for part in text.split(",")):
        name, equals, model = word.partition("=")
        if not name or (equals and not model):
            raise ConfigError(f"--tiers {word!r}: write NAME or NAME=MODEL")
        if name in names:
            raise ConfigError(f"--tiers {name}: given twice")
        names[name] = model or name
    return names


def _models(rows: Sequence[Row]) -> list[str]:
    """Every model of a recording, in the order in which they first come."""
    return list({name: None for _, outcome in rows for name in outcome})


def _quality(quality: Quality) -> dict[str, Any]:
    return {"rows": quality.rows, "right": quality.right, "auroc": quality.auroc}


def _table(qualities: Mapping[str, Quality]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("tier")
    for name in ("rows", "right", "AUROC"):
        table.add_column(name, justify="right")
    for name, quality in qualities.items():
        auroc = "too few" if quality.auroc is None else f"{quality.auroc:.3f}"
        table.add_row(name, str(quality.rows), f"{quality.right:.1%}", auroc)
    return table


def _router(found: Policy | Entry) -> tuple[Router, list[str]]:
    if isinstance(found, Entry):
        return as_router(found.router), list(found.policies)
    if found.router is None:
        raise ConfigError(
            "has no router: calls begin at its first tier (docs/routers.md)", policy=found.name
        )
    return as_router(found.router), [tier.name for tier in found.tiers]


def _decide(router: Router, request: Request, choices: Sequence[str], policy: str) -> Route:
    import anyio

    from cascade.engine import Engine
    from cascade.project import open_project
    from cascade.purse import Purse

    async def ask() -> Route:
        async with Engine(project=open_project(None)) as engine:
            budget = engine.budget
            purse = None if budget is None else Purse(policy, budget, budget.per_call(policy))
            return await decide(router, request, choices, engine=engine, policy=policy, purse=purse)

    return anyio.run(ask)


def _evidence(router: Router, request: Request) -> Any:
    see = getattr(router, "evidence", None)
    return see(request) if callable(see) else None


def _show(router: Router, route: Route, start: str, choices: Sequence[str], evidence: Any) -> None:
    from cascade_policies.commands.shape import to_json

    say(f"starts at  {start}" + ("" if route.start is not None else " (the first; no opinion)"))
    say(f"choices    {', '.join(choices)}")
    say(f"router     {router_name(router)}")
    if route.label:
        say(f"label      {route.label}")
    if route.reason:
        say(f"reason     {route.reason}")
    say(f"cost       {route.cost}")
    say(f"latency    {route.latency * 1000:.2f} ms")
    for key, value in (evidence or {}).items():
        say(f"{key:<10} {value if isinstance(value, str) else to_json(value)}")
