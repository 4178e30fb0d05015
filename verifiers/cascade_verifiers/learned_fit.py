"""Fitting what `Learned` scores with: the only part that needs scikit-learn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from importlib import import_module
from typing import Any

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade_verifiers import features
from cascade_verifiers.fitted import Embed, embedded, embedding_name
from cascade_verifiers.learned import VERSION, Row

_FEWEST = 10
_FOLDS = 5
_STEPS = 2000
_STRENGTHS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)


def fit(
    rows: Iterable[Row], *, embed: Embed | None, logprobs: bool, strength: float | None
) -> dict[str, Any]:
    """The fitted numbers as a mapping; see `cascade_verifiers.learned.fit_learned`."""
    check_fitting(strength)
    table, labels, hashes, size = _table(rows, embed, logprobs)
    if len(labels) < _FEWEST:
        raise ConfigError(f"rows: {len(labels)} are too few; needs {_FEWEST} at least")
    if len(set(labels)) == 1:
        which = "right" if labels[0] else "wrong"
        raise ConfigError(f"rows: all {len(labels)} answers are {which}: needs both kinds")
    weights, bias = regression(table, labels, strength)
    return {
        "kind": "learned",
        "version": VERSION,
        "features": {"version": features.VERSION, "hash": features.names_hash(logprobs=logprobs)},
        "logprobs": logprobs,
        "embedding": None if embed is None else {"name": embedding_name(embed), "size": size},
        "weights": weights,
        "bias": bias,
        "rows": len(labels),
        "data": blake2b("".join(sorted(hashes)).encode(), digest_size=16).hexdigest(),
    }


def check_fitting(strength: float | None) -> None:
    """Refuse to begin what cannot end well.

    Raises:
        ConfigError: scikit-learn is not installed, or ``strength`` is impossible.
    """
    try:
        import_module("sklearn.linear_model")
    except ImportError as error:
        raise ConfigError(
            "fitting needs scikit-learn: pip install 'cascade-engine[learned]'"
        ) from error
    if strength is not None and not 0 < strength < float("inf"):
        raise ConfigError(f"strength={strength!r}: needs a number above 0")


def regression(
    table: Sequence[Sequence[float]], labels: Sequence[bool], strength: float | None
) -> tuple[list[float], float]:
    """Weights and bias of a logistic regression on rows of features, both labels among them.

    Scaling is folded into the weights, so that scoring is one sum of products. A feature that
    never changed in training has a scale of 1 there and a weight of 0.

    Args:
        table: a row of features each.
        labels: what each row is to give.
        strength: how far the weights may go from 0; None for what does best in cross-validation.
    """
    # By name, as it has no type information, and need not be installed to check this file.
    linear_model: Any = import_module("sklearn.linear_model")
    preprocessing: Any = import_module("sklearn.preprocessing")
    scaler = preprocessing.StandardScaler()
    scaled = scaler.fit_transform(table)
    if strength is None:
        strength = _strength(scaled, labels)
    model = linear_model.LogisticRegression(C=strength, max_iter=_STEPS)
    model.fit(scaled, labels)
    weights = [
        float(weight / scale) for weight, scale in zip(model.coef_[0], scaler.scale_, strict=True)
    ]
    shift = sum(weight * float(m) for weight, m in zip(weights, scaler.mean_, strict=True))
    return weights, float(model.intercept_[0]) - shift


def _strength(scaled: Any, labels: Sequence[bool]) -> float:
    """The strength with the least log loss on rows left out, in five folds."""
    if min(sum(labels), len(labels) - sum(labels)) < _FOLDS:
        return _STRENGTHS[0]
    linear_model: Any = import_module("sklearn.linear_model")
    selection: Any = import_module("sklearn.model_selection")
    folds = selection.StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    gains: dict[float, float] = {}
    for strength in _STRENGTHS:
        model = linear_model.LogisticRegression(C=strength, max_iter=_STEPS)
        found = selection.cross_val_score(model, scaled, labels, cv=folds, scoring="neg_log_loss")
        gains[strength] = float(found.mean())
    return max(gains, key=gains.__getitem__)


def _table(
    rows: Iterable[Row], embed: Embed | None, logprobs: bool
) -> tuple[list[list[float]], list[bool], list[str], int]:
    table: list[list[float]] = []
    labels: list[bool] = []
    hashes: list[str] = []
    size: int | None = None
    for number, (prompt, given, correct) in enumerate(rows, start=1):
        request = Request.of(prompt)
        answer = Answer(given) if isinstance(given, str) else given
        numbers = features.features(request, answer, logprobs=logprobs)
        if numbers is None:
            raise ConfigError(f"logprobs: row {number} has no log-probabilities")
        if embed is not None:
            vector = embedded(embed, answer.text[: features.MAX_CHARS], size)
            size = len(vector)
            numbers += vector
        table.append(numbers)
        labels.append(bool(correct))
        row = repr((request.text, answer.text, bool(correct)))
        hashes.append(blake2b(row.encode(errors="replace"), digest_size=16).hexdigest())
    return table, labels, hashes, size or 0
