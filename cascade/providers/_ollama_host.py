"""Addresses as Ollama reads them: ``box``, ``:8080``, ``http://box/path``, ``[::1]:11434``.

The rules are those of its server's ``envconfig/config.go``: 11434 is the port, unless a scheme is
given, which then has its own.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

_PORT: Final = "11434"
_HOST: Final = "127.0.0.1"


def url_of(given: str) -> str:
    """The address as a URL with its port. What is no address comes out as none."""
    text = given.strip().strip("\"'").strip()
    scheme, has_scheme, rest = text.partition("://")
    if not has_scheme:
        scheme, rest = "http", text
    place, slash, path = rest.partition("/")
    host, port = _split(place)
    if not port and not has_scheme:
        port = _PORT
    return f"{scheme}://{_reachable(host)}{':' if port else ''}{port}{slash}{path}"


def _split(place: str) -> tuple[str, str]:
    """Host and port; both may be empty."""
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        return host, rest.removeprefix(":")
    if place.count(":") > 1:  # an IPv6 address without its brackets has no port after it
        return place, ""
    host, _, port = place.partition(":")
    return host, port


def _reachable(host: str) -> str:
    """The host to connect to, in brackets where a URL needs them."""
    try:
        address = ip_address(host)
    except ValueError:
        return host or _HOST
    if address.is_unspecified:  # where a server listens on every address; nobody can be reached
        return _HOST if address.version == 4 else "[::1]"
    return f"[{address}]" if address.version == 6 else str(address)
