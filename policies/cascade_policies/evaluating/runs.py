"""The runs so far, in a file beside the recording: what was found, against which thresholds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, ValidationError, convert

from cascade.errors import ConfigError
from cascade_policies.data_lines import DataFileError, read_objects
from cascade_policies.recordings.files import cut_half_a_line

SUFFIX: Final = ".runs.jsonl"


class ThresholdsChangedError(ConfigError):
    """The thresholds are others than those that were there when results were first seen."""


class Run(Struct, frozen=True, kw_only=True):
    """One evaluation.

    Attributes:
        at: when, in ISO 8601.
        task: of the task or policy; "" for a recording's models alone.
        recording_sha256, golden_sha256, scorer: what it was made of.
        thresholds: those that were set; ``thresholds_sha256`` is of these.
        accepted_new_thresholds: whether they were changed after results had been seen.
        measured: every candidate in figures.
        chosen: the cheapest that meets the thresholds, or None.
        ids: of the rows.
        quality: of each candidate, by its name, in the order of the rows.
    """

    at: str
    task: str
    recording_sha256: str
    thresholds: dict[str, float]
    thresholds_sha256: str
    ids: list[str]
    quality: dict[str, list[float]]
    measured: list[dict[str, Any]]
    chosen: str | None = None
    golden_sha256: str | None = None
    scorer: dict[str, Any] | None = None
    accepted_new_thresholds: bool = False


def runs_path(recording: Path) -> Path:
    """Where the runs on a recording are kept."""
    name = recording.name
    for ending in (".gz", ".jsonl"):
        name = name.removesuffix(ending)
    return recording.with_name(name + SUFFIX)


def read_runs(path: Path) -> list[Run]:
    """The runs of a file, the first one first; none where there is no file.

    Raises:
        DataFileError: it cannot be read, or is no such file.
    """
    if not path.exists():
        return []
    runs = []
    for number, data in read_objects(path):
        try:
            run = convert(data, Run)
        except ValidationError as error:
            raise DataFileError(f"is no run: {error}", file=path, line=number) from None
        if any(len(values) != len(run.ids) for values in run.quality.values()):
            raise DataFileError("is no run: qualities without rows", file=path, line=number)
        runs.append(run)
    return runs


def last_run(path: Path, task: str) -> Run:
    """The last run of the task in a file, to compare with.

    Raises:
        DataFileError: there is none.
    """
    found = [run for run in read_runs(path) if run.task == task]
    if not found:
        raise DataFileError(f"has no run of {task!r} to compare with", file=path)
    return found[-1]


def check_thresholds(runs: Sequence[Run], run: Run) -> None:
    """Refuse thresholds that were changed after results had been seen.

    Raises:
        ThresholdsChangedError: they are others than in the last run of the task.
    """
    before = next((one for one in reversed(runs) if one.task == run.task), None)
    if before is None or before.thresholds_sha256 == run.thresholds_sha256:
        return
    raise ThresholdsChangedError(
        f"the thresholds were {_shown(before.thresholds)} when results were seen ({before.at}), "
        f"and are {_shown(run.thresholds)} now: put them back, or pass --accept-new-thresholds, "
        "which is written down"
    )


def _shown(thresholds: Mapping[str, float]) -> str:
    return ", ".join(f"{key} = {value:g}" for key, value in thresholds.items()) or "none"


def append_run(path: Path, run: Run) -> None:
    """Add a run to the file, on the disk when this returns.

    Raises:
        DataFileError: it cannot be written.
    """
    try:
        with path.open("a+b") as file:
            cut_half_a_line(file)
            file.write(msgspec.json.encode(run) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        message = f"cannot be written: {error.strerror}: give another file with --runs"
        raise DataFileError(message, file=path) from None
