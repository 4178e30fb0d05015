"""`Learned`: says from the prompt alone how likely each tier is to get it right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cascade.errors import ConfigError, nearest
from cascade.routing import Route
from cascade.types import Request
from cascade_policies.routers import features
from cascade_verifiers.fitted import (
    Embed,
    check_embedding,
    check_features,
    check_keys,
    check_weights,
    embedded,
    embedding_size,
    read_model,
    write_model,
)
from cascade_verifiers.platt import logistic

KIND = "learned_router"
VERSION = 1
THRESHOLD = 0.5

_KEYS = ("kind", "version", "features", "embedding", "tiers", "rows", "data")
_TIER_KEYS = {"name", "weights", "bias"}


class Learned:
    """Begins at the cheapest tier that a logistic regression holds likely enough to be right.

    For each tier it has one regression on what can be seen of the prompt, fitted on recorded
    answers (`fit_router`, ``cascade route fit``). By default it begins at the cheapest tier whose
    probability is ``threshold`` or more, at the last where none is. With ``costs`` it begins where
    the cascade is expected to cost the least: beginning at a tier costs its own cost, and with the
    probability that it fails, what beginning at the next one costs.

    It needs neither scikit-learn nor numpy. The fitted numbers are JSON, never pickle.

    Args:
        model: the fitted numbers, as `to_dict` gives them: in a policy file, ``model_file`` with
            the path of the JSON file.
        threshold: the probability from which a tier is likely enough; by default 0.5.
        costs: what an answer of each tier costs, in any one unit; instead of ``threshold``.
        embed: for a model that was fitted with embeddings, the function that makes them: text to
            numbers, quick, with an attribute ``name`` (or a ``__name__``) that says which it is.

    Raises:
        ConfigError: the model is none, was fitted with other features than this release has or
            with another embedding, or a value is impossible.
    """

    name = "learned"

    def __init__(
        self,
        model: Mapping[str, Any],
        *,
        threshold: float | None = None,
        costs: Mapping[str, float] | None = None,
        embed: Embed | None = None,
    ) -> None:
        self._model = check_keys(model, _KEYS, kind=KIND, version=VERSION, maker="fit_router()")
        check_features(model["features"], features.identity())
        self._size = embedding_size(model["embedding"])
        check_embedding(model["embedding"], embed)
        if type(model["rows"]) is not int or not isinstance(model["data"], str):
            raise ConfigError("model: rows needs a number, data the hash of the training data")
        self._tiers = _tiers(model["tiers"], features.size() + self._size)
        if threshold is not None and not 0 < threshold <= 1:
            raise ConfigError(f"threshold={threshold!r}: needs a number in (0, 1]")
        if costs is not None and threshold is not None:
            raise ConfigError("threshold: does nothing beside costs: give one of them")
        self.threshold = THRESHOLD if threshold is None else threshold
        self.costs = None if costs is None else _costs(costs, self.tiers)
        self.embed = embed

    @property
    def tiers(self) -> tuple[str, ...]:
        """The names of the tiers it was fitted for, from the cheapest to the strongest."""
        return tuple(self._tiers)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        threshold: float | None = None,
        costs: Mapping[str, float] | None = None,
        embed: Embed | None = None,
    ) -> Learned:
        """The model that `save` wrote.

        Raises:
            ConfigError: the file cannot be read, is no JSON, or its model does not fit.
        """
        model = read_model(path)
        try:
            return cls(model, threshold=threshold, costs=costs, embed=embed)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Write the fitted numbers as JSON."""
        write_model(path, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The fitted numbers, with the features' version and the hash of the training data."""
        return dict(self._model)

    def check(self, choices: Sequence[str]) -> None:
        """Refuse other tiers than it was fitted for, or another order of them.

        Raises:
            ConfigError: they are others.
        """
        if tuple(choices) != self.tiers:
            raise ConfigError(
                f"model: was fitted for the tiers {', '.join(self.tiers)}, and these are "
                f"{', '.join(choices)}: fit it again, or name the tiers so"
            )

    def probabilities(self, request: Request) -> dict[str, float]:
        """How likely each tier is to be right, from the cheapest to the strongest.

        Raises:
            ValueError: the embedding has another size than in training, or is not finite.
        """
        numbers = features.vector(request)
        if self.embed is not None:
            text = features.excerpt(request.text, features.EXCERPT)
            numbers += embedded(self.embed, text, self._size)
        return {
            name: logistic(math.fsum(map(float.__mul__, weights, numbers)) + bias)
            for name, (weights, bias) in self._tiers.items()
        }

    def route(self, request: Request, choices: Sequence[str], /) -> Route:
        """The cheapest tier that is likely enough, or where the least cost is expected."""
        likely = self.probabilities(request)
        if self.costs is not None:
            expected = _expected(likely, self.costs)
            start = min(expected, key=expected.__getitem__)
            reason = f"the expected cost is least: {_listed(expected)} (P: {_listed(likely)})"
            return Route(start, reason=reason)
        enough = [name for name, chance in likely.items() if chance >= self.threshold]
        if not enough:
            reason = f"no tier is {self.threshold:.3g} likely to be right: {_listed(likely)}"
            return Route(self.tiers[-1], reason=reason)
        reason = f"the first from {self.threshold:.3g} on: {_listed(likely)}"
        return Route(enough[0], reason=reason)

    def evidence(self, request: Request) -> Mapping[str, Any]:
        """The probabilities, and by which rule they are judged."""
        likely = self.probabilities(request)
        found: dict[str, Any] = {"probabilities": likely}
        if self.costs is None:
            found["threshold"] = self.threshold
        else:
            found["expected_costs"] = _expected(likely, self.costs)
        return {**found, "rows": self._model["rows"], "data": self._model["data"]}

    def __repr__(self) -> str:
        return f"Learned({', '.join(self.tiers)})"


def _tiers(given: object, size: int) -> dict[str, tuple[list[float], float]]:
    if not isinstance(given, list | tuple) or len(given) < 2:
        raise ConfigError("model: tiers: needs two or more")
    tiers: dict[str, tuple[list[float], float]] = {}
    for tier in given:
        if not isinstance(tier, Mapping) or tier.keys() != _TIER_KEYS:
            raise ConfigError(f"model: tiers: each needs {', '.join(sorted(_TIER_KEYS))}")
        name = tier["name"]
        if not isinstance(name, str) or not name or name in tiers:
            raise ConfigError(f"model: tiers: {name!r} is no name, or there twice")
        tiers[name] = check_weights(tier["weights"], size, tier["bias"])
    return tiers


def _costs(costs: object, tiers: Sequence[str]) -> dict[str, float]:
    if not isinstance(costs, Mapping):
        raise ConfigError(f"costs={costs!r}: needs a table with a number for each tier")
    for name, cost in costs.items():
        if name not in tiers:
            raise ConfigError(f"costs: {name}: {nearest(str(name), tiers)}")
        number = isinstance(cost, int | float) and not isinstance(cost, bool)
        if not number or not 0 <= cost < math.inf:
            raise ConfigError(f"costs: {name}={cost!r}: needs a number, 0 or more")
    for name in tiers:
        if name not in costs:
            raise ConfigError(f"costs: {name}: is missing")
    return {name: float(costs[name]) for name in tiers}


def _expected(likely: Mapping[str, float], costs: Mapping[str, float]) -> dict[str, float]:
    """What beginning at each tier is expected to cost, from the cheapest to the strongest."""
    expected: dict[str, float] = {}
    after = 0.0
    for name, chance in reversed(list(likely.items())):
        after = costs[name] + (1 - chance) * after
        expected[name] = after
    return dict(reversed(list(expected.items())))


def _listed(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {number:.3g}" for name, number in numbers.items())
