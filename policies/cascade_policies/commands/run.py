"""``cascade run``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

from cyclopts import Parameter

from cascade.errors import CallError, PromptError
from cascade.policy import Policy
from cascade.result import Result
from cascade.routing import Entry
from cascade_policies.commands import errors
from cascade_policies.commands.output import complain, say, show_attempts, working
from cascade_policies.commands.read import read_pairs, read_stdin, read_text


def run(
    policy: str,
    prompt: str | None = None,
    /,
    *,
    explain: bool = False,
    json: bool = False,
    sets: Annotated[list[str] | None, Parameter(name="--set")] = None,
    variables: Annotated[list[str] | None, Parameter(name="--var")] = None,
) -> int:
    """Answer a prompt with the cheapest tier of a policy whose answer passes its check.

    The answer is written to standard output, everything else to standard error.

    Parameters
    ----------
    policy
        A policy file, or a name: of a task or of a router over tasks of the project, of a policy
        of your own, or extract, classify, sql.
    prompt
        The prompt; @FILE reads a file, - (or no prompt at all) standard input.
    explain
        Show every attempt: what happened, why, its time and cost.
    json
        Write one JSON object instead of the answer alone.
    sets
        Change the policy for this call: KEY=VALUE, like deadline=5 or tiers.small.timeout=5.
    variables
        A variable of the policy's templates: NAME=VALUE or NAME=@FILE.
    """
    from cascade_policies.search import find_policy_file, resolve

    found = find_policy_file(policy, overrides=sets).policy if sets else resolve(policy)
    text = _read_prompt(prompt)
    values = _read_variables(variables or ())
    try:
        with _progress(found):
            result = _answer(found, text, values)
    except CallError as error:
        if explain:
            _explain_failure(error)
        raise
    if explain:
        show_attempts(result.attempts, result.latency, result.cost, result.winner)
    if json:
        from cascade_policies.commands.shape import result_shape, write_json

        write_json(result_shape(result))
    else:
        say(result.text)
    if result.accepted:
        return errors.ACCEPTED
    complain(f"no tier was accepted; this is the best answer, from {result.tier}")
    return errors.NOT_ACCEPTED


def _answer(policy: Policy | Entry, prompt: str, variables: Mapping[str, str]) -> Result:
    import anyio

    from cascade.engine import Engine
    from cascade.project import open_project

    async def ask() -> Result:
        async with Engine(project=open_project(None)) as engine:
            return await engine.run(policy, prompt, variables=variables)

    return anyio.run(ask)


def _progress(policy: Policy | Entry) -> AbstractContextManager[None]:
    """A spinner, unless weights may have to be downloaded: that shows a progress bar of its own."""
    from cascade_policies.commands.downloads import downloads

    given = policy.policies.values() if isinstance(policy, Entry) else [policy]
    absent = any(downloads(one) for one in given if isinstance(one, Policy))
    return nullcontext() if absent else working(f"asking {policy.name}")


def _read_prompt(prompt: str | None) -> str:
    if prompt is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise PromptError(
                "no prompt: give it in quotes, as @FILE, or on standard input with '-'"
            )
        return read_stdin()
    return read_text(prompt, "the prompt")


def _read_variables(given: Sequence[str]) -> dict[str, str]:
    pairs = read_pairs(given, "--var", form="NAME=VALUE or NAME=@FILE")
    return {name: read_text(value, f"--var {name}") for name, value in pairs.items()}


def _explain_failure(error: CallError) -> None:
    latency = max((a.started + a.latency for a in error.attempts), default=0.0)
    show_attempts(error.attempts, latency, error.waste)
