"""`weighted`: a mean of scores, and hard checks that no score makes up for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from sys import float_info
from typing import Any

from cascade.errors import ConfigError
from cascade.verdict import Outcome, Verdict, Verifier
from cascade.verify import Check, as_verifier
from cascade_verifiers.composable import thorough
from cascade_verifiers.composite import Composite, Found

Weights = Mapping[Any, float] | Iterable[tuple[Check, float]]
# Not Mapping[Check, …]: a mapping's key type is invariant, and any of one's checks is narrower.


class Weighted(Composite):
    """Accepts from a weighted mean of its parts' scores on. Made by `weighted`."""

    def __init__(self, parts: Weights, *, threshold: float = 0.5) -> None:
        pairs = list(parts.items() if isinstance(parts, Mapping) else parts)
        for weight in (weight for _, weight in pairs):
            given: object = weight
            number = isinstance(given, int | float) and not isinstance(given, bool)
            if not number or not 0 < weight <= float_info.max:
                raise ConfigError(f"weighted: the weight {weight!r} is no number above 0")
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold={threshold!r}: needs a number in [0, 1]")
        # Their scores must not hang on which of their own parts came first.
        super().__init__(*(thorough(as_verifier(check)) for check, _ in pairs))
        self.weights = tuple(weight for _, weight in pairs)
        self.threshold = threshold
        self.with_threshold = self._with_threshold

    @property
    def _title(self) -> str:
        return "weighted"

    def _settled(self, found: Found, unasked: Sequence[int]) -> bool:
        # Acceptance is never early: the last part may be the hard check that fails.
        return _failed(found) or self._best(found, unasked) < self.threshold

    def _fixed(self, found: Found, unasked: Sequence[int]) -> bool:
        return _failed(found)

    def _judge(self, found: Found, unasked: Sequence[int]) -> Verdict:
        blamed = [verdict for verdict in found.values() if not verdict.accepted]
        reasons = [verdict.reason for verdict in blamed if verdict.reason]
        hard = [v for v in blamed if v.outcome == "rejected" and v.score is None]
        scored = any(v.score is not None for v in found.values() if v.outcome != "abstained")
        score = self._mean(found, ()) if scored else None
        outcome: Outcome = "rejected"
        code, repairable = "weighted.low", any(verdict.repairable for verdict in blamed)
        if hard:
            code = next((verdict.code for verdict in hard if verdict.code), "")
            score, repairable = None, all(verdict.repairable for verdict in hard)
        elif self._best(found, unasked) < self.threshold:
            reasons.insert(0, f"scored {score:.3g}, below {self.threshold:.3g}")
        elif any(verdict.outcome == "abstained" for verdict in blamed):
            outcome = "abstained"
            code = next((v.code for v in blamed if v.code and v.outcome == "abstained"), "")
        elif not scored:
            outcome, code = "abstained", "weighted.no_score"
            reasons = ["no part has a score to weigh"]
        else:
            return Verdict.accept(score=score)
        return Verdict(
            outcome,
            score=score if outcome == "rejected" else None,
            reason="; ".join(dict.fromkeys(reasons)),
            code=code,
            repairable=outcome == "rejected" and repairable,
        )

    def _best(self, found: Found, unasked: Sequence[int]) -> float:
        """The mean if all that is unknown scored 1: more than if it had no score or no say."""
        unknown = [index for index, verdict in found.items() if verdict.outcome == "abstained"]
        return self._mean(found, (*unknown, *unasked))

    def _mean(self, found: Found, perfect: Sequence[int]) -> float:
        # Summed exactly, rounded once: a sum of floats depends on their order, and so would the
        # verdict.
        above, below = Fraction(0), Fraction(0)
        for index, verdict in found.items():
            if verdict.score is not None and verdict.outcome != "abstained":
                above += Fraction(self.weights[index]) * Fraction(verdict.score)
                below += Fraction(self.weights[index])
        for index in perfect:
            above += Fraction(self.weights[index])
            below += Fraction(self.weights[index])
        return float(above / below) if below else 1.0

    def _with_threshold(self, threshold: float) -> Weighted:
        changed = Weighted(self._pairs(self.parts), threshold=threshold)
        changed._thorough = self._thorough
        return changed

    def _of(self, parts: Sequence[Verifier]) -> Weighted:
        return Weighted(self._pairs(parts), threshold=self.threshold)

    def _pairs(self, parts: Sequence[Verifier]) -> list[tuple[Verifier, float]]:
        return list(zip(parts, self.weights, strict=True))

    def __repr__(self) -> str:
        pairs = ", ".join(
            f"({part!r}, {weight:g})" for part, weight in zip(self.parts, self.weights, strict=True)
        )
        return f"weighted([{pairs}], threshold={self.threshold:.3g})"


def weighted(parts: Weights, *, threshold: float = 0.5) -> Weighted:
    """Accepts from a weighted mean of scores on; a part that rejects without a score is final.

    A part's score counts, whether the part itself accepts it or not. A part that accepts without
    a score is a hard check that passed: it has no say in the mean. One that abstains is unknown:
    the whole is rejected if it would be with a score of 1 in its place, and else abstains.

    Args:
        parts: the checks with their weights, as a mapping or as pairs.
        threshold: the mean from which it accepts, in [0, 1]; a tier's ``threshold`` sets it.

    Raises:
        ConfigError: there are no parts, or a number is impossible.
    """
    return Weighted(parts, threshold=threshold)


def _failed(found: Found) -> bool:
    return any(v.outcome == "rejected" and v.score is None for v in found.values())
