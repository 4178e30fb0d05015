"""How well `Learned` tells right answers from wrong ones, on recorded answers.

    python -m benchmarks.learned [SET.jsonl.gz] [--model NAME] ...

For each model of a recording, fitted on a random half of the prompts and measured on the other
half: the area under the ROC curve (0.5 is chance) with a 95% bootstrap interval over prompts,
that of the answer's length alone, and calibration error (ECE) and Brier score, the latter
beside that of always stating the training half's share of right answers; and the microseconds
that scoring one answer took. A model with under 20
wrong answers in either half is left out, and said so.

The data lie in $CASCADE_DATA, by default ../shared/data.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

from cascade.types import Answer, Request
from cascade_verifiers.calibrating import brier_score, calibration_error
from cascade_verifiers.learned import fit_learned

SET = "zeroeval_gsm.jsonl.gz"
FEWEST = 20
RESAMPLES = 1000

Row = tuple[Request, Answer, bool]


def auroc(scores: Sequence[float], correct: Sequence[bool]) -> float:
    """The chance that a right answer scores higher than a wrong one; ties count half."""
    order = sorted(zip(scores, correct, strict=True), key=itemgetter(0))
    wins = wrong_below = 0.0
    for _, tied in groupby(order, key=itemgetter(0)):
        labels = [label for _, label in tied]
        right = sum(labels)
        wrong = len(labels) - right
        wins += right * (wrong_below + wrong / 2)
        wrong_below += wrong
    return wins / (sum(correct) * wrong_below)


def interval(scores: Sequence[float], correct: Sequence[bool]) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of `auroc`."""
    random = Random(0)  # noqa: S311  (resampling, no secret)
    found: list[float] = []
    while len(found) < RESAMPLES:
        drawn = random.choices(range(len(scores)), k=len(scores))
        labels = [correct[i] for i in drawn]
        if len(set(labels)) == 2:
            found.append(auroc([scores[i] for i in drawn], labels))
    found.sort()
    return found[RESAMPLES * 25 // 1000], found[RESAMPLES * 975 // 1000 - 1]


def halves(rows: Sequence[dict[str, Any]], model: str) -> tuple[list[Row], list[Row]]:
    """The model's answers to a fixed random half of the prompts, and to the others."""
    train: list[Row] = []
    test: list[Row] = []
    random = Random(0)  # noqa: S311  (a split, no secret)
    for row in rows:
        half = train if random.random() < 0.5 else test
        given = row["models"].get(model)
        if given is not None and isinstance(given["output"], str):
            answer = Answer(given["output"], finish_reason=given.get("finish_reason"))
            half.append((Request.of(row["prompt"]), answer, bool(given["correct"])))
    return train, test


def measure(rows: Sequence[dict[str, Any]], model: str) -> str:
    """One line of the table."""
    train, test = halves(rows, model)
    for half in (train, test):
        if sum(not correct for *_, correct in half) < FEWEST:
            return f"{model[:32]:32}  left out: under {FEWEST} wrong answers in a half"
    learned = fit_learned(train)
    began = perf_counter()
    scores = [learned.score(request, answer) or 0.0 for request, answer, _ in test]
    took = (perf_counter() - began) / len(test)
    correct = [label for *_, label in test]
    low, high = interval(scores, correct)
    shorter = auroc([-float(len(answer.text)) for _, answer, _ in test], correct)
    prior = sum(label for *_, label in train) / len(train)
    return (
        f"{model[:32]:32} {len(train):6} {len(test):6} {sum(correct) / len(correct):7.3f} "
        f"{auroc(scores, correct):7.3f} [{low:.3f}, {high:.3f}] {shorter:8.3f} "
        f"{calibration_error(scores, correct):7.3f} {brier_score(scores, correct):7.3f} "
        f"{brier_score([prior] * len(test), correct):7.3f} {took * 1e6:5.0f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", nargs="?", default=SET)
    parser.add_argument("--model", action="append", help="only this one; may be repeated")
    given = parser.parse_args()
    folder = Path(os.environ.get("CASCADE_DATA", "../shared/data"))
    with gzip.open(folder / given.set, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    print(f"{given.set}: {len(rows)} prompts")
    print(f"{'model':32} {'train':>6} {'test':>6} {'right':>7} {'AUROC':>7} {'95% interval':16} "
          f"{'shorter':>8} {'ECE':>7} {'Brier':>7} {'prior':>7} {'µs':>5}")  # fmt: skip
    for model in given.model or sorted(rows[0]["models"]):
        print(measure(rows, model), flush=True)


if __name__ == "__main__":
    main()
