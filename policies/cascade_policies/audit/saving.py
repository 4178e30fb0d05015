"""What calls would cost as proposed: an estimate, with everything it assumes said beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from cascade.cost import FREE, Cost
from cascade.errors import UnknownProviderError
from cascade.provider import find_provider
from cascade_policies.audit.calls import Call, call_cost, price_of
from cascade_policies.audit.needs import Need

ESCALATED: Final = 0.1
"""Share of the calls to a smaller model that are taken to go on to the one used today, at least."""

_SUGGESTED: Final = {
    "anthropic": ("anthropic:claude-haiku-4-5", "anthropic:claude-sonnet-4-5"),
    "gemini": ("gemini:gemini-2.5-flash-lite", "gemini:gemini-2.5-flash"),
    "openai": ("openai:gpt-5-nano", "openai:gpt-5-mini"),
}
_STRONGEST: Final = "openai:gpt-5"


class Models(Struct, frozen=True):
    """The models that a proposal is made of, as ``provider:model``."""

    small: str
    mid: str
    frontier: str


def suggest_models(calls: Sequence[Call], small: str | None, mid: str | None) -> Models:
    """The model that most of the bill goes to, and smaller ones of the same provider."""
    bills: dict[str, float] = defaultdict(float)
    for call in calls:
        if can_call(call.model):
            bills[call.model] += middle(call.cost)
    frontier = max(sorted(bills), key=lambda name: bills[name]) if bills else _STRONGEST
    suggested = _SUGGESTED.get(frontier.partition(":")[0], _SUGGESTED["openai"])
    return Models(small or suggested[0], mid or suggested[1], frontier)


def can_call(model: str) -> bool:
    """Whether a model's provider is one of ours."""
    provider, colon, name = model.partition(":")
    if not colon or not name:
        return False
    try:
        find_provider(provider)
    except UnknownProviderError:
        return False
    return True


def middle(cost: Cost) -> float:
    """Half way between the ends of a cost; 0 where it is not known."""
    return 0.0 if cost.low is None or cost.high is None else (cost.low + cost.high) / 2


def assumptions(models: Models) -> list[str]:
    """What the estimate takes for granted, in sentences."""
    return [
        "the same calls, with the same numbers of tokens, at published prices",
        "code costs nothing; for the share of calls that it may at most be wrong on, at 95% "
        "confidence, today's price is paid",
        f"small work is done by {models.small}{_price(models.small)}, work between by "
        f"{models.mid}{_price(models.mid)}",
        f"of their calls {ESCALATED:.0%}, or as many as the evidence does not explain, are paid "
        "twice: they go on to today's model",
        "kinds that need the strongest model, or of which too little is known, stay as they are",
        "nothing is saved by caching, shorter prompts or leaving calls out",
    ]


def _price(model: str) -> str:
    price = price_of(model)
    if price is None:
        return ", whose price is not known"
    return f" (${price.input:g} and ${price.output:g} for a million tokens read and written)"


def routed_cost(calls: Sequence[Call], need: Need, models: Models) -> Cost | None:
    """What calls would cost on what they need; never more than they do today.

    Only calls whose cost is known are in it. None where the proposed model's price, or what there
    was to read and write, is not known.
    """
    low = high = 0.0
    model = {"small": models.small, "mid": models.mid}.get(need.level)
    share = need.misses if need.level == "code" else max(ESCALATED, need.misses)
    for call in calls:
        if call.cost.low is None or call.cost.high is None:
            continue
        if need.level in ("frontier", "unknown"):
            cost = call.cost
        else:
            proposed = FREE if model is None else _on(model, call)
            if proposed is None or proposed.low is None or proposed.high is None:
                return None
            cost = Cost(
                min(call.cost.low, proposed.low + share * call.cost.low),
                min(call.cost.high, proposed.high + share * call.cost.high),
            )
        assert cost.low is not None
        assert cost.high is not None
        low, high = low + cost.low, high + cost.high
    return Cost(low, high, "estimated")


def _on(model: str, call: Call) -> Cost | None:
    prompt = None if call.prompt is None else f"{call.system}\n{call.prompt}"
    return call_cost(model, call.usage, prompt, call.answer, None)
