"""Which weights a policy needs that are not on this disk."""

from __future__ import annotations

from cascade.policy import Policy
from cascade.provider import split_model
from cascade.providers.local.catalogue import CATALOGUE, Weights
from cascade.providers.local.weights import cache_dir, cached


def downloads(policy: Policy) -> list[Weights]:
    """The weights that a call may have to download, in the order of the tiers."""
    models = (
        model
        for tier in policy.tiers
        for model in (*tier.models, *tier.fallbacks, *getattr(tier.verify, "models", ()))
        if isinstance(model, str)
    )
    names = (name for provider, name in map(split_model, models) if provider == "local")
    return [CATALOGUE[name] for name in dict.fromkeys(names) if name in CATALOGUE and _absent(name)]


def megabytes(weights: Weights) -> str:
    """Their size, for people."""
    return f"{weights.size / 1e6:,.0f} MB"


def _absent(name: str) -> bool:
    # A file that was put there by hand is checked when it is first used, and not downloaded.
    return cached(name) is None and not (cache_dir() / f"{name}.gguf").exists()
