"""From a raw score to a probability of being right: `Isotonic` and `Platt`, fitted on answers.

A model's stated confidence, its log-probabilities and a judge's marks put answers in an order; a
calibrator fitted on answers that are known to be right or wrong makes them probabilities. It never
changes the order, so it moves a threshold's meaning and not what can be told apart.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Protocol, TypeGuard, runtime_checkable

from cascade.errors import ConfigError, nearest
from cascade_verifiers.isotonic import pool_adjacent_violators
from cascade_verifiers.platt import fit_logistic, logistic

PLATT_BELOW = 200
"""Rows under which `fit_calibrator` takes the two numbers of Platt's curve for the safer fit."""

VERSION = 1


@runtime_checkable
class Calibrator(Protocol):
    """A rising function from scores to probabilities of being right.

    Attributes:
        rows: how many answers it was fitted on.
        data: a hash of their scores and labels, in whatever order.
    """

    @property
    def rows(self) -> int: ...
    @property
    def data(self) -> str: ...
    def __call__(self, score: float, /) -> float:
        """The probability that an answer of this score is right.

        Raises:
            ValueError: the score is not a finite number.
        """
        ...

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; `calibrator_of` reads it back."""
        ...


@dataclass(frozen=True, slots=True)
class Isotonic:
    """The best rising steps (pool adjacent violators), joined by straight lines.

    Attributes:
        scores: where the curve has its corners, rising.
        values: its height there, in [0, 1] and never falling; level beyond both ends.
        rows: how many answers it was fitted on.
        data: a hash of them.
    """

    scores: tuple[float, ...]
    values: tuple[float, ...]
    rows: int
    data: str

    def __post_init__(self) -> None:
        if not self.scores or len(self.scores) != len(self.values):
            raise ConfigError("calibrator: scores and values: needs as many of one as of the other")
        if not all(map(math.isfinite, self.scores)):
            raise ConfigError("calibrator: scores: one is not a finite number")
        if not all(low < high for low, high in pairwise(self.scores)):
            raise ConfigError("calibrator: scores: must rise")
        if not all(0 <= value <= 1 for value in self.values):
            raise ConfigError("calibrator: values: one is not in [0, 1]")
        if not all(low <= high for low, high in pairwise(self.values)):
            raise ConfigError("calibrator: values: must not fall")

    @classmethod
    def fit(cls, scores: Sequence[float], correct: Sequence[bool]) -> Isotonic:
        """The rising curve with the least squared error on these answers.

        Raises:
            ConfigError: as `fit_calibrator`.
        """
        blocks = pool_adjacent_violators(*_checked(scores, correct))
        corners: dict[float, float] = {}
        for block in blocks:
            corners[block.low] = corners[block.high] = block.mean
        return cls(tuple(corners), tuple(corners.values()), len(scores), data_hash(scores, correct))

    def __call__(self, score: float, /) -> float:
        """The probability that an answer of this score is right; see `Calibrator`."""
        index = bisect_left(self.scores, _finite(score))
        if index == len(self.scores) or (index == 0 and score < self.scores[0]):
            return self.values[-1 if index else 0]
        if self.scores[index] == score:
            return self.values[index]
        low, high = self.scores[index - 1], self.scores[index]
        bottom, top = self.values[index - 1], self.values[index]
        # Halved first, as the distance of two finite numbers may not be one.
        share = (score / 2 - low / 2) / (high / 2 - low / 2)
        return min(max(bottom + share * (top - bottom), bottom), top)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; `calibrator_of` reads it back."""
        return {
            "kind": "isotonic",
            "version": VERSION,
            "scores": list(self.scores),
            "values": list(self.values),
            "rows": self.rows,
            "data": self.data,
        }


@dataclass(frozen=True, slots=True)
class Platt:
    """The logistic curve ``1 / (1 + exp(-(slope * score + intercept)))``.

    Attributes:
        slope: 0 or more; 0 where the scores say nothing, or the opposite.
        intercept: log-odds of an answer of score 0.
        rows: how many answers it was fitted on.
        data: a hash of them.
    """

    slope: float
    intercept: float
    rows: int
    data: str

    def __post_init__(self) -> None:
        if not 0 <= self.slope < math.inf:
            raise ConfigError(f"calibrator: slope={self.slope!r}: needs a number of 0 or more")
        if not math.isfinite(self.intercept):
            raise ConfigError(f"calibrator: intercept={self.intercept!r}: needs a finite number")

    @classmethod
    def fit(cls, scores: Sequence[float], correct: Sequence[bool]) -> Platt:
        """The most likely curve for these answers, with Platt's smoothed targets.

        Raises:
            ConfigError: as `fit_calibrator`.
        """
        slope, intercept = fit_logistic(*_checked(scores, correct))
        return cls(slope, intercept, len(scores), data_hash(scores, correct))

    def __call__(self, score: float, /) -> float:
        """The probability that an answer of this score is right; see `Calibrator`."""
        return logistic(self.slope * _finite(score) + self.intercept)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; `calibrator_of` reads it back."""
        return {
            "kind": "platt",
            "version": VERSION,
            "slope": self.slope,
            "intercept": self.intercept,
            "rows": self.rows,
            "data": self.data,
        }


_KINDS: dict[str, type[Isotonic] | type[Platt]] = {"isotonic": Isotonic, "platt": Platt}


def fit_calibrator(scores: Sequence[float], correct: Sequence[bool]) -> Isotonic | Platt:
    """A calibrator for a verifier's raw scores: `Platt` under `PLATT_BELOW` rows, else `Isotonic`.

    Where the scores say nothing about being right, or the opposite, what comes is a constant:
    the share of right answers.

    Args:
        scores: the verdicts' scores.
        correct: whether each of these answers was right.

    Raises:
        ConfigError: there are none, not as many of one as of the other, a score is not a finite
            number, or all answers are right, or all wrong.
    """
    return (Platt if len(scores) < PLATT_BELOW else Isotonic).fit(scores, correct)


def calibrator_of(given: Calibrator | Mapping[str, Any]) -> Calibrator:
    """A calibrator as it is, or from the mapping that its ``to_dict`` made (a file's JSON).

    Raises:
        ConfigError: it is none; the message names the key.
    """
    if not isinstance(given, Mapping):
        if isinstance(given, type) or not isinstance(given, Calibrator):
            raise ConfigError(
                f"calibrator: is a {type(given).__name__}; give what fit_calibrator() made, "
                "or its to_dict()"
            )
        return given
    values = dict(given)
    kind = values.pop("kind", None)
    if kind not in _KINDS:
        raise ConfigError(f"calibrator: kind={kind!r}: {nearest(str(kind), _KINDS)}")
    version = values.pop("version", None)
    if version != VERSION:
        raise ConfigError(f"calibrator: version={version!r}: this release reads {VERSION}")
    made = _KINDS[kind]
    names = made.__dataclass_fields__
    for key in values:
        if key not in names:
            raise ConfigError(f"calibrator: {key}: {nearest(str(key), names)}")
    for key in names:
        if key not in values:
            raise ConfigError(f"calibrator: {key}: is missing")
        values[key] = _read(key, values[key])
    return made(**values)


def data_hash(scores: Sequence[float], correct: Sequence[bool]) -> str:
    """A hash of training data that does not depend on its order."""
    rows = sorted(zip(map(float, scores), map(bool, correct), strict=True))
    return blake2b(repr(rows).encode(), digest_size=16).hexdigest()


def _checked(scores: Sequence[float], correct: Sequence[bool]) -> tuple[list[float], list[bool]]:
    if len(scores) != len(correct):
        raise ConfigError(f"calibrator: {len(scores)} scores and {len(correct)} labels")
    if not len(scores):
        raise ConfigError("calibrator: needs answers to be fitted on; got none")
    for score in scores:
        if not math.isfinite(score):
            raise ConfigError(f"calibrator: a score of {score!r}: needs finite numbers")
    labels = [bool(label) for label in correct]
    if len(set(labels)) == 1:
        which = "right" if labels[0] else "wrong"
        raise ConfigError(
            f"calibrator: {len(labels)} answers, all of them {which}: it takes right and wrong "
            "ones to tell what a score means"
        )
    return [float(score) for score in scores], labels


def _finite(score: float) -> float:
    if not math.isfinite(score):
        raise ValueError(f"a score of {score!r} cannot be calibrated")
    return score


def _read(key: str, value: Any) -> Any:
    if key == "data":
        if isinstance(value, str):
            return value
        raise ConfigError(f"calibrator: data={value!r}: needs text")
    if key == "rows":
        if type(value) is int and value > 0:
            return value
        raise ConfigError(f"calibrator: rows={value!r}: needs a number above 0")
    if key in ("scores", "values"):
        if isinstance(value, list | tuple) and all(map(_is_number, value)):
            return tuple(float(number) for number in value)
        raise ConfigError(f"calibrator: {key}: needs a list of numbers")
    if not _is_number(value):
        raise ConfigError(f"calibrator: {key}={value!r}: needs a number")
    return float(value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308
