"""Audited answers: how many of all accepted ones are wrong, whatever part of them is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from cascade.errors import ConfigError
from cascade_policies.shadow.evidence import Evidence, confidence_sequence


class Tally:
    """Errors among accepted answers, each audited with a probability that is known.

    An answer that is audited with the probability ``p`` stands for ``1 / p`` of them (Horvitz and
    Thompson 1952). So those that are doubtful may be audited more often than the others, and the
    estimate is that of all accepted answers.

    The evidence bets on ``least / p * (error - allowed)``, and on nothing for an answer that is not
    audited. The expectation of that, over whether it is, is the same multiple of the excess for
    every answer: an e-process for all accepted answers, in which the audited ones count.

    Args:
        allowed: the mean error that is, in (0, 1).
        least: the least probability with which an answer is audited, in (0, 1].

    Attributes:
        audited: how many answers were.
    """

    def __init__(self, allowed: float, least: float) -> None:
        self._allowed, self._least = allowed, least
        self._evidence = Evidence(allowed)
        self._seen: Counter[tuple[float, float]] = Counter()
        self.audited = 0

    @property
    def evidence(self) -> float:
        """What the bets on more errors than allowed are worth; at first 1."""
        return self._evidence.value

    @property
    def error(self) -> float | None:
        """The mean error of all accepted answers, as estimated; None when none was audited.

        By Hájek's estimator: what the errors stand for, of what all audited answers stand for.
        """
        stand_for = sum(weight * count for (_, weight), count in self._seen.items())
        wrong = sum(error * weight * count for (error, weight), count in self._seen.items())
        return wrong / stand_for if stand_for else None

    def interval(self, alpha: float) -> tuple[float, float]:
        """Where the mean error is, at all times at once but for a chance of ``alpha``."""
        return confidence_sequence(self._seen, alpha)

    def take(self, error: float, probability: float) -> float:
        """The evidence after one more audit.

        Args:
            error: 1 for a wrong answer, 0 for a right one, or between.
            probability: with which this answer was audited, at least ``least``.
        """
        weight = self._least / probability
        # Rounded, so that scores and probabilities that are all different do not pile up.
        self._seen[round(error, 3), _rounded(weight)] += 1
        self.audited += 1
        return self._evidence.take(self._allowed + weight * (error - self._allowed))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the settings, for JSON."""
        seen = [[error, weight, count] for (error, weight), count in self._seen.items()]
        return {"evidence": self._evidence.to_dict(), "seen": seen}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], allowed: float, least: float) -> Tally:
        """What `to_dict` gave, with its settings.

        Raises:
            ConfigError: it is something else.
        """
        made = cls(allowed, least)
        try:
            made._evidence = Evidence.from_dict(data["evidence"], allowed)
            for wrong, weight, count in data["seen"]:
                made._seen[float(wrong), float(weight)] = int(count)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"the state of audits cannot be read: {error!r}") from None
        for (wrong, weight), count in made._seen.items():
            if not (0 <= wrong <= 1 and 0 < weight <= 1 and count > 0):
                raise ConfigError("the state of audits is of another version")
        made.audited = made._seen.total()
        return made


def _rounded(weight: float) -> float:
    return float(f"{weight:.2g}")
