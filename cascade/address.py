"""Addresses with a secret in them, which would end up in logs, in errors and on screens."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

_SECRET_NAME = re.compile("key|token|secret|passw|sig", re.IGNORECASE)


def secret_in(url: str) -> str | None:
    """What is secret in an address, and what to do instead; None when nothing is.

    The address itself is not repeated.
    """
    # Also of what is no whole address, such as "me:hunter2@host": it must not be shown either.
    authority = url.partition("//")[2] or url
    if "@" in re.split("[/?#]", authority, maxsplit=1)[0]:
        return "has a user or password in it: give the secret as api_key"
    query = url.partition("?")[2].partition("#")[0]
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if _SECRET_NAME.search(name):
            # HTTP clients write whole addresses into their logs.
            return f"has {name!r} in it: give the secret as api_key"
    return None
