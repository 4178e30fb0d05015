"""Prices: every one known or declared unknown, and tiers in the order of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cascade.cost import Price
from cascade.model import ModelSpec
from cascade.policy import Policy, Tier
from cascade.prices import published_price
from cascade.provider import find_provider, split_model
from cascade_policies.document import Document
from cascade_policies.lines import KeyPath
from cascade_policies.tables import UNKNOWN

if TYPE_CHECKING:
    from cascade_policies.building import Built
    from cascade_policies.project.models import Model

_FREE = Price(input=0.0, output=0.0)


def find_price(
    document: Document, path: KeyPath, reference: str, given: Price | str | None
) -> Price | None:
    """What ``provider:model`` costs: as given, else as published; None is nothing, or unknown.

    Raises:
        PolicyFileError: nobody knows it and the file does not say so; or the file says so and it
            is known.
    """
    if isinstance(given, Price):
        return given
    free, price = _looked_up(reference)
    if given == UNKNOWN and price is not None:
        message = (
            f"the price of {reference} is published ({price.input:g} and {price.output:g} US "
            "dollars per million tokens): leave this out, or give your own"
        )
        raise document.error(path, message)
    if given == UNKNOWN and free:
        raise document.error(path, f"{reference} costs nothing: leave this out")
    if given is None and price is None and not free:
        message = (
            f"no price is published for {reference}: give price = {{ input = …, output = … }} in "
            f'US dollars per million tokens, or price = "{UNKNOWN}"'
        )
        raise document.error(path, message)
    return price


def check_tier(document: Document, path: KeyPath, tier: Tier, *, unknown: bool) -> None:
    """See that the price of every model of a tier is known or declared unknown.

    Raises:
        PolicyFileError: as `find_price`.
    """
    given: Any = UNKNOWN if unknown else tier.price
    place = (*path, "price" if document.get((*path, "price")) is not None else "model")
    for model in (*tier.models, *tier.fallbacks):
        if isinstance(model, str):
            find_price(document, place, model, given)
    for model in tier.models:  # the others of a project were seen to where they stand
        if isinstance(model, ModelSpec) and unknown:
            find_price(document, place, model.name, given)


def check_budgeted_models(document: Document, models: Mapping[str, Model]) -> None:
    """See that a budget can pay for every model of the project.

    Raises:
        PolicyFileError: nobody knows the price of one.
    """
    for name, model in models.items():
        if model.price is None and not _looked_up(model.model)[0]:
            raise document.error(("models", name, "price"), _unpayable(model.model))


def check_budgeted_task(built: Built, path: KeyPath) -> None:
    """See that a budget can pay for every model of a task: its tiers', router's and verifiers'.

    Args:
        built: its policy; the models of the project that it names were seen to where they stand.
        path: where the keys of the policy stand.

    Raises:
        PolicyFileError: nobody knows the price of one.
    """
    policy, document = built.file.policy, built.document
    for place, tier in zip(built.tiers, policy.tiers, strict=True):
        if place in built.unpriced:
            names = " and ".join(_called(model) for model in tier.models)
            raise document.error((*place, "price"), _unpayable(names))
        check_budgeted(document, (*place, "verify"), tier.verify)
    check_budgeted(document, (*path, "router"), policy.router)


def check_budgeted(document: Document, path: KeyPath, asking: object) -> None:
    """See that a budget can pay for the models that a router or a verifier asks.

    Raises:
        PolicyFileError: nobody knows the price of one.
    """
    for model in getattr(asking, "models", ()):
        text = model.model if isinstance(model, ModelSpec) else model
        own = model.price if isinstance(model, ModelSpec) else None
        if isinstance(text, str) and own is None and _looked_up(text) == (False, None):
            raise document.error(path, _unpayable(text))


def _called(model: object) -> str:
    return model.name if isinstance(model, ModelSpec) else str(model)


def _unpayable(model: str) -> str:
    return (
        f"price unknown under a [budget]: {model} would never be called: give price = "
        "{ input = …, output = … } in US dollars per million tokens (0 for what costs nothing), "
        "or leave out [budget]"
    )


def cheaper_later(policy: Policy) -> Iterator[tuple[int, str]]:
    """Each tier that costs less than one before it: its position, and what to say of it."""
    prices = [_price(tier) for tier in policy.tiers]
    for index, price in enumerate(prices):
        for before in range(index):
            dear = prices[before]
            if price is not None and dear is not None and _less(price, dear):
                name = policy.tiers[before].name
                yield index, f"is cheaper than {name!r} before it: tiers go from cheap to strong"
                break


def _price(tier: Tier) -> tuple[float, float] | None:
    """What a million tokens in and out cost, all members together, or None."""
    total = (0.0, 0.0)
    for model in tier.models:
        own = model.price if isinstance(model, ModelSpec) else tier.price
        text = model.model if isinstance(model, ModelSpec) else model
        price = own
        if own is None and isinstance(text, str):
            free, published = _looked_up(text)
            price = _FREE if free else published
        if price is None:
            return None
        total = (total[0] + price.input, total[1] + price.output)
    return total[0] * tier.samples, total[1] * tier.samples


def _less(price: tuple[float, float], than: tuple[float, float]) -> bool:
    """Whether it is cheaper whatever the mix of tokens."""
    return price != than and price[0] <= than[0] and price[1] <= than[1]


def _looked_up(reference: str) -> tuple[bool, Price | None]:
    """Whether it costs nothing by its kind, and else its published price."""
    provider, model = split_model(reference)
    if getattr(find_provider(provider), "free", False):
        return True, None
    return False, published_price(provider, model)
