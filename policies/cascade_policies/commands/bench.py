"""``cascade bench``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from cascade.cost import Cost
from cascade.errors import ConfigError, MissingExtraError, nearest
from cascade.policy import Policy
from cascade_policies.commands.bench_calls import Plan, read_prompts
from cascade_policies.commands.bench_report import Summary, overall_code, plot, summarise, tables
from cascade_policies.commands.errors import ACCEPTED, USAGE
from cascade_policies.commands.output import complain, show, write_error
from cascade_policies.commands.read import read_pairs, read_text

if TYPE_CHECKING:
    from cascade.overrides import Overrides

_MODES: Final = ("as-is", "cascade", "race", "hedge=SECONDS")


def bench(
    policy: str,
    /,
    *,
    prompts: str | None = None,
    calls: int = 20,
    rate: float | None = None,
    concurrency: int | None = None,
    modes: Annotated[list[str] | None, Parameter(name="--mode")] = None,
    json: bool = False,
    plot_file: Annotated[str | None, Parameter(name="--plot")] = None,
    yes: bool = False,
    sets: Annotated[list[str] | None, Parameter(name="--set")] = None,
    variables: Annotated[list[str] | None, Parameter(name="--var")] = None,
) -> int:
    """Run a policy many times against its own models: latency, cost and escalation by tier.

    Parameters
    ----------
    policy
        A policy file, or the name of a policy.
    prompts
        A file with a prompt a line; in one that ends in .jsonl, a line is a text, a list of
        messages, or an object with one of these as its prompt. They are asked in turn.
    calls
        Calls for each mode.
    rate
        Calls a second, arriving at random whether or not those before are answered (Poisson).
    concurrency
        Calls at a time, each beginning when one is over; by default 1.
    modes
        as-is, cascade, race or hedge=SECONDS; give it several times to compare. By default the
        policy as it is, as a cascade and as a race.
    json
        Write one JSON object instead of tables.
    plot_file
        Draw the latencies of the modes, as PNG, SVG or PDF.
    yes
        Do not ask before calls that cost money.
    sets
        Change the policy first: KEY=VALUE, like deadline=5 or tiers.small.timeout=5.
    variables
        A variable of the policy's templates: NAME=VALUE or NAME=@FILE.
    """
    from cascade_policies.search import find_policy_file

    found = find_policy_file(policy, overrides=sets or ()).policy
    _check_numbers(calls, rate, concurrency)
    if plot_file is not None:
        _require_matplotlib()
    changes = {name: _mode(name, found) for name in modes or _default_modes(found)}
    asked = read_prompts(prompts)
    pairs = read_pairs(variables or (), "--var", form="NAME=VALUE or NAME=@FILE")
    values = {name: read_text(value, f"--var {name}") for name, value in pairs.items()}
    again = policy if not sets else None  # what --set has changed is as it was at the start
    plan = Plan(found, changes, [asked[i % len(asked)] for i in range(calls)], values, again)
    import anyio

    price = anyio.run(plan.worst_case)
    if not _may_spend(price, plan, yes=yes):
        complain("nothing was called")
        return USAGE
    samples = anyio.run(plan.run, rate, concurrency or 1)
    summaries = [summarise(name, found, samples[name]) for name in changes]
    if json:
        from cascade_policies.commands.shape import write_json

        write_json(_shape(plan, summaries, rate, concurrency, price))
    else:
        _show(plan, summaries, rate, concurrency)
    if plot_file is not None:
        plot(samples, plot_file)
    code = overall_code(samples)
    if code != ACCEPTED:
        complain("no call has an accepted answer")
    return code


def _mode(name: str, policy: Policy) -> Overrides:
    """What a mode changes of the policy.

    Raises:
        ConfigError: there is no such mode, or it would change nothing.
    """
    kind, equals, given = name.partition("=")
    if kind not in ("as-is", "cascade", "race", "hedge") or bool(equals) != (kind == "hedge"):
        raise ConfigError(f"--mode {name!r}: {nearest(name, _MODES)}")
    if kind == "as-is":
        return {}
    if len(policy.tiers) == 1:
        raise ConfigError(f"--mode {name}: needs a second tier", policy=policy.name)
    if kind == "hedge":
        try:
            seconds = float(given)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < float("inf"):
            raise ConfigError(f"--mode {name}: write seconds above 0, like hedge=0.5")
        return {"start_after": seconds, "prefer": None}
    # Nobody waits for a cheaper tier here, so a grace would be refused as doing nothing.
    return {"start_after": None if kind == "cascade" else 0, "prefer": None, "grace": None}


def _default_modes(policy: Policy) -> list[str]:
    """The policy as it is, and as what it is not."""
    if len(policy.tiers) == 1:
        return ["as-is"]
    delays = set(policy.delays[1:])
    cascade, race = delays == {None}, delays == {0} and policy.preference == "fastest"
    return [*([] if cascade or race else ["as-is"]), "cascade", "race"]


def _check_numbers(calls: int, rate: float | None, concurrency: int | None) -> None:
    if calls < 1:
        raise ConfigError(f"--calls {calls}: needs 1 or more")
    if rate is not None and not 0 < rate < float("inf"):
        raise ConfigError(f"--rate {rate}: needs calls a second, above 0")
    if concurrency is not None and concurrency < 1:
        raise ConfigError(f"--concurrency {concurrency}: needs 1 or more")
    if rate is not None and concurrency is not None:
        raise ConfigError("--rate and --concurrency: give one of them")


def _require_matplotlib() -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise MissingExtraError("--plot", extra="plot")


def _may_spend(price: Cost, plan: Plan, *, yes: bool) -> bool:
    """Say what it may cost, and ask where it is not free.

    Raises:
        ConfigError: it is not free, and there is nobody to ask.
    """
    if price.high == 0.0:
        return True
    calls = len(plan.prompts) * len(plan.modes)
    checks = any(getattr(tier.verify, "models", ()) for tier in plan.policy.tiers)
    if price.high is None:
        most = f"{calls} calls, of models some of whose prices are not known"
    else:
        most = f"{calls} calls, at most about {Cost(price.high, price.high)}"
    most += "; verifiers that ask models come on top" if checks else ""
    write_error(f"{most}\n")
    if yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError("these calls may cost money: pass --yes to make them")
    write_error("Make these calls? [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _show(
    plan: Plan, summaries: Sequence[Summary], rate: float | None, concurrency: int | None
) -> None:
    arrivals = f"{concurrency or 1} at a time" if rate is None else f"{rate:g} a second, at random"
    show(f"{plan.policy.name}: {len(plan.prompts)} calls in each mode, {arrivals}\n")
    show(*tables(summaries))


def _shape(
    plan: Plan,
    summaries: Sequence[Summary],
    rate: float | None,
    concurrency: int | None,
    price: Cost,
) -> dict[str, Any]:
    return {
        "policy": plan.policy.name,
        "calls": len(plan.prompts),
        "rate": rate,
        "concurrency": None if rate is not None else concurrency or 1,
        "worst_case_usd": price.high,
        "modes": [summary.shape() for summary in summaries],
    }
