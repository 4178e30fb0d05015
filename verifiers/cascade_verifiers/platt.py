"""Platt's logistic curve, fitted by Newton's method.

The smoothed targets are Platt's: "Probabilistic outputs for support vector machines and
comparisons to regularized likelihood methods" (1999). The iteration is that of Lin, Lin and Weng,
"A note on Platt's probabilistic outputs for support vector machines", Machine Learning 68 (2007),
Appendix C: their ridge, their backtracking, and log-likelihoods in which nothing cancels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_MOST_STEPS = 100
_RIDGE = 1e-12
_SMALLEST_STEP = 1e-10
_FLAT = 1e-9


def logistic(x: float) -> float:
    """``1 / (1 + exp(-x))``, for any x."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    odds = math.exp(x)
    return odds / (1.0 + odds)


def fit_logistic(scores: Sequence[float], correct: Sequence[bool]) -> tuple[float, float]:
    """Slope (0 or more) and intercept of the most likely curve.

    The scores are brought to mean 0 and spread 1 first: the curve is the same, and neither large
    nor tiny scores hurt. A falling curve is levelled: a higher score never means less.
    """
    right = sum(correct)
    wrong = len(correct) - right
    high, low = (right + 1) / (right + 2), 1 / (wrong + 2)
    targets = [high if label else low for label in correct]
    level = math.fsum(targets) / len(targets)
    flat = 0.0, math.log(level / (1 - level))
    largest = max(map(abs, scores)) or 1.0
    scaled = [score / largest for score in scores]
    mean = math.fsum(scaled) / len(scaled)
    spread = math.sqrt(math.fsum((s - mean) ** 2 for s in scaled) / len(scaled))
    if spread < _FLAT:
        return flat
    points = [(score - mean) / spread for score in scaled]
    slope, intercept = _newton(points, targets, flat[1])
    if slope <= 0:
        return flat
    found = slope / spread / largest, intercept - slope * mean / spread
    return found if all(map(math.isfinite, found)) else flat


def _newton(
    points: Sequence[float], targets: Sequence[float], intercept: float
) -> tuple[float, float]:
    slope = 0.0
    loss = _loss(points, targets, slope, intercept)
    for _ in range(_MOST_STEPS):
        h11 = h22 = _RIDGE
        h21 = g1 = g2 = 0.0
        for x, t in zip(points, targets, strict=True):
            p = logistic(slope * x + intercept)
            weight, miss = p * (1 - p), p - t
            h11 += x * x * weight
            h22 += weight
            h21 += x * weight
            g1 += x * miss
            g2 += miss
        if abs(g1) < 1e-7 and abs(g2) < 1e-7:
            break
        determinant = h11 * h22 - h21 * h21
        step1 = -(h22 * g1 - h21 * g2) / determinant
        step2 = -(h11 * g2 - h21 * g1) / determinant
        descent = g1 * step1 + g2 * step2
        size = 1.0
        while size >= _SMALLEST_STEP:
            tried = _loss(points, targets, slope + size * step1, intercept + size * step2)
            if tried < loss + 1e-4 * size * descent:
                break
            size /= 2
        else:
            break  # no step is better: as near as rounding lets it come
        slope, intercept, loss = slope + size * step1, intercept + size * step2, tried
    return slope, intercept


def _loss(
    points: Sequence[float], targets: Sequence[float], slope: float, intercept: float
) -> float:
    total = 0.0
    for x, t in zip(points, targets, strict=True):
        z = slope * x + intercept
        total += (
            (1 - t) * z + math.log1p(math.exp(-z)) if z >= 0 else (-t * z + math.log1p(math.exp(z)))
        )
    return total
