"""The code tier of ``extract``: reads an order from a message that leaves no doubt."""

from __future__ import annotations

import re

from cascade.providers.function import nonblocking

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_NUMBER = r"\d(?:[\d.,' ]*\d)?"

_ORDER = re.compile(
    r"\border(?:\s+(?:number|no\.?|id))?(?:\s+is)?\s*:?\s*#?\s*([a-z]{0,5}-?\d[\da-z]*(?:-[\da-z]+)*)",
    re.IGNORECASE,
)
_AMOUNT = re.compile(
    rf"(?:[$€£]|\b(?:USD|EUR|GBP)\b)\s?{_NUMBER}"
    rf"|\b{_NUMBER}\s?(?:[$€£]|(?:USD|EUR|GBP|dollars?|euros?|pounds?)\b)",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"\b(?:\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?(?:\s+of)?\s+{_MONTH}(?:,?\s+\d{{4}})?"
    rf"|{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s+\d{{4}})?)\b",
    re.IGNORECASE,
)
# Any other figure could be the one that is meant, so this tier keeps its hands off.
_FIGURE = re.compile(r"\d")


@nonblocking
def read_order(message: str) -> dict[str, str] | None:
    """The order number, amount and date, each as it stands in the message.

    None, which leaves the message to the models, unless there is exactly one candidate for each
    and no further figure that could be one too.
    """
    found = {}
    rest = message
    for key, pattern in (("order_number", _ORDER), ("date", _DATE), ("amount", _AMOUNT)):
        matches = list(pattern.finditer(rest))
        if len(matches) != 1:
            return None
        match = matches[0]
        found[key] = match.group(match.lastindex or 0)
        rest = f"{rest[: match.start()]} … {rest[match.end() :]}"
    if _FIGURE.search(rest):
        return None
    return {key: found[key] for key in ("order_number", "amount", "date")}
