"""`calibrated`: any scoring verifier with a calibrator behind it; and how good its numbers are."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from copy import copy
from typing import Any

from msgspec.structs import replace

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict, Verifier
from cascade.verify import Check, CostClass, as_verifier, verifier_name
from cascade_verifiers.algebra import Composable
from cascade_verifiers.asking import group
from cascade_verifiers.calibration import Calibrator, calibrator_of
from cascade_verifiers.composable import not_applicable


def calibrated(
    check: Check, calibrator: Calibrator | Mapping[str, Any], *, threshold: float = 0.5
) -> Verifier:
    """``check`` with its scores turned into probabilities of being right.

    It accepts from ``threshold`` on, which is now such a probability. What the check rejects
    whatever its threshold is (a hard check beside the score) stays rejected, and an abstention
    stays one.

    Args:
        check: a verifier that has scores, or a function that returns them.
        calibrator: what `fit_calibrator` made, or its ``to_dict()``.
        threshold: the probability from which it accepts.

    Raises:
        ConfigError: the check gives no scores, or a value is impossible.
    """
    own = getattr(check, "with_calibrator", None)
    if own is not None:
        made: Verifier = own(calibrator, threshold=threshold)
        return made
    return Calibrated(check, calibrator, threshold=threshold)


class Calibrated(Composable):
    """A check and a calibrator; see `calibrated`, which makes it."""

    def __init__(
        self,
        check: Check,
        calibrator: Calibrator | Mapping[str, Any],
        *,
        threshold: float = 0.5,
    ) -> None:
        inner = as_verifier(check)
        lower = getattr(inner, "with_threshold", None)
        if lower is None:
            name = verifier_name(inner)
            raise ConfigError(f"calibrator: does nothing, as {name} gives no scores")
        # With the threshold at the bottom, what is still rejected is not so for its score.
        self.inner: Verifier = lower(0.0)
        self.calibrator = calibrator_of(calibrator)
        self.threshold = checked_threshold(threshold)
        cost: CostClass = getattr(inner, "cost_class", "cpu")
        self.cost_class = cost
        self.rewrites = getattr(inner, "rewrites", None)
        for method in ("prepare", "response_format", "prefix"):
            if hasattr(self.inner, method):
                setattr(self, method, getattr(self.inner, method))
        if hasattr(self.inner, "verify_group"):
            self.verify_group = self._verify_group

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The check's verdict, with its score calibrated and held to the threshold."""
        found = self.inner.verify(request, answer)
        return self._judge(found) if isinstance(found, Verdict) else self._later(found)

    def with_threshold(self, threshold: float) -> Calibrated:
        """The same check and calibrator with another threshold."""
        changed = copy(self)
        changed.threshold = checked_threshold(threshold)
        if hasattr(self, "verify_group"):
            changed.verify_group = changed._verify_group
        return changed

    async def _later(self, pending: Awaitable[Verdict]) -> Verdict:
        return self._judge(await pending)

    async def _verify_group(self, request: Request, answers: Sequence[Answer]) -> Sequence[Verdict]:
        return [self._judge(verdict) for verdict in await group(self.inner, request, answers)]

    def _judge(self, verdict: Verdict) -> Verdict:
        if verdict.score is None:
            if verdict.accepted and not not_applicable(verdict):
                raise TypeError(f"{verifier_name(self.inner)} accepted without a score")
            return verdict
        score = self.calibrator(verdict.score)
        if verdict.outcome != "accepted" or score >= self.threshold:
            return replace(verdict, score=score)
        return Verdict.reject(
            f"a calibrated score of {score:.3g}, below {self.threshold:.3g}",
            code="calibrated.low",
            score=score,
            parsed=verdict.parsed,
            text=verdict.text,
            cost=verdict.cost,
        )

    def __repr__(self) -> str:
        return f"calibrated({self.inner!r}, threshold={self.threshold:.3g})"


def checked_threshold(threshold: float) -> float:
    """The threshold itself.

    Raises:
        ConfigError: it is not in [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold={threshold!r}: needs a number in [0, 1]")
    return threshold


def calibration_error(
    probabilities: Sequence[float], correct: Sequence[bool], *, bins: int = 10
) -> float:
    """By how much stated probabilities and shares of right answers differ, in bins of equal width.

    Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017). The mean
    over the answers of |mean probability - share right| in the answer's bin: 0 is best.

    Raises:
        ConfigError: no rows, not as many of one as of the other, or one is no probability.
    """
    if bins < 1:
        raise ConfigError(f"bins={bins!r}: needs a number above 0")
    _check_rows(probabilities, correct)
    sums = [[0.0, 0.0] for _ in range(bins)]
    for probability, label in zip(probabilities, correct, strict=True):
        cell = sums[min(int(probability * bins), bins - 1)]
        cell[0] += probability
        cell[1] += label
    return sum(abs(stated - right) for stated, right in sums) / len(correct)


def brier_score(probabilities: Sequence[float], correct: Sequence[bool]) -> float:
    """The mean squared error of the probabilities: 0 is best, 0.25 is always saying one half.

    Raises:
        ConfigError: as `calibration_error`.
    """
    _check_rows(probabilities, correct)
    pairs = zip(probabilities, correct, strict=True)
    return sum((probability - label) ** 2 for probability, label in pairs) / len(correct)


def _check_rows(probabilities: Sequence[float], correct: Sequence[bool]) -> None:
    if len(probabilities) != len(correct) or not len(correct):
        raise ConfigError(f"{len(probabilities)} probabilities and {len(correct)} labels")
    for probability in probabilities:
        if not 0 <= probability <= 1:
            raise ConfigError(f"a probability of {probability!r} is not in [0, 1]")
