"""How often a test of a mean shows what is so: ours, the usual bets, and the z-test.

Part of ``python -m benchmarks.guarantee``, which says what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np

from cascade_policies.replaying.table import Array
from cascade_policies.tuning.betting import mean_test

RISK = 0.05
Z = 1.6449
CASES = ((2250, 0.02), (750, 0.05))
GAPS = (0.0, 1.5, 2.5, 3.3)
"""By how many standard errors the mean is better than the limit."""

_BETTER = 0.02  # share of the rows in which the candidate is right and the last tier wrong
_MOST = 0.75  # of what may be staked, by those who maximise growth


def power(trials: int) -> Iterator[dict[str, float]]:
    """The share of the trials in which each test passes; of GAPS 0, at most the risk should."""
    for rows, drop in CASES:
        for gap in GAPS:
            worse = _BETTER + drop - gap * sqrt((2 * _BETTER + drop) / rows)
            passed = np.zeros(3)
            for seed in range(trials):
                drawn = np.random.default_rng([seed, rows]).choice(
                    [-1.0, 0.0, 1.0], p=[worse, 1 - worse - _BETTER, _BETTER], size=rows * 4 // 3
                )
                before, values = drawn[: rows // 3], drawn[rows // 3 :]
                error = float(np.std(values)) / sqrt(len(values))
                passed += (
                    mean_test(values, -drop, low=-1.0, risk=RISK, before=before) <= RISK,
                    growing(values, -drop, before) <= RISK,
                    float(np.mean(values)) + drop > Z * error,
                )
            ours, usual, z = (passed / trials).tolist()
            yield {"rows": rows, "drop": drop, "gap": gap, "ours": ours, "growth": usual, "z": z}


def growing(values: Array, least: float, before: Array) -> float:
    """The p-value by bets that maximise the wealth's growth (aGRAPA: Waudby-Smith and Ramdas,
    2024, appendix B), of values of -1 or more."""
    gains = np.concatenate([before, values]) - least
    counts = np.arange(1, len(gains) + 1)
    mean = (np.cumsum(gains) / (counts + 1))[len(before) - 1 : -1]
    square = ((np.cumsum(gains * gains) + 0.25) / (counts + 1))[len(before) - 1 : -1]
    bets = np.clip(mean / square, 0.0, _MOST / (least + 1.0))
    wealth = np.cumsum(np.log1p(bets * (values - least)))
    return float(min(1.0, np.exp(-np.max(wealth))))
