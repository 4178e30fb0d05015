"""``python -m benchmarks.guarantee``, on a small scale."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from benchmarks.guarantee import Case, bound, trial
from benchmarks.guarantee_worlds import optimum, synthetic
from cascade_policies.replaying import UNCHECKED, Evaluator, Settings


def test_the_synthetic_world_is_what_it_is_said_to_be() -> None:
    world = synthetic(3, 60_000)
    assert world.quality.mean(axis=0) == pytest.approx([0.72, 0.85, 0.93], abs=0.01)
    right = world.quality[:, 0] == 1
    scores = world.score[:, 0]
    random = np.random.default_rng(0)
    pairs = random.choice(scores[right], 40_000) > random.choice(scores[~right], 40_000)
    assert pairs.mean() == pytest.approx(0.86, abs=0.01)


def test_the_optimum_is_the_best_of_all() -> None:
    world = synthetic(4, 60)
    floor = world.quality[:, 2].mean() - 0.1 - 1e-12
    first, second = (sorted(set(world.score[:, k].tolist())) for k in (0, 1))
    every = [Settings((0, 1, 2), (a, b, UNCHECKED)) for a, b in product(first, second)]
    every += [Settings((k, 2), (a, UNCHECKED)) for k, some in ((0, first), (1, second))
              for a in some]  # fmt: skip
    every += [Settings((0, 1), (a, UNCHECKED)) for a in first]
    every += [Settings((k,), (UNCHECKED,)) for k in range(3)]
    means = Evaluator(world).means(every)
    assert optimum(world, 0.1) == pytest.approx(means.cost_high[means.quality >= floor].min())


def test_a_trial_has_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import guarantee

    monkeypatch.setattr(guarantee, "population", lambda name: synthetic(5, 4000))
    certified, naive = trial(Case("synthetic", 400, 0.08), 1)
    assert 0 < certified[1] <= 0.037
    assert 0 < naive[1] <= 0.037
    assert bound(1000) == pytest.approx(0.0638, abs=1e-4)
