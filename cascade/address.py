"""Addresses of models: one that leads nowhere, or has a secret in it, is refused."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

_ADDRESS = 'needs an address like "http://127.0.0.1:8000/v1"'
_SECRET_NAME = re.compile("key|token|secret|passw|sig", re.IGNORECASE)


def fault_in(url: str) -> str | None:
    """What is wrong with an address, and what to do instead; None when nothing is.

    The address itself is not repeated.
    """
    if common := fault_of_any(url):
        return common
    if not url.isprintable() or any(map(str.isspace, url)):
        return f"has a space or a control character in it: {_ADDRESS}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # of the port, or of brackets
        return f"has an impossible host or port: {_ADDRESS}"
    if parts.scheme not in ("http", "https") or not host:
        return f"is no address of HTTP: {_ADDRESS}"
    return None


def fault_of_any(url: str) -> str | None:
    """As `fault_in`, of an address that need not be one of HTTP: a provider may be anyone's.

    An empty one would be taken for none, and prompts and keys would go to the provider's own.
    """
    if not url:
        return "is empty: leave it out for the provider's own address"
    return secret_in(url)


def secret_in(url: str) -> str | None:
    """What is secret in an address, and what to do instead; None when nothing is.

    It would end up in logs, in errors and on screens.
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
