"""Which weights a policy needs that are not on this disk."""

from __future__ import annotations

from cascade.model import ModelSpec
from cascade.policy import Model, Policy
from cascade.provider import split_model
from cascade.providers.local.catalogue import CATALOGUE, Weights
from cascade.providers.local.weights import cache_dir, cached


def downloads(policy: Policy) -> list[Weights]:
    """The weights that a call may have to download, the router's first."""
    models: list[Model] = [*getattr(policy.router, "models", ())]
    for tier in policy.tiers:
        models += (*tier.models, *tier.fallbacks, *getattr(tier.verify, "models", ()))
    bare = (model.model if isinstance(model, ModelSpec) else model for model in models)
    texts = (model for model in bare if isinstance(model, str))
    names = (name for provider, name in map(split_model, texts) if provider == "local")
    return [CATALOGUE[name] for name in dict.fromkeys(names) if name in CATALOGUE and _absent(name)]


def megabytes(weights: Weights) -> str:
    """Their size, for people."""
    return f"{weights.size / 1e6:,.0f} MB"


def _absent(name: str) -> bool:
    # A file that was put there by hand is checked when it is first used, and not downloaded.
    return cached(name) is None and not (cache_dir() / f"{name}.gguf").exists()
