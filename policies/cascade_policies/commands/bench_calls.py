"""The calls that ``cascade bench`` makes, and the most that they may cost."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, Final

from cascade.cost import Cost
from cascade.errors import CallError, PromptError
from cascade.policy import Policy
from cascade_policies.commands.bench_report import Sample
from cascade_policies.commands.output import write_error
from cascade_policies.commands.read import read_text

if TYPE_CHECKING:
    from cascade.engine import Engine
    from cascade.overrides import Overrides
    from cascade.types import Prompt

PROMPT: Final = "Say hello in one short sentence."
"""Asked when there is no file of prompts."""

_SEED: Final = 1  # the same arrivals in every mode


class Plan:
    """What is to be called: a policy, the modes it is run in, and the prompts of each mode.

    Args:
        modes: what each mode overrides of the policy, by its name.
        reference: path or name of the policy, looked up for each call so that changes of its file
            take effect; None for the policy as it is.
    """

    def __init__(
        self,
        policy: Policy,
        modes: Mapping[str, Overrides],
        prompts: Sequence[Prompt],
        variables: Mapping[str, str],
        reference: str | None = None,
    ) -> None:
        self.policy = policy
        self.called: str | Policy = policy if reference is None else reference
        self.modes = modes
        self.prompts = prompts
        self.variables = variables

    async def worst_case(self) -> Cost:
        """The most that all calls may cost: every tier is asked, retried, repaired and doubled as
        often as it may be, and writes all that it may. Unknown when no price is known of a model
        that is not free.

        Raises:
            ConfigError: the policy cannot run here.
            PromptError: the variables are not those that the policy needs.
        """
        from cascade import billing
        from cascade.cost import total
        from cascade.engine import Engine
        from cascade.types import Request

        unknown = Cost.unknown("estimated")
        costs: list[Cost] = []
        async with Engine() as engine:
            bound = engine.bind(self.policy)
            bound.check_variables(self.variables, first=0)
            requests = [Request.of(prompt) for prompt in self.prompts]
            for tier in bound.tiers:
                own = tier.tier
                tries = (1 + own.retries) * (1 + own.repairs)
                tries *= len(self.modes) * (1 if own.replica_after is None else 2)
                for target in (target for choices in tier.targets for target in choices):
                    if target.free:
                        continue
                    if target.price is None:
                        costs.append(unknown)
                        continue
                    for request in requests:
                        rendered = tier.render(request, self.variables)
                        one = billing.cut_short(target.price, rendered, "", stops=None, hidden=0.0)
                        most = (one.high or 0.0) * tries
                        costs.append(Cost(0.0, most, "estimated"))
        return total(costs)

    async def run(self, rate: float | None, concurrency: int) -> dict[str, list[Sample]]:
        """Every mode, one after the other, over one engine."""
        from cascade.engine import Engine
        from cascade.project import open_project
        from cascade_policies.commands.hangup import reloading

        samples: dict[str, list[Sample]] = {}
        with _counting(f"asking {self.policy.name}", len(self.modes) * len(self.prompts)) as step:
            async with Engine(project=open_project(None)) as engine:
                with reloading(engine):
                    for name, changes in self.modes.items():
                        mode = _Mode(engine, self, changes, step)
                        if rate is None:
                            await mode.keep_busy(concurrency)
                        else:
                            await mode.arrive(rate)
                        samples[name] = mode.samples
        return samples


class _Mode:
    """All calls of one mode."""

    def __init__(
        self, engine: Engine, plan: Plan, changes: Overrides, step: Callable[[], None]
    ) -> None:
        self.samples: list[Sample] = []
        self._engine = engine
        self._plan = plan
        self._changes = changes
        self._step = step

    async def keep_busy(self, concurrency: int) -> None:
        import anyio

        left = iter(self._plan.prompts)

        async def worker() -> None:
            for prompt in left:
                await self._call(prompt, time.perf_counter())

        async with anyio.create_task_group() as tasks:
            for _ in range(concurrency):
                tasks.start_soon(worker)

    async def arrive(self, rate: float) -> None:
        import anyio

        random = Random(_SEED)  # noqa: S311  (no secret)
        due = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for prompt in self._plan.prompts:
                due += random.expovariate(rate)
                await anyio.sleep(max(0.0, due - time.perf_counter()))
                # Timed from when it was due: a client that is late is part of what users wait for.
                tasks.start_soon(self._call, prompt, due)

    async def _call(self, prompt: Prompt, due: float) -> None:
        plan = self._plan
        try:
            told: Any = await self._engine.run(
                plan.called, prompt, variables=plan.variables, **self._changes
            )
        except CallError as error:
            told = error
        self.samples.append(Sample.of(told, time.perf_counter() - due))
        self._step()


def read_prompts(name: str | None) -> list[Prompt]:
    """The prompts of a file, or the one built in.

    Raises:
        PromptError: the file cannot be read, has no prompt, or a line is none.
    """
    if name is None:
        write_error(f"no --prompts: every call asks {PROMPT!r}\n")
        return [PROMPT]
    lines = read_text(f"@{name}", "--prompts").split("\n")
    reads = _read_json if name.endswith(".jsonl") else _as_it_is
    prompts = [
        reads(line, f"--prompts: {name!r}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not prompts:
        raise PromptError(f"--prompts: {name!r} has no prompts: write one a line")
    return prompts


def _as_it_is(line: str, where: str) -> Prompt:
    del where
    return line.strip()


def _read_json(line: str, where: str) -> Prompt:
    import msgspec

    from cascade.types import Request

    try:
        value = msgspec.json.decode(line)
        if isinstance(value, dict):
            value = value["prompt"]
        return Request.of(value)
    except (msgspec.DecodeError, KeyError):
        raise PromptError(
            f'{where}: write a JSON text, a list of messages, or {{"prompt": …}}'
        ) from None
    except PromptError as error:
        raise PromptError(f"{where}: {error.message}") from None


@contextmanager
def _counting(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show how many are done, on a terminal; to be called for each."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)
