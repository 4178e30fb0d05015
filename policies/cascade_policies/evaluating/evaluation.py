"""One evaluation: candidates measured, held against thresholds, compared, and written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from cascade.policy import Policy
from cascade_policies.evaluating.candidates import Candidate, Field, compete
from cascade_policies.evaluating.paired import LEVEL, Paired, compare, holm
from cascade_policies.evaluating.runs import (
    Run,
    ThresholdsChangedError,
    append_run,
    check_thresholds,
    read_runs,
)
from cascade_policies.evaluating.thresholds import (
    Measured,
    cheapest,
    measure,
    thresholds_sha256,
    told,
)
from cascade_policies.project.tasks import Thresholds
from cascade_policies.recordings.recording import Flags, Recording
from cascade_policies.recordings.rows import Row


@dataclass(frozen=True, eq=False)
class Comparison:
    """Against an earlier run, by candidate.

    Attributes:
        at: when that was.
        found: of each candidate that is in both.
        regressions: names of those that are worse by more than chance, all comparisons together
            (Holm) at 5%.
        broken: by candidate, ids of rows that were better then.
    """

    at: str
    found: dict[str, Paired]
    regressions: list[str]
    broken: dict[str, list[str]]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation found.

    Attributes:
        run: as it is written down.
        field: the candidates, row by row.
        measured: in figures, in the order of the candidates.
        chosen: the cheapest that meets the thresholds; None when none does, or there are none.
        subject: whether what is deployed meets them: the policy, or without one any model; None
            without thresholds.
        comparison: against the baseline, if there is one.
    """

    run: Run
    field: Field
    measured: list[Measured]
    chosen: Measured | None
    subject: bool | None
    comparison: Comparison | None = None

    @property
    def passed(self) -> bool:
        """What the exit code says: the thresholds are met, and the subject is not worse."""
        worse = self.comparison is not None and bool(self._regressed(self.comparison))
        return self.subject is not False and not worse

    def _regressed(self, comparison: Comparison) -> list[str]:
        policy = [one.name for one in self.measured if one.kind == "policy"]
        return [name for name in comparison.regressions if not policy or name in policy]


def evaluate(
    recording: Recording,
    thresholds: Thresholds,
    *,
    policy: Policy | None = None,
    task: str = "",
    positive: Any = None,
    runs: Path | None = None,
    accept_new_thresholds: bool = False,
    baseline: Run | None = None,
) -> Evaluation:
    """Evaluate the models of a recording and a policy over it.

    Args:
        recording: with qualities.
        thresholds: what is to be kept to.
        policy: replayed over the recording; None for the models alone.
        task: under which the run is written down.
        positive: the reference of the rows among which recall is measured.
        runs: the file of runs; None to write nothing and to hold nothing against it.
        accept_new_thresholds: whether they may be others than in the last run.
        baseline: an earlier run to compare with.

    Raises:
        ThresholdsChangedError: the thresholds were changed after results had been seen.
        ConfigError: the recording has not what is needed, or the file of runs cannot be used.
    """
    held = [] if runs is None else read_runs(runs)
    field_ = compete(recording, policy)
    flags = _positives(field_.recording.rows, positive)
    measured = [measure(candidate, thresholds, flags) for candidate in field_.candidates]
    chosen = cheapest(measured)
    run = Run(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        task=task,
        recording_sha256=recording.sha256,
        golden_sha256=recording.header.golden_sha256,
        scorer=recording.header.scorer,
        thresholds=told(thresholds),
        thresholds_sha256=thresholds_sha256(thresholds),
        measured=[msgspec.to_builtins(one) for one in measured],
        chosen=None if chosen is None else chosen.name,
        ids=list(field_.recording.ids),
        quality={one.name: one.quality.tolist() for one in field_.candidates},
    )
    try:
        check_thresholds(held, run)
    except ThresholdsChangedError:
        if not accept_new_thresholds:
            raise
        run = replace(run, accepted_new_thresholds=True)
    if runs is not None:
        append_run(runs, run)
    return Evaluation(
        run=run,
        field=field_,
        measured=measured,
        chosen=chosen,
        subject=_subject(measured),
        comparison=None if baseline is None else _against(baseline, field_),
    )


def worst(field_: Field, count: int, name: str) -> list[tuple[Row, Candidate, int]]:
    """The rows on which a candidate did worst, those first on which others did best."""
    candidate = next(one for one in field_.candidates if one.name == name)
    others = np.mean([one.quality for one in field_.candidates], axis=0)
    order = sorted(range(len(field_.recording)),
                   key=lambda at: (candidate.quality[at], -others[at], at))  # fmt: skip
    rows = field_.recording.rows
    bad = [at for at in order if candidate.quality[at] < 1]
    return [(rows[at], candidate, at) for at in bad[:count]]


def _positives(rows: Sequence[Row], positive: Any) -> Flags:
    found = [
        row.metadata.get("positive") is True or (positive is not None and row.reference == positive)
        for row in rows
    ]
    return np.array(found, dtype=np.bool_)


def _subject(measured: Sequence[Measured]) -> bool | None:
    if not measured or not measured[0].checks:
        return None
    policies = [one for one in measured if one.kind == "policy"]
    return any(one.meets for one in (policies or measured))


def _against(baseline: Run, field_: Field) -> Comparison:
    before_at = {id_: index for index, id_ in enumerate(baseline.ids)}
    ids = field_.recording.ids
    common = [index for index, id_ in enumerate(ids) if id_ in before_at]
    found: dict[str, Paired] = {}
    broken: dict[str, list[str]] = {}
    for candidate in field_.candidates:
        if candidate.name not in baseline.quality or not common:
            continue
        held = baseline.quality[candidate.name]
        now = candidate.quality[common]
        before = np.array([held[before_at[ids[index]]] for index in common], dtype=np.float64)
        found[candidate.name] = compare(now, before)
        worse = np.flatnonzero(now < before)
        broken[candidate.name] = [ids[common[at]] for at in worse]
    real = holm({name: pair.p for name, pair in found.items()}, LEVEL)
    regressions = [name for name in found if name in real and found[name].difference < 0]
    return Comparison(baseline.at, found, regressions, broken)
