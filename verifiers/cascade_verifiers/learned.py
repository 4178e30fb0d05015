"""`Learned`: a logistic regression over simple features that says how likely an answer is right."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Iterable, Mapping
from copy import copy
from pathlib import Path
from typing import Any

from anyio import to_thread

from cascade.errors import ConfigError
from cascade.types import Answer, Prompt, Request
from cascade.verdict import Verdict
from cascade.verify import CostClass
from cascade_verifiers import features
from cascade_verifiers.algebra import Composable
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

Row = tuple[Prompt, Answer | str, bool]

VERSION = 1
INLINE_CHARS = 5_000

_KEYS = ("kind", "version", "features", "logprobs", "embedding", "weights", "bias", "rows", "data")


class Learned(Composable):
    """Scores an answer by a model fitted on answers known to be right or wrong.

    The score is P(correct), as far as new answers are like those it was fitted on: the same model
    and the same kind of task. `fit_learned` makes one. Scoring is plain Python; the fitted numbers
    are JSON, never pickle.

    Args:
        model: the fitted numbers, as `to_dict` gives them: in a policy file, ``model_file`` with
            the path of the JSON file.
        threshold: the probability from which it accepts; by default 0.5.
        embed: for a model that was fitted with embeddings, the function that makes them: text to
            numbers, quick, with an attribute ``name`` (or a ``__name__``) that says which it is.

    Raises:
        ConfigError: the model is none, was fitted with other features than this release has or
            with another embedding, or a value is impossible.
    """

    cost_class: CostClass = "cpu"

    def __init__(
        self, model: Mapping[str, Any], *, threshold: float = 0.5, embed: Embed | None = None
    ) -> None:
        self._model = _checked(model)
        self.threshold = _threshold(threshold)
        self.embed = embed
        self._logprobs: bool = self._model["logprobs"]
        self._size = embedding_size(self._model["embedding"])
        check_embedding(self._model["embedding"], embed)
        if self._logprobs:
            self.prepare = _with_logprobs

    @classmethod
    def load(
        cls, path: str | Path, *, threshold: float = 0.5, embed: Embed | None = None
    ) -> Learned:
        """The model that `save` wrote.

        Raises:
            ConfigError: the file cannot be read, is no JSON, or its model does not fit.
        """
        model = read_model(path)
        try:
            return cls(model, threshold=threshold, embed=embed)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Write the fitted numbers as JSON."""
        write_model(path, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The fitted numbers, with the features' version and the hash of the training data."""
        return {**self._model, "weights": list(self._model["weights"])}

    def with_threshold(self, threshold: float) -> Learned:
        """The same model with another threshold."""
        changed = copy(self)
        changed.threshold = _threshold(threshold)
        return changed

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict; awaitable where it takes long enough to go to a worker thread.

        An abstention when the model needs log-probabilities that are not there.
        """
        if len(answer.text) + len(request.text) > INLINE_CHARS:
            return to_thread.run_sync(self._judge, request, answer, abandon_on_cancel=True)
        return self._judge(request, answer)

    def _judge(self, request: Request, answer: Answer) -> Verdict:
        score = self.score(request, answer)
        if score is None:
            reason = "the answer has no log-probabilities, and the learned model needs them"
            return Verdict.abstain(reason, code="learned.no_logprobs")
        if score >= self.threshold:
            return Verdict.accept(score=score)
        reason = f"the answer is {score:.3g} likely to be right, below {self.threshold:.3g}"
        return Verdict.reject(reason, code="learned.low", score=score)

    def score(self, request: Request, answer: Answer) -> float | None:
        """P(correct); None when it takes log-probabilities and there are none.

        Raises:
            ValueError: the embedding has another size than in training, or is not finite.
        """
        numbers = features.features(request, answer, logprobs=self._logprobs)
        if numbers is None:
            return None
        if self.embed is not None:
            numbers += embedded(self.embed, answer.text[: features.MAX_CHARS], self._size)
        weights = self._model["weights"]
        return logistic(math.fsum(map(float.__mul__, weights, numbers)) + self._model["bias"])

    def __repr__(self) -> str:
        return f"Learned(rows={self._model['rows']}, threshold={self.threshold:.3g})"


def fit_learned(
    rows: Iterable[Row],
    *,
    embed: Embed | None = None,
    logprobs: bool = False,
    strength: float | None = None,
    threshold: float = 0.5,
) -> Learned:
    """Fit a `Learned` on answers that are known to be right or wrong. Needs scikit-learn.

    Args:
        rows: for each answer its prompt, itself (or its text), and whether it is right.
        embed: text to numbers, to be used beside the built-in features.
        logprobs: whether to use log-probabilities, which every row must then have; the fitted
            verifier asks the model for them.
        strength: how far the weights may go from 0 (scikit-learn's ``C``); less is smoother. By
            default, what does best in cross-validation on these rows.
        threshold: the probability from which it accepts.

    Raises:
        ConfigError: there are under 10 rows, all are right or all wrong, one has no
            log-probabilities, or scikit-learn is not installed (the extra ``[learned]``).
    """
    from cascade_verifiers.learned_fit import fit

    return Learned(
        fit(rows, embed=embed, logprobs=logprobs, strength=strength),
        threshold=threshold,
        embed=embed,
    )


def _with_logprobs(request: Request) -> Request:
    return request.with_params(logprobs=True)


def _threshold(threshold: float) -> float:
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold={threshold!r}: needs a number in [0, 1]")
    return threshold


def _checked(model: object) -> dict[str, Any]:
    model = check_keys(model, _KEYS, kind="learned", version=VERSION, maker="fit_learned()")
    logprobs = model["logprobs"]
    if not isinstance(logprobs, bool):
        raise ConfigError(f"model: logprobs={logprobs!r}: needs true or false")
    expected = {"version": features.VERSION, "hash": features.names_hash(logprobs=logprobs)}
    check_features(model["features"], expected)
    size = len(features.names(logprobs=logprobs)) + embedding_size(model["embedding"])
    weights, bias = check_weights(model["weights"], size, model["bias"])
    if type(model["rows"]) is not int or not isinstance(model["data"], str):
        raise ConfigError("model: rows needs a number, data the hash of the training data")
    return {**model, "weights": weights, "bias": bias}
