"""Where a provider's calls go and with which key, decided once when the provider is made."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit, urlunsplit

from cascade.address import secret_in
from cascade.errors import ConfigError, MissingAPIKeyError

_REFERENCES = ("env:", "os.environ/")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and the key for it.

    Attributes:
        url: scheme, host, port and path, without a trailing slash.
        query: what belongs after the path, such as ``api-version=…``; may be empty.
        key: the key, or None when none is sent.
        missing: what to set, when a key is needed and there is none; else None.
    """

    url: str
    query: str = field(default="", repr=False)
    key: str | None = field(default=None, repr=False)
    missing: str | None = None

    @property
    def place(self) -> str:
        """Host and port, with the port only when the address gives one."""
        return urlsplit(self.url).netloc

    def path(self, path: str) -> str:
        """The full address of ``path``, which begins with a slash and may have a query itself."""
        if not self.query:
            return self.url + path
        return f"{self.url}{path}{'&' if '?' in path else '?'}{self.query}"

    def require_key(self) -> None:
        """Refuse to go on without a needed key.

        Raises:
            MissingAPIKeyError: the key is missing; names the variable to set.
        """
        if self.missing is not None:
            raise MissingAPIKeyError(self.missing)


def find_endpoint(
    base_url: str | None,
    api_key: str | None,
    *,
    default: str,
    url_variable: str,
    key_variable: str,
    address: Callable[[str], str] = str,
) -> Endpoint:
    """Work out address and key from what was given and from the environment.

    The key in ``key_variable`` belongs to the service at ``default``, or to whatever the user
    put into ``url_variable``. It is never sent to a ``base_url`` that came with a policy.
    ``address`` turns what users write for an address into a URL.

    Raises:
        ConfigError: the address or the key cannot be used.
    """
    from_environment = os.environ.get(url_variable) or default
    source = "base_url" if base_url else url_variable
    parts = _address(address(base_url or from_environment), source)
    clean = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    key, missing = _key(api_key, key_variable)
    if api_key is None or api_key == "":
        if base_url:
            key = None
            missing = _not_sent(parts, default, key_variable)
        elif key is None and _is_loopback(parts.hostname or ""):
            missing = None
    return Endpoint(clean, parts.query, key, missing)


def _address(url: str, source: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, fits = SplitResult("", "", "", "", ""), False
    if not fits or not url.isprintable():
        # The address itself is not repeated: there may be a password in it.
        raise ConfigError(f"{source} is no address: write http(s)://host[:port]/path")
    if secret := secret_in(url):
        raise ConfigError(f"{source} {secret}")
    return parts


def _key(given: str | None, variable: str) -> tuple[str | None, str | None]:
    """The key, and what to set when there is none."""
    for prefix in _REFERENCES:
        if given and given.startswith(prefix):
            variable = given.removeprefix(prefix)
            given = None
    key = (given or os.environ.get(variable, "")).strip()
    if not key:
        return None, f"the environment variable {variable} is not set: it must hold the API key"
    if not key.isascii() or not key.isprintable() or " " in key:
        source = "api_key" if given else f"the environment variable {variable}"
        raise ConfigError(
            f"{source} holds a character that no API key has (its value is not shown)"
        )
    return key, None


def _not_sent(parts: SplitResult, default: str, variable: str) -> str | None:
    if parts.hostname != urlsplit(default).hostname:
        return None  # the user's own server, which may well need no key
    return (
        f"base_url is given, so {variable} is not sent on its own account: "
        f"write api_key='env:{variable}' too, or leave base_url out"
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
