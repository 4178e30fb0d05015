"""Published prices, looked up offline in the data that genai-prices ships."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING

from cascade.cost import Price

if TYPE_CHECKING:
    from genai_prices.types import TieredPrices


@cache
def published_price(provider: str, model: str) -> Price | None:
    """The price of ``provider:model`` in US dollars per million tokens, or None if not known.

    Tiered prices (by context length) are taken at their base rate.
    """
    from genai_prices import Usage, calc_price

    try:
        price = calc_price(Usage(), model_ref=model, provider_id=provider).model_price
    except LookupError:
        return None
    rate_in, rate_out = _rate(price.input_mtok), _rate(price.output_mtok)
    if rate_in is None or rate_out is None:
        return None
    return Price(input=rate_in, output=rate_out, cached_input=_rate(price.cache_read_mtok))


def _rate(value: Decimal | TieredPrices | None) -> float | None:
    if value is None:
        return None
    return float(value if isinstance(value, Decimal) else value.base)
