"""Candidates against thresholds that were written down beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cascade import Policy, Tier
from cascade.errors import ConfigError
from cascade.verifiers import Number, OneOf
from cascade_policies.data_lines import DataFileError
from cascade_policies.evaluating import (
    Evaluation,
    ThresholdsChangedError,
    compete,
    evaluate,
    last_run,
    worst,
)
from cascade_policies.evaluating.runs import read_runs
from cascade_policies.project.tasks import Thresholds
from cascade_policies.recordings import (
    Header,
    RecordedAnswer,
    RecordedVerdict,
    Recording,
    Row,
)
from cascade_policies.recordings.identity import identities

POLICY = Policy(
    "p", [Tier("openai:s", name="small", verify=Number()), Tier("openai:b", name="big")]
)


def answer(
    correct: Any, cost: float, latency: float, accepted: bool | None = None
) -> RecordedAnswer:
    verdicts = {}
    if accepted is not None:
        outcome = "accepted" if accepted else "rejected"
        verdicts["Number"] = RecordedVerdict(outcome=outcome)
    return RecordedAnswer(
        output="x", correct=correct, cost_usd=cost, latency=latency, verdicts=verdicts
    )


def recording(
    small: Sequence[Any], big: Sequence[Any], accepted: Sequence[bool] | None = None
) -> Recording:
    said = accepted or [bool(one) for one in small]
    rows = [
        Row(
            id=f"r{at}",
            prompt=f"prompt {at}",
            reference="yes" if at % 2 else "no",
            models={"small": answer(s, 1.0, 0.5, said[at]), "big": answer(b, 8.0, 2.0)},
        )
        for at, (s, b) in enumerate(zip(small, big, strict=True))
    ]
    found = identities(POLICY)
    header = Header(policy="p", models=found.models, verifiers=found.verifiers)
    return Recording(tuple(rows), header)


HALF = recording([True, False] * 10, [True] * 20)


def figures(found: Evaluation) -> dict[str, Any]:
    return {
        one.name: (one.score.mean, one.cost, one.p50, one.p95, one.meets) for one in found.measured
    }


def test_each_model_and_the_policy_are_measured() -> None:
    wanted = Thresholds(min_accuracy=0.9, max_cost_per_call=6.0)
    found = evaluate(HALF, wanted, policy=POLICY, task="p")
    assert figures(found) == {
        "small": (0.5, 1.0, 0.5, 0.5, False),
        "big": (1.0, 8.0, 2.0, 2.0, False),
        "p": (1.0, 5.0, 0.5, 2.5, True),
    }
    assert found.chosen is not None
    assert (found.chosen.name, found.subject, found.passed) == ("p", True, True)


def test_the_cheapest_that_meets_them_is_picked() -> None:
    found = evaluate(HALF, Thresholds(min_accuracy=0.5), policy=POLICY, task="p")
    assert found.chosen is not None
    assert found.chosen.name == "small"
    none = evaluate(HALF, Thresholds(max_latency_p95=0.1), policy=POLICY, task="p")
    assert (none.chosen, none.passed) == (None, False)
    without = evaluate(HALF, Thresholds())
    assert (without.chosen, without.subject, without.passed) == (None, None, True)


def test_a_cost_that_is_not_known_meets_nothing() -> None:
    rows = tuple(
        Row(id=row.id, models={"m": RecordedAnswer(output="x", correct=True)}) for row in HALF.rows
    )
    found = evaluate(Recording(rows), Thresholds(max_cost_per_call=1e9, max_latency_p95=1e9))
    assert figures(found) == {"m": (1.0, None, None, None, False)}


def test_recall_is_of_the_positives() -> None:
    found = evaluate(HALF, Thresholds(min_recall=0.5), positive="no")
    assert [one.recall for one in found.measured] == [1.0, 1.0]
    found = evaluate(HALF, Thresholds(min_recall=0.5), positive="yes")
    assert [one.recall for one in found.measured] == [0.0, 1.0]
    with pytest.raises(ConfigError, match="min_recall: no row is a positive"):
        evaluate(HALF, Thresholds(min_recall=0.5))


def test_an_answer_that_no_scorer_could_read_is_no_gain() -> None:
    field = compete(recording([True, None, None], [False, True, None]))
    assert field.recording.ids == ("r0", "r1")
    assert field.unscorable == ["r2"]
    assert field.doubtful == {"small": 1}
    assert field.candidates[0].quality.tolist() == [1.0, 0.0]


def test_rows_that_were_not_asked_of_all_are_left_out() -> None:
    rows = [*HALF.rows[:2], Row(id="z", models={"small": answer(True, 1.0, 1.0)})]
    field = compete(Recording(tuple(rows), HALF.header))
    assert (len(field.recording), field.unasked) == (2, 1)
    with pytest.raises(ConfigError, match="no row can be compared"):
        compete(recording([None], [None], [True]))


def test_a_policy_with_another_verifier_is_not_replayed() -> None:
    other = Policy(
        "p", [Tier("openai:s", name="small", verify=OneOf(["a"])), Tier("openai:b", name="big")]
    )
    with pytest.raises(ConfigError, match="was recorded otherwise: the verifier of 'small'"):
        compete(HALF, other)
    with pytest.raises(ConfigError, match="the model of 'big' is another one"):
        compete(HALF, Policy("p", [Tier("openai:x", name="big")]))


def test_thresholds_are_written_down_before_results_are_seen(tmp_path: Path) -> None:
    runs = tmp_path / "r.runs.jsonl"
    evaluate(HALF, Thresholds(min_accuracy=0.9), task="p", runs=runs)
    evaluate(HALF, Thresholds(min_accuracy=0.9), task="p", runs=runs)
    for changed in (Thresholds(min_accuracy=0.8), Thresholds()):
        with pytest.raises(ThresholdsChangedError, match=r"were min_accuracy = 0\.9 when results"):
            evaluate(HALF, changed, task="p", runs=runs)
    assert len(read_runs(runs)) == 2
    evaluate(HALF, Thresholds(), task="another", runs=runs)
    evaluate(HALF, Thresholds(min_accuracy=0.8), task="p", runs=runs, accept_new_thresholds=True)
    evaluate(HALF, Thresholds(min_accuracy=0.8), task="p", runs=runs)
    assert [(run.task, run.accepted_new_thresholds) for run in read_runs(runs)] == [
        ("p", False), ("p", False), ("another", False), ("p", True), ("p", False),
    ]  # fmt: skip


def test_a_run_that_was_cut_off_is_not_in_the_way(tmp_path: Path) -> None:
    runs = tmp_path / "r.runs.jsonl"
    evaluate(HALF, Thresholds(), task="p", runs=runs)
    runs.write_bytes(runs.read_bytes() * 2)
    runs.write_bytes(runs.read_bytes()[:-30])
    with pytest.raises(DataFileError, match="not a JSON object"):
        read_runs(runs)
    runs.write_bytes(runs.read_bytes().splitlines(keepends=True)[0])
    assert last_run(runs, "p").ids == list(HALF.ids)
    with pytest.raises(DataFileError, match="no run of 'q'"):
        last_run(runs, "q")


def test_a_regression_is_named(tmp_path: Path) -> None:
    runs = tmp_path / "r.runs.jsonl"
    evaluate(HALF, Thresholds(), policy=POLICY, task="p", runs=runs)
    worse = recording([True, False] * 10, [False] * 16 + [True] * 4)
    found = evaluate(worse, Thresholds(), policy=POLICY, task="p", baseline=last_run(runs, "p"))
    assert found.comparison is not None
    assert found.comparison.regressions == ["big", "p"]
    assert found.comparison.found["p"].worse == 8
    assert found.comparison.broken["p"] == [f"r{at}" for at in range(1, 16, 2)]
    assert not found.passed
    same = evaluate(HALF, Thresholds(), policy=POLICY, task="p", baseline=last_run(runs, "p"))
    assert same.comparison is not None
    assert (same.comparison.regressions, same.passed) == ([], True)


def test_the_worst_rows_are_those_that_others_got_right() -> None:
    field = compete(recording([True, False, False, False], [True, False, True, False]))
    assert [row.id for row, _, _ in worst(field, 2, "small")] == ["r2", "r1"]
    assert [row.id for row, _, _ in worst(field, 9, "small")] == ["r2", "r1", "r3"]
