"""``cascade eval``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.errors import ConfigError
from cascade_policies.commands.errors import ACCEPTED, NOT_ACCEPTED

if TYPE_CHECKING:
    from cascade_policies.evaluating import Evaluation
    from cascade_policies.project.tasks import Thresholds
    from cascade_policies.recordings import Recording


def evaluate(
    task: str | None = None,
    /,
    *,
    recording: str | None = None,
    golden: str | None = None,
    baseline: str | None = None,
    runs: str | None = None,
    worst: int = 0,
    accept_new_thresholds: bool = False,
    min_accuracy: float | None = None,
    min_recall: float | None = None,
    max_latency_p95: float | None = None,
    max_cost_per_call: float | None = None,
    max_cost: float | None = None,
    rate: float | None = None,
    concurrency: int = 4,
    scorer: str | None = None,
    json: bool = False,
) -> int:
    """Measure every model and the policy on a golden set: quality, cost, latency, thresholds.

    Exit code 0 when the policy meets its thresholds (or there are none), 3 when it does not, or
    is worse than the baseline by more than chance. What is not recorded yet is asked, unless
    --recording says what to go by.

    Parameters
    ----------
    task
        A task of cascade.toml, a policy file, or the name of a policy; without one the models of
        --recording alone, or every task that has a golden set.
    recording
        A recording to go by: nothing is asked.
    golden
        The golden set; by default the task's own. Its recording beside it is gone on with.
    baseline
        A file of runs: its last one of this task is compared with, row by row.
    runs
        The file of runs; by default beside the recording.
    worst
        Show so many of the worst rows, of the policy or else of the model chosen.
    accept_new_thresholds
        Go on although the thresholds are others than when results were seen; it is written down.
    min_accuracy
        In place of the task's own: mean quality, from 0 to 1.
    min_recall
        Mean quality on the positives, from 0 to 1.
    max_latency_p95
        Seconds within which 95% of the calls end.
    max_cost_per_call
        US dollars of a call, on average.
    max_cost
        US dollars that asking what is missing may cost.
    rate
        Calls begun in a minute, at the most.
    concurrency
        Calls at a time.
    scorer
        As in `cascade record`.
    json
        Write one JSON object.
    """
    given: dict[str, float | None] = {
        "min_accuracy": min_accuracy,
        "min_recall": min_recall,
        "max_latency_p95": max_latency_p95,
        "max_cost_per_call": max_cost_per_call,
    }
    options = {"scorer": scorer, "max_cost": max_cost, "rate": rate, "concurrency": concurrency}
    if recording is not None and golden is not None:
        raise ConfigError("--golden: give this or --recording, not both")
    found = []
    for name in _names(task, recording):
        found.append(
            _one(
                name,
                recording,
                golden,
                given,
                options,
                baseline=None if baseline is None else Path(baseline),
                runs=None if runs is None else Path(runs),
                accept=accept_new_thresholds,
            )
        )
    from cascade_policies.commands.evaluate_report import shapes, show_all

    if json:
        from cascade_policies.commands.shape import write_json

        write_json(shapes(found, worst))
    else:
        show_all(found, worst)
    return ACCEPTED if all(one.passed for _, one in found) else NOT_ACCEPTED


def _names(task: str | None, recording: str | None) -> list[str | None]:
    if task is not None or recording is not None:
        return [task]
    from cascade_policies.commands.subject import golden_tasks

    names: list[str | None] = [*golden_tasks()]
    if not names:
        raise ConfigError("name a task or a policy, or give a --recording")
    return names


def _one(
    name: str | None,
    recording: str | None,
    golden: str | None,
    given: dict[str, float | None],
    options: dict[str, Any],
    *,
    baseline: Path | None,
    runs: Path | None,
    accept: bool,
) -> tuple[Recording, Evaluation]:
    from cascade_policies.commands.subject import find_subject, record_now, recording_path
    from cascade_policies.evaluating import evaluate as measure
    from cascade_policies.evaluating import last_run, runs_path
    from cascade_policies.project.tasks import Thresholds
    from cascade_policies.recordings import Recording

    subject = None if name is None else find_subject(name)
    thresholds = Thresholds() if subject is None else subject.thresholds
    positive = None
    if recording is not None:
        held = Recording.load(Path(recording).expanduser())
        if subject is not None and subject.golden is not None:
            positive = subject.golden_set(None).positive
    else:
        assert subject is not None
        rows = subject.golden_set(golden)
        positive, path = rows.positive, recording_path(subject, rows)
        done = record_now(subject, rows, path=path, **options)
        if done.stopped is not None:
            raise ConfigError(f"not all of {path} could be recorded: {done.stopped}")
        held = done.recording
    assert held.path is not None
    task = "" if subject is None else subject.name
    return held, measure(
        held,
        _thresholds(thresholds, given),
        policy=None if subject is None else subject.policy,
        task=task,
        positive=positive,
        runs=runs_path(held.path) if runs is None else runs,
        accept_new_thresholds=accept,
        baseline=None if baseline is None else last_run(baseline, task),
    )


def _thresholds(own: Thresholds, given: dict[str, float | None]) -> Thresholds:
    from dataclasses import replace

    changed = {key: value for key, value in given.items() if value is not None}
    for key, value in changed.items():
        option = f"--{key.replace('_', '-')} {value}"
        if key.startswith("min") and not 0 <= value <= 1:
            raise ConfigError(f"{option}: needs a number in [0, 1]")
        if key.startswith("max") and not 0 < value < float("inf"):
            raise ConfigError(f"{option}: needs a number above 0")
    return replace(own, **changed)
