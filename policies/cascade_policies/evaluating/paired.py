"""Whether two runs over the same rows differ by more than chance."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import comb
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL: Final = 0.05
_EXACT: Final = 16
"""Differences up to which all 2^n signs are tried."""

_DRAWS: Final = 20_000
_SEED: Final = 1


class Paired(NamedTuple):
    """A comparison, row by row.

    Attributes:
        rows: in both runs.
        difference: mean quality now, less that before.
        better, worse: rows whose quality rose and fell.
        p: two-sided; ``test`` is ``mcnemar`` (exact) or ``sign-flip``.
    """

    rows: int
    difference: float
    better: int
    worse: int
    p: float
    test: str


def compare(now: NDArray[np.float64], before: NDArray[np.float64]) -> Paired:
    """Compare qualities of the same rows: McNemar's exact test where all are 0 or 1, else a test
    that flips the signs of the differences (exact for up to 16 of them that are not 0)."""
    difference = now - before
    better, worse = int((difference > 0).sum()), int((difference < 0).sum())
    graded = not bool(np.isin(np.concatenate([now, before]), (0.0, 1.0)).all())
    p = _sign_flip(difference[difference != 0]) if graded else mcnemar(better, worse)
    mean = float(difference.mean()) if len(difference) else 0.0
    return Paired(len(now), mean, better, worse, p, "sign-flip" if graded else "mcnemar")


def mcnemar(better: int, worse: int) -> float:
    """The exact two-sided p of so many rows that changed for the better and for the worse."""
    count, least = better + worse, min(better, worse)
    if better == worse:
        return 1.0
    tail = sum(comb(count, k) for k in range(least + 1))
    return min(1.0, float(Fraction(2 * tail, 1 << count)))


def _sign_flip(differences: NDArray[np.float64]) -> float:
    count = len(differences)
    if count == 0:
        return 1.0
    seen = abs(float(differences.sum()))
    slack = 1e-9 * float(np.abs(differences).sum())  # equal sums of floats differ by roundings
    if count <= _EXACT:
        bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        sums = np.abs((2 * bits - 1) @ differences)
        return float((sums >= seen - slack).mean())
    random = np.random.default_rng(_SEED)
    beyond = 0
    for _ in range(_DRAWS // 1000):
        signs = 2 * random.integers(0, 2, (1000, count), dtype=np.int8) - 1
        beyond += int((np.abs(signs @ differences) >= seen - slack).sum())
    return (beyond + 1) / (_DRAWS + 1)


def holm(found: Mapping[str, float], level: float = LEVEL) -> set[str]:
    """Of several comparisons, those that are real with the chance of any error at most ``level``
    (Holm 1979)."""
    real: set[str] = set()
    for index, (name, p) in enumerate(sorted(found.items(), key=lambda item: item[1])):
        if p > level / (len(found) - index):
            break
        real.add(name)
    return real
