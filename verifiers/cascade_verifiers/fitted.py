"""Fitted numbers as JSON, never pickle: reading them and checking that they fit this release."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cascade.errors import ConfigError, nearest

Embed = Callable[[str], Sequence[float]]


def read_model(path: str | Path) -> Any:
    """The JSON in a file.

    Raises:
        ConfigError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def write_model(path: str | Path, model: Mapping[str, Any]) -> None:
    """Write the fitted numbers as JSON."""
    Path(path).write_text(json.dumps(model) + "\n", encoding="utf-8")


def check_keys(
    model: object, keys: Sequence[str], *, kind: str, version: int, maker: str
) -> Mapping[str, Any]:
    """The model, which has exactly these keys and is of this kind and version.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(model, Mapping) or model.get("kind") != kind:
        raise ConfigError(f"model: is none of {maker}; in a policy file, give model_file")
    for key in model:
        if key not in keys:
            raise ConfigError(f"model: {key}: {nearest(str(key), keys)}")
    for key in keys:
        if key not in model:
            raise ConfigError(f"model: {key}: is missing")
    if model["version"] != version:
        raise ConfigError(f"model: version={model['version']!r}: this release reads {version}")
    return model


def check_features(given: object, expected: Mapping[str, Any]) -> None:
    """Refuse a model that was fitted with other features than ``expected``.

    Raises:
        ConfigError: it was.
    """
    if given != expected:
        raise ConfigError(
            f"model: was fitted with other features ({given}) than this release has "
            f"({expected}): fit it again"
        )


def check_weights(weights: object, size: int, bias: object) -> tuple[list[float], float]:
    """Weights and bias as floats.

    Raises:
        ConfigError: there are not ``size`` weights, or one is no number, or out of bounds.
    """
    if not isinstance(weights, list | tuple) or len(weights) != size:
        raise ConfigError(f"model: weights: needs {size} numbers")
    return [_finite(weight) for weight in weights], _finite(bias)


def _finite(number: object) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ConfigError(f"model: weights, bias: {number!r} is no number")
    if not abs(number) < 1e100:
        raise ConfigError(f"model: weights, bias: {number!r} is out of bounds")
    return float(number)


def check_embedding(embedding: Mapping[str, Any] | None, embed: Embed | None) -> None:
    """Refuse another embedding than the one that a model was fitted with.

    Raises:
        ConfigError: ``embed`` is missing, superfluous or another one.
    """
    if embedding is None:
        if embed is not None:
            raise ConfigError("embed: does nothing, as the model was fitted without embeddings")
        return
    name = embedding["name"]
    if embed is None:
        raise ConfigError(f"embed: is missing; the model was fitted with {name!r}")
    if embedding_name(embed) != name:
        raise ConfigError(
            f"embed: is {embedding_name(embed)!r}; the model was fitted with {name!r}"
        )


def embedding_size(embedding: object) -> int:
    """How many numbers the embedding of a model has, 0 without one.

    Raises:
        ConfigError: it is not described by a name and a size.
    """
    if embedding is None:
        return 0
    if isinstance(embedding, Mapping) and embedding.keys() == {"name", "size"}:
        size = embedding["size"]
        if isinstance(embedding["name"], str) and type(size) is int and size > 0:
            return size
    raise ConfigError("model: embedding: needs null, or a name and a size")


def embedding_name(embed: Embed) -> str:
    """What to call an embedding, so that a model is not used with another one."""
    return str(getattr(embed, "name", None) or getattr(embed, "__name__", type(embed).__name__))


def embedded(embed: Embed, text: str, size: int | None) -> list[float]:
    """The text's embedding as floats.

    Raises:
        ValueError: it is not of this size, or not finite.
    """
    numbers = [float(number) for number in embed(text)]
    if size is not None and len(numbers) != size:
        raise ValueError(f"an embedding of {len(numbers)} numbers, where {size} were trained on")
    if not all(map(math.isfinite, numbers)):
        raise ValueError("the embedding has a number that is not finite")
    return numbers
