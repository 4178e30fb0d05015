"""Fitting a `Learned` router on recorded answers: the only part that needs scikit-learn."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from msgspec import Struct

from cascade.errors import ConfigError, PromptError, nearest
from cascade.types import Prompt, Request
from cascade_policies.routers import features
from cascade_policies.routers.learned import KIND, VERSION, Learned
from cascade_verifiers.fitted import Embed, embedded, embedding_name
from cascade_verifiers.learned_fit import check_fitting, regression
from cascade_verifiers.platt import logistic

Row = tuple[Prompt, Mapping[str, bool]]
"""A prompt, and for each tier that answered it whether the answer was right (or accepted)."""

_FEWEST = 20
_DIGITS = 6


class Quality(Struct, frozen=True):
    """What the training data say of one tier.

    Attributes:
        rows: prompts it answered.
        right: the share of them it got right.
        auroc: the chance that a prompt it gets right is held likelier than one it gets wrong,
            each half of the rows judged by a regression on the other; 0.5 is chance, and None
            where there are too few of either kind to tell.
    """

    rows: int
    right: float
    auroc: float | None


def fit_router(
    rows: Iterable[Row],
    tiers: Sequence[str],
    *,
    embed: Embed | None = None,
    strength: float | None = None,
) -> tuple[Learned, dict[str, Quality]]:
    """Fit a `Learned` on prompts whose answers are known to be right or wrong.

    Args:
        rows: the prompts, each with what became of it at the tiers.
        tiers: their names, from the cheapest to the strongest: those of the policy.
        embed: text to numbers, to be used beside the built-in features.
        strength: how far the weights may go from 0 (scikit-learn's ``C``); less is smoother. By
            default, what does best in cross-validation on these rows.

    Returns:
        The router, and what the data say of each tier.

    Raises:
        ConfigError: there are under two tiers, a tier has under 20 rows, or scikit-learn is not
            installed (the extra ``[learned]``).
    """
    check_fitting(strength)
    if len(tiers) < 2 or len(set(tiers)) < len(tiers):
        raise ConfigError(f"tiers: {', '.join(tiers)}: needs two or more, each once")
    table: list[list[float]] = []
    outcomes: list[Mapping[str, bool]] = []
    digests: list[str] = []
    size = 0
    for prompt, outcome in rows:
        request = Request.of(prompt)
        numbers = features.vector(request)
        if embed is not None:
            text = features.excerpt(request.text, features.EXCERPT)
            vector = embedded(embed, text, size or None)
            size = len(vector)
            numbers += vector
        table.append(numbers)
        outcomes.append(outcome)
        digests.append(_digest(request, {name: outcome.get(name) for name in tiers}))
    for name in tiers:
        count = sum(name in outcome for outcome in outcomes)
        if count < _FEWEST:
            raise ConfigError(f"tiers: {name}: {count} rows are too few; needs {_FEWEST}")
    fitted, qualities = [], {}
    for name in tiers:
        own = [index for index, outcome in enumerate(outcomes) if name in outcome]
        labels = [bool(outcomes[index][name]) for index in own]
        numbers_of = [table[index] for index in own]
        weights, bias = _regression(numbers_of, labels, strength)
        fitted.append({"name": name, "weights": [*map(_short, weights)], "bias": _short(bias)})
        auroc = _held_out(numbers_of, labels, strength)
        qualities[name] = Quality(len(own), sum(labels) / len(own), auroc)
    model = {
        "kind": KIND,
        "version": VERSION,
        "features": features.identity(),
        "embedding": None if embed is None else {"name": embedding_name(embed), "size": size},
        "tiers": fitted,
        "rows": len(table),
        "data": sha256("".join(sorted(digests)).encode()).hexdigest(),
    }
    return Learned(model, embed=embed), qualities


def read_recording(path: str | Path, tiers: Mapping[str, str] | None = None) -> list[Row]:
    """The rows of a recording: JSON Lines, gzipped or not.

    Each line has a ``prompt`` (and ``tools``, where there are any) and ``models``: for each model
    that answered ``correct``, or ``accepted``, which counts when it is there.

    Args:
        path: the file.
        tiers: the model in the recording for each tier; by default each model is a tier.

    Raises:
        ConfigError: the file cannot be read, a line is none of a recording, or a model is
            nowhere in it.
    """
    rows: list[Row] = []
    seen: set[str] = set()
    try:
        for number, line in enumerate(_lines(Path(path)), start=1):
            try:
                row = _row(json.loads(line), tiers, seen)
            except (ValueError, RecursionError, PromptError) as error:
                raise ConfigError(f"{path}:{number}: is no row of a recording: {error}") from None
            rows.append(row)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    for tier, model in (tiers or {}).items():
        if model not in seen:
            which = model if model == tier else f"{tier}={model}"
            raise ConfigError(f"--tiers {which}: not in the recording: {nearest(model, seen)}")
    return rows


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rt", encoding="utf-8") if zipped else path.open(encoding="utf-8") as file:
        yield from (line for line in file if line.strip())


def _row(row: Any, tiers: Mapping[str, str] | None, seen: set[str]) -> Row:
    if not isinstance(row, dict) or not isinstance(row.get("models"), dict) or "prompt" not in row:
        raise ValueError("needs 'prompt' and 'models'")
    request = Request.of(row["prompt"])
    if isinstance(row.get("tools"), list):
        request = Request(request.messages, tuple(row["tools"]))
    models = row["models"]
    seen.update(models)
    outcome: dict[str, bool] = {}
    for tier, model in (tiers or dict(zip(models, models, strict=True))).items():
        if model in models:
            outcome[tier] = _label(model, models[model])
    return request, outcome


def _label(model: str, given: Any) -> bool:
    label = given.get("accepted", given.get("correct")) if isinstance(given, dict) else None
    if label in (True, False):  # 0 and 1 too
        return bool(label)
    raise ValueError(f"model {model!r}: needs 'correct' or 'accepted', true or false")


def _regression(
    table: Sequence[Sequence[float]], labels: Sequence[bool], strength: float | None
) -> tuple[list[float], float]:
    right = sum(labels)
    if 0 < right < len(labels):
        return regression(table, labels, strength)
    # There is nothing to tell apart. One more of each kind, as no share of 0 or 1 is believed.
    odds = (right + 1) / (len(labels) - right + 1)
    return [0.0] * len(table[0]), math.log(odds)


def _held_out(
    table: Sequence[Sequence[float]], labels: Sequence[bool], strength: float | None
) -> float | None:
    if min(sum(labels), len(labels) - sum(labels)) < _FEWEST:
        return None
    metrics: Any = import_module("sklearn.metrics")
    # Drawn, as recordings may be sorted or alternate between kinds of prompts.
    order = list(range(len(labels)))
    Random(0).shuffle(order)  # noqa: S311  (a split, no secret)
    scores = [0.0] * len(labels)
    for half in (0, 1):
        train = order[1 - half :: 2]
        those = [labels[index] for index in train]
        weights, bias = _regression([table[index] for index in train], those, strength)
        for index in order[half::2]:
            scores[index] = logistic(math.fsum(map(float.__mul__, weights, table[index])) + bias)
    return float(metrics.roc_auc_score(labels, scores))


def _short(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")


def _digest(request: Request, outcome: Mapping[str, bool | None]) -> str:
    row = json.dumps([request.text, len(request.messages), len(request.tools), outcome])
    return sha256(row.encode()).hexdigest()
