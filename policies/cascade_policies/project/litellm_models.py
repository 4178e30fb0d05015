"""One deployment of a LiteLLM ``model_list`` as a ``[models.NAME]`` table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cascade.prices import published_price
from cascade.provider import find_provider
from cascade_policies.tables import PARAMS, UNKNOWN

_SPOKEN = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "ollama": "ollama",
    "ollama_chat": "ollama",
}
"""LiteLLM's providers that have one here."""

_COMPATIBLE: Mapping[str, tuple[str | None, str | None]] = {
    "custom_openai": (None, None),
    "deepseek": ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "fireworks_ai": ("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "hosted_vllm": (None, None),
    "lm_studio": (None, None),
    "mistral": ("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "together_ai": ("https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    "xai": ("https://api.x.ai/v1", "XAI_API_KEY"),
}
"""Those that speak OpenAI's wire format: their address and the variable of their key. Addresses
are those that the providers document."""

_PRICED_AS = {"fireworks_ai": "fireworks", "together_ai": "together", "xai": "x-ai"}
_CHAT = ("chat", "completion", "responses")
_TAKEN = frozenset({
    "model", "api_base", "base_url", "api_key", "rpm", "tpm", "max_parallel_requests", "timeout",
    "custom_llm_provider", "input_cost_per_token", "output_cost_per_token",
    "cache_read_input_token_cost",
})  # fmt: skip
_IN_A_VARIABLE = "os.environ/"
_VARIABLE = re.compile(r"os\.environ/([A-Za-z_]\w*)")
_LONGEST_LIST = 64


class Skipped(Exception):  # noqa: N818  (no error: the deployment is named in the notes)
    """A deployment that cannot be carried over, and why."""


@dataclass(slots=True)
class Deployment:
    """A model as LiteLLM has it.

    Attributes:
        alias: what LiteLLM calls it; several deployments may share that.
        settings: the keys of its ``[models.NAME]`` table.
        notes: what could not be carried over, or was changed.
        name: what it is called here.
    """

    alias: str
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    name: str = ""


def read_deployment(entry: Any, index: int, timeout: Any) -> Deployment:
    """One entry of a ``model_list``; ``timeout`` is that of all, or None.

    Raises:
        Skipped: it cannot be carried over.
    """
    alias = entry.get("model_name") if isinstance(entry, dict) else None
    given = entry.get("litellm_params") if isinstance(entry, dict) else None
    if not isinstance(alias, str) or not alias or not isinstance(given, dict):
        raise Skipped(f"model_list[{index}]: has no 'model_name' and 'litellm_params'")
    info = entry.get("model_info")
    info = info if isinstance(info, dict) else {}
    model = given.get("model")
    if not isinstance(model, str) or not model:
        raise Skipped(f"{alias}: its litellm_params name no model")
    if "*" in alias or "*" in model:
        raise Skipped(f"{alias}: a pattern of names; give each model a table of its own")
    if info.get("mode", "chat") not in _CHAT:
        raise Skipped(f"{alias}: is no chat model")
    deployment = Deployment(alias)
    reference, spoken_as = _connection(deployment, given, model)
    _price(deployment, {**given, **info}, reference, spoken_as)
    _limits(deployment, {**entry, **given}, info, timeout)
    _params(deployment, given)
    return deployment


def _connection(
    deployment: Deployment, given: Mapping[str, Any], model: str
) -> tuple[tuple[str, str], tuple[str, str]]:
    """Its provider and model here, and as prices are published for it."""
    alias, settings = deployment.alias, deployment.settings
    theirs, name = _split(model, given.get("custom_llm_provider"))
    address, variable = None, None
    if theirs in _COMPATIBLE:
        provider = "openai"
        address, variable = _COMPATIBLE[theirs]
    elif theirs in _SPOKEN:
        provider = _SPOKEN[theirs]
    else:
        raise Skipped(f"{alias}: there is no provider for {theirs}; a gateway that speaks OpenAI's "
                      "wire format can be named with base_url")  # fmt: skip
    settings |= {"provider": provider, "model": name}
    base = given.get("api_base") or given.get("base_url") or address
    if base is not None:
        settings["base_url"] = _address(alias, base)
    elif theirs in _COMPATIBLE:
        raise Skipped(f"{alias}: its litellm_params have no api_base")
    key = _key(deployment, given.get("api_key"), theirs) or variable
    if key is not None and provider != "ollama":
        settings["api_key"] = f"env:{key}"
    return (provider, name), (_PRICED_AS.get(theirs, theirs), name)


def _split(model: str, given: Any) -> tuple[str, str]:
    """LiteLLM's provider, and the model's name there."""
    if isinstance(given, str) and given:
        return given, model.removeprefix(f"{given}/")
    prefix, slash, rest = model.partition("/")
    if slash and rest:
        return prefix, rest
    return ("anthropic" if model.startswith("claude") else
            "gemini" if model.startswith("gemini") else "openai"), model  # fmt: skip


def _address(alias: str, base: Any) -> str:
    if not isinstance(base, str) or _VARIABLE.fullmatch(base):
        raise Skipped(f"{alias}: its address is in a variable, and base_url is written out here")
    try:
        parts = urlsplit(base)
        secret = bool(parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        raise Skipped(f"{alias}: its api_base is no address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Skipped(f"{alias}: its api_base is no address")
    if secret:
        raise Skipped(f"{alias}: its api_base may hold a secret: write base_url yourself")
    return base


def _key(deployment: Deployment, given: Any, theirs: str) -> str | None:
    """The variable that has its key. A key itself is never written out."""
    if given is None or given == "":
        return None
    found = _VARIABLE.fullmatch(given) if isinstance(given, str) else None
    if found:
        return found[1]
    stem = re.sub(r"\W+", "_", deployment.alias, flags=re.ASCII).strip("_").upper() or "MODEL"
    variable = f"{stem}_API_KEY" if stem[0].isalpha() else f"MODEL_{stem}_API_KEY"
    if theirs not in ("ollama", "ollama_chat"):
        told = isinstance(given, str) and given.startswith(_IN_A_VARIABLE)
        why = "is in a variable whose name no shell can set" if told else "was written out"
        deployment.notes.append(
            f"{deployment.alias}: its key {why}: put it into the variable {variable}"
        )
    return variable


def _price(
    deployment: Deployment, costs: Mapping[str, Any], reference: tuple[str, str],
    spoken_as: tuple[str, str],
) -> None:  # fmt: skip
    keys = {
        "input": "input_cost_per_token",
        "output": "output_cost_per_token",
        "cached_input": "cache_read_input_token_cost",
    }
    price = {key: _per_million(costs.get(theirs)) for key, theirs in keys.items()}
    known = {key: value for key, value in price.items() if value is not None}
    if {"input", "output"} <= known.keys():
        deployment.settings["price"] = known
        return
    if published_price(*reference) is not None or getattr(
        find_provider(reference[0]), "free", False
    ):
        return
    published = published_price(*spoken_as)
    if published is not None:
        found = {"input": published.input, "output": published.output}
        if published.cached_input is not None:
            found["cached_input"] = published.cached_input
        deployment.settings["price"] = found
        return
    deployment.settings["price"] = UNKNOWN
    deployment.notes.append(
        f"{deployment.alias}: no price is known: give one, or budgets are blind"
    )


def _per_million(value: Any) -> float | None:
    number = _number(value)
    # Per token, a price has digits that a float cannot hold: 2.5e-07 * 1e6 is 0.24999999999999997.
    return None if number is None or number < 0 else round(number * 1e6, 9)


def _limits(
    deployment: Deployment, given: Mapping[str, Any], info: Mapping[str, Any], timeout: Any
) -> None:
    keys = {
        "requests_per_minute": "rpm",
        "tokens_per_minute": "tpm",
        "concurrency": "max_parallel_requests",
    }
    limits = {key: _whole(given.get(theirs)) for key, theirs in keys.items()}
    if limits := {key: value for key, value in limits.items() if value is not None}:
        deployment.settings["limits"] = limits
    window = _whole(info.get("max_input_tokens"))
    if window is not None:
        deployment.settings["context_window"] = window
    seconds = _number(given.get("timeout", timeout))
    if seconds is not None and seconds > 0:
        deployment.settings["timeout"] = seconds


def _params(deployment: Deployment, given: Mapping[str, Any]) -> None:
    params = {}
    for key, value in given.items():
        if key in PARAMS and _plain(value):
            params[key] = value
        elif key not in _TAKEN and value is not None:
            deployment.notes.append(f"{deployment.alias}: {key}: has no counterpart")
    if params:
        deployment.settings["params"] = params


def _plain(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= _LONGEST_LIST and all(isinstance(item, str) for item in value)
    return isinstance(value, str | bool) or _number(value) is not None


def _number(value: Any) -> float | int | None:
    """A number, or text that is one: YAML reads ``1e-6`` as text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number >= 1 else None
