"""The code tier of ``classify``: labels a ticket whose words leave no doubt."""

from __future__ import annotations

import re

from cascade.providers.function import nonblocking

_WORDS = {
    "billing": (
        r"invoices?|refund(?:s|ed)?|(?:over|double.?)?charged?|billing|billed|credit card"
        r"|receipts?|payments?|VAT"
    ),
    "technical": (
        r"crash(?:es|ed|ing)?|error (?:code|message)s?|bugs?|stack ?trace|freezes|frozen"
        r"|blank (?:page|screen)|time[sd]? ?out|(?:50[0234]|40[34]) error|webhooks?|API"
    ),
    "account": (
        r"passwords?|log(?:ged)? ?in|sign(?:ed)? ?in|locked out|username|two.factor|2FA"
        r"|(?:delete|close|deactivate) my account"
    ),
}
_PATTERNS = {
    label: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for label, words in _WORDS.items()
}


@nonblocking
def label_ticket(ticket: str) -> str | None:
    """``billing``, ``technical`` or ``account``; None when the words speak for several or none."""
    labels = [label for label, pattern in _PATTERNS.items() if pattern.search(ticket)]
    return labels[0] if len(labels) == 1 else None
