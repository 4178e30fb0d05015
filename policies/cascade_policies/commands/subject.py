"""What `cascade record` and `cascade eval` are about: a policy, its golden set and its scorer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cascade.errors import ConfigError, PromptError
from cascade.policy import Policy
from cascade_policies.golden.golden_set import GoldenSet
from cascade_policies.golden.registry import as_scorer
from cascade_policies.golden.scorer import Scorer
from cascade_policies.project.current import current_project
from cascade_policies.project.tasks import Task, Thresholds
from cascade_policies.search import find_policy_file

if TYPE_CHECKING:
    from cascade_policies.recordings.task import Recorded

SUFFIX = ".recording.jsonl.gz"


@dataclass(frozen=True)
class Subject:
    """A policy and what is known of it.

    Attributes:
        name: of the task or policy.
        policy: of that name.
        thresholds: what the task must keep to.
        golden: its golden set, or None.
    """

    name: str
    policy: Policy
    thresholds: Thresholds
    golden: Path | None

    def golden_set(self, given: str | None) -> GoldenSet:
        """The golden set that is given, or the task's own.

        Raises:
            ConfigError: there is none, or it is wrong.
        """
        path = self.golden if given is None else Path(given).expanduser()
        if path is None:
            raise ConfigError(
                f"{self.name!r} has no golden set: give one with --golden, or "
                f'golden = "FILE" in [tasks.{self.name}] of cascade.toml'
            )
        return GoldenSet.load(path)


def find_subject(reference: str) -> Subject:
    """The task of the project, or the policy file, that is meant.

    Raises:
        ConfigError: there is none, or it has a mistake.
    """
    task = _tasks().get(reference)
    if task is not None:
        return Subject(task.name, task.policy, task.thresholds, task.golden)
    policy = find_policy_file(reference).policy
    return Subject(policy.name, policy, Thresholds(), None)


def golden_tasks() -> list[str]:
    """Names of the project's tasks that have a golden set."""
    return [name for name, task in _tasks().items() if task.golden is not None]


def _tasks() -> Mapping[str, Task]:
    project = current_project()
    return {} if project is None else project.tasks


def scorer_of(given: str | None, golden: GoldenSet) -> tuple[Scorer, dict[str, Any]]:
    """The scorer that is given (a name, or a JSON object with a name and arguments), or the golden
    set's own.

    Raises:
        ScorerError: there is none of that name, or an argument is unfit.
    """
    if given is None:
        return as_scorer(golden.scorer)
    if ":" in given and "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` has it: one's own module here can be named
    if not given.lstrip().startswith("{"):
        return as_scorer(given)
    try:
        return as_scorer(msgspec.json.decode(given.encode(), type=dict[str, Any]))
    except (msgspec.DecodeError, RecursionError) as error:
        raise PromptError(f"--scorer: is no JSON object: {error}") from None


def recording_path(subject: Subject, golden: GoldenSet) -> Path:
    """Where the recording is, unless it is said: beside the golden set."""
    assert golden.path is not None
    name = golden.path.name
    for ending in (".gz", ".jsonl", ".csv"):
        name = name.removesuffix(ending)
    return golden.path.with_name(f"{name}.{subject.name}{SUFFIX}")


def record_now(
    subject: Subject,
    golden: GoldenSet,
    *,
    scorer: str | None,
    path: Path,
    samples: int = 1,
    max_cost: float | None = None,
    rate: float | None = None,
    concurrency: int = 4,
) -> Recorded:
    """Record what is missing.

    Raises:
        ConfigError, PromptError: it cannot be done.
        ProviderError: a model cannot be asked at all.
    """
    import anyio

    from cascade.engine import Engine
    from cascade.project import open_project
    from cascade_policies.recordings.allowance import Allowance
    from cascade_policies.recordings.recorder import Recorder
    from cascade_policies.recordings.task import Task

    if max_cost is not None and not 0 < max_cost < float("inf"):
        raise ConfigError(f"--max-cost {max_cost}: needs US dollars, above 0")
    made, scored_by = scorer_of(scorer, golden)
    task = Task(
        policy=subject.policy,
        golden=golden,
        scorer=made,
        scored_by=scored_by,
        path=path,
        samples=samples,
        concurrency=concurrency,
        rate=rate,
    )
    source = open_project(None)
    inner = None if source is None else source.settings().get("budget")
    allowance = Allowance(max_cost, inner) if max_cost is not None or inner is not None else None

    async def run() -> Recorded:
        with _counting(f"recording {subject.name}") as step:
            async with Engine(budget=allowance) as engine:
                return await Recorder(engine, task, step).run()

    return anyio.run(run)


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; to be called for each that is done, with how many there are."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)

        def step(total: int) -> None:
            progress.update(task, total=total, advance=1)

        yield step
